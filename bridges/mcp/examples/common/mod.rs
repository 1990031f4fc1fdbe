//! Parts that the example programs share.

pub(crate) mod output;
pub(crate) mod program;
pub(crate) mod report;
#[cfg(unix)]
mod signals;
pub(crate) mod stderr;
