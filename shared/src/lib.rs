//! What the three functions share.
//!
//! - [`domain`]: pure; what is sold, what is known, what follows.
//! - [`apply`]: read, decide, commit.
//! - [`ports`]: what is asked of the outside world.
//! - [`stripe`], [`dynamo`], [`secrets`], [`http`]: the edges.
//! - [`config`], [`telemetry`]: what a function is started with, and what it says.

pub mod apply;
pub mod domain;
pub mod ports;
pub mod secrets;
pub mod stripe;
