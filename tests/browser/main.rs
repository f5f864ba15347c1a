//! The site in a browser: Chromium uses the whole stack as learners do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that can't go on should stop where it is"
)]

mod browser;
mod buying;
mod chapters;
mod elsewhere;
mod joining;
mod links;
mod looks;
mod owning;
mod reading;
mod shop;
mod signing;
mod staying;
mod token;
mod tutoring;
mod visitor;
mod webdriver;
