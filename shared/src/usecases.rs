//! The use cases: what the functions do for a learner, without saying how they are asked.
//!
//! A route parses a request, calls one of these and formats what it returns; other front ends call
//! the same ones. Arguments are parsed and typed, and what a use case returns are values of the
//! domain or a typed error. Who may ask about which learner is for the front end to check.
//!
//! - [`courses`]: what there is, and what a learner may open. It only reads.
//! - [`sales`]: buying, by checkout sessions and upgrade links. It talks to Stripe.

pub mod catalog;
pub mod courses;
pub mod sales;
