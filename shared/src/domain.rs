//! The pure centre: what was sold, what is known of it, and what follows.
//!
//! Nothing here waits, reads a clock, touches a network or knows how anything is written down.
//! Stripe's events become [`facts`]; facts about one purchase are joined by an operation that is
//! idempotent, commutative and associative; [`access`] is a fold of facts and the time; and
//! [`decide`] says what to write. The edges (`stripe`, `dynamo`, `http`) do the rest.

pub mod access;
pub mod availability;
pub mod catalog;
pub mod checkout;
pub mod decide;
pub mod erasure;
pub mod facts;
pub mod id;
pub mod money;
pub mod rate;
pub mod shop;
pub mod snapshot;
pub mod time;
pub mod why;
