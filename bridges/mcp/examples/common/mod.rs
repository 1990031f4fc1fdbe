//! Parts that the example programs share.

pub(crate) mod output;
pub(crate) mod program;
pub(crate) mod report;
pub(crate) mod stderr;
