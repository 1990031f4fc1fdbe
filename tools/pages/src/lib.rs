//! The code of pages that no crate includes, compiled and run as documentation tests.

/// `docs/migrating.md`.
#[doc = include_str!("../../../docs/migrating.md")]
pub mod migrating {}

/// `core/README.md`.
#[doc = include_str!("../../../core/README.md")]
pub mod core {}
