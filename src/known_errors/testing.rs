//! Errors for the tests of this folder.

use std::error::Error;
use std::io;

/// Wraps another error, and says nothing of it.
#[derive(Debug, thiserror::Error)]
#[error("layer {0}")]
pub(super) struct Layer(
    pub(super) usize,
    #[source] pub(super) Option<Box<dyn Error + Send + Sync>>,
);

pub(super) fn wrapped(depth: usize, inner: Box<dyn Error + Send + Sync>) -> Layer {
    (1..depth).fold(Layer(0, Some(inner)), |error, n| {
        Layer(n, Some(Box::new(error)))
    })
}

pub(super) fn timed_out() -> Box<dyn Error + Send + Sync> {
    Box::new(io::Error::new(io::ErrorKind::TimedOut, "no answer"))
}
