//! The local stack from outside, over HTTP and with the AWS SDKs. This executable itself plays the
//! functions, in [`function`].

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on should stop where it is"
)]

mod function;
mod gateway;
mod lambda;
mod secrets;
mod sign_in;
mod site;
mod stack;
mod support;
mod template;
