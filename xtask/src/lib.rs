//! The project's chores, as far as tests use them too.

pub mod sign;
pub mod tools;
