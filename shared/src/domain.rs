//! The pure core: what is sold, what we know about it, and what follows from that.
//!
//! Nothing here is async, does I/O, reads a clock or knows a storage format. Stripe's events become
//! [`facts`]. Facts about one source are merged by a join that is idempotent, commutative and
//! associative. [`access`] is computed from the facts and the time, and [`decide`] says what to
//! write. The adapters (`stripe`, `dynamo`, `http`) do the rest.

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
