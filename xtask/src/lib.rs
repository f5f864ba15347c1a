//! The parts of the project's tasks that tests use too.

pub mod sbom;
pub mod sign;
pub mod tools;
