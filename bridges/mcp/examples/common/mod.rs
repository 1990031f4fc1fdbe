//! What the programs share.

pub(crate) mod report;
