//! The command as a developer runs it: the built executable, its output, its exit code.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on should stop where it is"
)]

mod doctor;
mod events;
mod flood;
mod leak;
mod learner;
mod operator;
mod own_account;
mod purchase;
mod readme;
mod running;
mod sam;
mod shop;
mod strangers;
mod support;
mod tutor;
mod up;
