//! The local stack: the whole system on a laptop, in one process plus the functions' processes.
//!
//! [`stack`] binds the ports and starts the services that [`template`] declares:
//!
//! * [`gateway`]: API Gateway and the Function URL, from HTTP to Lambda's events and back,
//! * [`lambda`]: the Runtime API that the functions' processes speak, and the API for callers and
//!   operators,
//! * [`secrets`]: Secrets Manager,
//! * `dynamo`: DynamoDB, by dynoxide,
//! * `sign_in`: an OpenID Connect issuer in place of Cognito,
//! * the Stripe simulator, which is its own crate,
//! * [`bridge`]: access for containers,
//! * [`content`]: the chapters' bucket,
//! * `site`: the course site, as `CloudFront` serves it,
//! * `pages`: the stack's own pages.
//!
//! `state` is what survives a restart, [`observer`] sees each request, and [`addresses`] has every
//! address. The functions run unchanged: they can't tell this from AWS.

#![allow(clippy::arithmetic_side_effects, reason = "a developer's tool that calculates no money")]

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
