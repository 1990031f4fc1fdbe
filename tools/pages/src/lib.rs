//! The code of the pages in `docs/`, compiled and run as documentation tests.

/// `docs/migrating.md`.
#[doc = include_str!("../../../docs/migrating.md")]
pub mod migrating {}
