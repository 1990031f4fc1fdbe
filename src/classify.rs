//! Judging of results: the outcome of a call from what its tool returned.
//!
//! A tool that answers has not always succeeded. The error may be in the answer, in a result within
//! the result, or several causes below the error that is returned. These are the rules:
//!
//! | result | judged |
//! | --- | --- |
//! | `()` | a success |
//! | `Result<T, E>` | `Ok` is a success whatever it holds; `Err` by its error |
//! | an error, or a `Box<dyn Error>` | by the first error on its chain of sources whose kind is known ([`Verdict::from_error`]) |
//! | text as an error | a failure of kind `other` |
//! | [`ExitStatus`](std::process::ExitStatus), [`Output`](std::process::Output) | a failure of kind `tool_error` unless the exit status is 0 |
//! | a result within a result | by both ([`nested`]) |
//! | an answer of an MCP server | by its `isError` ([`classify_mcp`]) |
//!
//! A rule borrows the result, since a metered call returns it. A [`Verdict`] owns its text, which is
//! bounded and formatted at once; a success has none.
//!
//! [`Classify`] judges a result by its type; [`Judge`] is either that or a rule of the host's own.

mod judge;
mod mcp;
mod results;
mod verdict;

pub use judge::{ByRule, ByType, Judge};
pub use mcp::classify_mcp;
pub use results::{Classify, ErrorText, by, nested};
pub use verdict::Verdict;
