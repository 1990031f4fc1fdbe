#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod content;
#[doc(hidden)]
pub mod private;
mod spans;

pub use spans::ToolSpans;
