//! The outcomes that errors of other crates stand for.
//!
//! An error is judged by the first one on its chain of sources that is known here; [`known`] lists
//! them.
//!
//! | file | what it owns |
//! | --- | --- |
//! | `known_errors/chain.rs` | the chain of sources, and its text |
//! | `known_errors/tool_error.rs` | the conversions into a [`ToolError`] |

mod chain;
#[cfg(all(test, not(toolmeter_loom)))]
mod testing;
mod tool_error;

pub(crate) use chain::ChainText;

use crate::contain::contained;
use crate::error::{InvokeError, ToolError};
use chain::chain;
use std::error::Error;
use std::io;
use toolmeter_core::{ErrorKind, Outcome};

/// Returns the outcome that an error stands for: that of the first known error on its chain of
/// sources, else a failure of kind `other`. It is `other`, too, if a `source` on the chain panics.
#[cold]
pub(crate) fn outcome(error: &(dyn Error + 'static)) -> Outcome {
    contained(|| chain(error).find_map(known))
        .unwrap_or_default()
        .unwrap_or(Outcome::Failure(ErrorKind::Other))
}

/// Returns the outcome that this one error stands for, if it is known and not just `other`.
fn known(error: &(dyn Error + 'static)) -> Option<Outcome> {
    if let Some(error) = error.downcast_ref::<ToolError>() {
        return Some(error.outcome());
    }
    if let Some(error) = error.downcast_ref::<InvokeError>() {
        return Some(error.outcome());
    }
    let kind = if let Some(error) = error.downcast_ref::<io::Error>() {
        io_kind(error.kind())?
    } else if let Some(error) = error.downcast_ref::<serde_json::Error>() {
        match error.io_error_kind() {
            Some(kind) => io_kind(kind)?,
            None => ErrorKind::InvalidArgs,
        }
    } else if is_of_parsing(error) {
        ErrorKind::InvalidArgs
    } else if let Some(std::sync::mpsc::RecvTimeoutError::Timeout) = error.downcast_ref() {
        ErrorKind::Timeout
    } else {
        return known_with_tokio(error);
    };
    Some(Outcome::Failure(kind))
}

#[cfg(feature = "tokio")]
fn known_with_tokio(error: &(dyn Error + 'static)) -> Option<Outcome> {
    if error.is::<tokio::time::error::Elapsed>() || error.is::<crate::error::TimeLimitExceeded>() {
        return Some(Outcome::Failure(ErrorKind::Timeout));
    }
    if let Some(error) = error.downcast_ref::<tokio::task::JoinError>() {
        return Some(if error.is_panic() {
            Outcome::Failure(ErrorKind::Panic)
        } else {
            Outcome::Cancelled
        });
    }
    #[cfg(feature = "auto_run")]
    if let Some(error) = error.downcast_ref::<crate::error::CallError>() {
        return Some(error.outcome());
    }
    None
}

#[cfg(not(feature = "tokio"))]
fn known_with_tokio(_: &(dyn Error + 'static)) -> Option<Outcome> {
    None
}

/// Returns whether it is an error of std for text that does not parse.
fn is_of_parsing(error: &(dyn Error + 'static)) -> bool {
    error.is::<std::num::ParseIntError>()
        || error.is::<std::num::ParseFloatError>()
        || error.is::<std::num::TryFromIntError>()
        || error.is::<std::str::ParseBoolError>()
        || error.is::<std::char::ParseCharError>()
        || error.is::<std::net::AddrParseError>()
}

/// Returns the kind of failure that this kind of `io::Error` is, if it is known.
pub(crate) fn io_kind(kind: io::ErrorKind) -> Option<ErrorKind> {
    use io::ErrorKind as Io;
    Some(match kind {
        Io::NotFound => ErrorKind::NotFound,
        Io::PermissionDenied => ErrorKind::PermissionDenied,
        Io::TimedOut => ErrorKind::Timeout,
        Io::InvalidInput => ErrorKind::InvalidArgs,
        Io::ConnectionRefused
        | Io::ConnectionReset
        | Io::ConnectionAborted
        | Io::NotConnected
        | Io::AddrNotAvailable
        | Io::HostUnreachable
        | Io::NetworkUnreachable
        | Io::NetworkDown
        | Io::BrokenPipe => ErrorKind::Network,
        _ => return None,
    })
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
