//! The project's chores, as far as tests use them too.

pub mod sbom;
pub mod sign;
pub mod tools;
