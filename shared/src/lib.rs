//! What the three functions share.
//!
//! - [`domain`]: pure; what is sold, what is known, what follows.
//! - [`apply`]: read, decide, commit: the one way in which an observation becomes access.
//! - [`erasure`]: erasing a learner, which only an operator's command does.
//! - [`ports`]: what is asked of the outside world.
//! - [`stripe`], [`dynamo`], [`secrets`], [`http`]: the edges.
//! - [`content`]: links to the chapters behind the paywall.
//! - [`config`], [`aws`], [`telemetry`]: what a function is started with, and what it says.
//! - `https`: the connections to AWS and Stripe.

pub mod apply;
pub mod aws;
pub mod config;
pub mod content;
pub mod domain;
pub mod dynamo;
pub mod erasure;
pub mod http;
mod https;
pub mod ports;
pub mod secrets;
pub mod stripe;
pub mod telemetry;
