//! The local stack: the whole system on a laptop, in one process and the functions' own.
//!
//! [`stack`] binds the ports and starts the pieces, as [`template`] says that AWS would:
//!
//! * [`gateway`]: API Gateway and the Function URL, from HTTP to Lambda's events and back,
//! * [`lambda`]: the Runtime API that the functions' processes speak, and the API of callers and operators,
//! * [`secrets`]: Secrets Manager,
//! * `dynamo`: DynamoDB, by dynoxide,
//! * `sign_in`: who the learners are, in the place of Cognito,
//! * the Stripe simulator, which is a crate of its own,
//! * [`bridge`]: a way in for containers,
//! * [`content`]: the bucket of the chapters,
//! * `site`: the course site, as `CloudFront` serves it,
//! * `pages`: the stack's own pages.
//!
//! `state` is what survives a restart, [`observer`] hears about each request, and [`addresses`] says
//! where everything is. The functions run unchanged: they can't tell this from AWS.

#![allow(
    clippy::arithmetic_side_effects,
    reason = "a developer's tool; money is counted elsewhere"
)]

pub mod addresses;
pub mod bridge;
mod clock;
pub mod content;
mod cors;
pub mod dynamo;
mod files;
pub mod gateway;
pub mod lambda;
pub mod observer;
mod pages;
mod percent;
mod random;
pub mod secrets;
mod sign_in;
mod site;
pub mod stack;
mod state;
pub mod template;

pub use site::leads_to_the_page;
pub use state::{Keep, StateError};
