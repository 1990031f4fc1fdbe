//! Parts that the server and the host share.

pub(crate) mod output;
pub(crate) mod program;
pub(crate) mod report;
