//! The project's chores, as far as their tests use them.

pub mod sbom;
