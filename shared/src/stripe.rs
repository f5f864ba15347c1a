//! The Stripe edge: signatures, the shapes of its objects, and calls to its API.

pub mod api;
pub mod signature;
pub mod wire;
