//! The Stripe edge: signatures, the shapes of its objects, and calls to its API.

pub mod api;
pub mod client;
pub mod objects;
pub mod signature;
mod values;
pub mod wire;
