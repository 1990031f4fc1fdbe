//! The collector, through the encoders of prometheus-client and other implementations' readers.

mod crowd;
mod disconnect;
#[cfg(feature = "native")]
mod native;
mod page;
mod support;
