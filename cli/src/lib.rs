//! What the `coursegate` command does beyond its command line.
//!
//! - [`catalog`]: `catalog.toml` becomes the shop, in Stripe and in the table.

pub mod catalog;
