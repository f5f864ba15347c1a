//! What the functions share.
//!
//! - [`domain`]: the pure core: what is sold, what we know, and what follows from that.
//! - [`apply`]: read, decide, commit: the only way in which an observation changes access.
//! - [`erasure`]: erasing a learner, which only an operator's command does.
//! - [`ports`]: what is asked of the outside world.
//! - [`usecases`]: what the functions do for a learner, over ports; routes and other front ends call it.
//! - [`stripe`], [`dynamo`], [`secrets`], [`http`]: the edges.
//! - [`content`]: links to the chapters behind the paywall.
//! - [`config`], [`aws`], [`telemetry`]: a function's configuration and AWS clients, its logs and
//!   its metrics.
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
pub mod usecases;
