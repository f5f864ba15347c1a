//! `catalog.toml` is the shop: what it says is put on sale in Stripe and in the table.
//!
//! [`plan()`] compares what is wanted with what is there and says what to do; [`push`] does it, and
//! doing it again changes nothing; [`pull`] writes what is there as a catalog file.

mod file;
mod place;
mod plan;
mod pull;
mod push;
mod shop;

pub use file::{CatalogFileError, FileFault, parse, read};
pub use plan::{Plan, PlanError, Step, plan};
pub use pull::{PullError, Pulled, pull};
pub use push::{Closing, PushError, look, push};
pub(crate) use shop::knows_none_of;
pub use shop::{OtherAccount, Shop, ShopPrice, ShopProduct};
