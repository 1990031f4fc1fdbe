//! What is known of errors that others define: which outcome they stand for, and their chain.
//!
//! Any error is judged by the first one on its chain of sources that is known here. A chain may
//! be of any length, and even go around in a circle: it is followed for [`MAX_LINKS`] links.

use crate::contain::{contained, discard};
use crate::error::{InvokeError, ToolError};
use crate::text::Excerpt;
use std::error::Error;
use std::fmt::{self, Display, Write};
use std::io;
use std::iter::successors;
use toolmeter_core::{ErrorKind, Outcome};

/// How far a chain of sources is followed.
const MAX_LINKS: usize = 1_024;

/// How many links of a chain are shown.
const MAX_SHOWN_LINKS: usize = 64;

/// The outcome that an error stands for: that of the first known error on its chain of sources, or
/// else a failure of kind `other`, also if asking for its sources panics.
#[cold]
pub(crate) fn outcome(error: &(dyn Error + 'static)) -> Outcome {
    contained(|| chain(error).find_map(known))
        .unwrap_or_default()
        .unwrap_or(Outcome::Failure(ErrorKind::Other))
}

/// The error and its causes.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |&error| cause(error)).take(MAX_LINKS)
}

/// The next error on the chain. That of an io error is what it wraps, which its `source` skips.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    if let Some(inner) = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        return Some(inner);
    }
    error.source()
}

/// The outcome that this one error stands for, if it is known and says more than `other`.
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

/// Whether it is one of std's errors of text that does not parse.
fn is_of_parsing(error: &(dyn Error + 'static)) -> bool {
    error.is::<std::num::ParseIntError>()
        || error.is::<std::num::ParseFloatError>()
        || error.is::<std::num::TryFromIntError>()
        || error.is::<std::str::ParseBoolError>()
        || error.is::<std::char::ParseCharError>()
        || error.is::<std::net::AddrParseError>()
}

/// The kind of failure that an error of input or output is, if it is a known one.
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

/// Shows an error with all its causes, as in `outer: cause: cause`. A cause that the text before
/// ends with already, as many errors show theirs, is not repeated.
///
/// Each text goes where it is written as it comes, and is not cut here: it is cut once, by what
/// keeps it.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn Error + 'static));

/// The longest cause that is compared with the text before.
const MAX_COMPARED_BYTES: usize = 1_024;

impl Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(error) = self.0.downcast_ref::<ToolError>() {
            return f.write_str(error.message());
        }
        let mut shown = Shown {
            formatter: f,
            end: String::new(),
        };
        for (place, error) in chain(self.0).take(MAX_SHOWN_LINKS).enumerate() {
            if place > 0 {
                let mut cause = Compared(String::new());
                let is_short = write!(cause, "{error}").is_ok();
                if is_short && shown.end.ends_with(&cause.0) {
                    continue;
                }
                shown.write_str(": ")?;
            }
            write!(shown, "{error}")?;
        }
        Ok(())
    }
}

/// What was shown, with its end.
struct Shown<'a, 'b> {
    formatter: &'a mut fmt::Formatter<'b>,
    end: String,
}

impl Write for Shown<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.end.push_str(text);
        if self.end.len() > 2 * MAX_COMPARED_BYTES {
            let mut start = self.end.len() - MAX_COMPARED_BYTES;
            while !self.end.is_char_boundary(start) {
                start += 1;
            }
            self.end.drain(..start);
        }
        self.formatter.write_str(text)
    }
}

/// A text that is compared; an error if it is too long for that.
struct Compared(String);

impl Write for Compared {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > MAX_COMPARED_BYTES {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

impl ToolError {
    /// Makes a tool's error of any other, by its chain of sources, as
    /// [`Verdict::from_error`](crate::Verdict::from_error) judges it and shows it.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{ErrorKind, ToolError};
    ///
    /// let error = "4o".parse::<u8>().unwrap_err();
    /// assert_eq!(ToolError::from_error(&error).kind(), Some(ErrorKind::InvalidArgs));
    /// ```
    #[must_use]
    pub fn from_error(error: &(dyn Error + 'static)) -> Self {
        // Cut between words, since a redactor may get it as a whole later.
        let text = Excerpt::new(&Chain(error));
        Self::with_outcome(outcome(error), text.as_whole_words())
    }
}

impl From<io::Error> for ToolError {
    fn from(error: io::Error) -> Self {
        let told = Self::from_error(&error);
        // It may hold an error of the host.
        discard(error);
        told
    }
}

impl From<serde_json::Error> for ToolError {
    /// Arguments that do not parse, or an output that is no JSON: `invalid_args`.
    fn from(error: serde_json::Error) -> Self {
        Self::from_error(&error)
    }
}

impl From<InvokeError> for ToolError {
    /// The error of a tool that a tool called keeps its kind.
    fn from(error: InvokeError) -> Self {
        match error {
            InvokeError::Failed(error) => error,
            other => Self::from_error(&other),
        }
    }
}

impl From<Box<dyn Error + Send + Sync>> for ToolError {
    fn from(error: Box<dyn Error + Send + Sync>) -> Self {
        let told = Self::from_error(&*error);
        discard(error);
        told
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests {
    use super::*;

    /// Wraps another error, and says nothing of it.
    #[derive(Debug, thiserror::Error)]
    #[error("layer {0}")]
    struct Layer(usize, #[source] Option<Box<dyn Error + Send + Sync>>);

    fn wrapped(depth: usize, inner: Box<dyn Error + Send + Sync>) -> Layer {
        (1..depth).fold(Layer(0, Some(inner)), |error, n| {
            Layer(n, Some(Box::new(error)))
        })
    }

    fn timed_out() -> Box<dyn Error + Send + Sync> {
        Box::new(io::Error::new(io::ErrorKind::TimedOut, "no answer"))
    }

    #[test]
    fn the_cause_is_found_at_any_depth() {
        for depth in [1, 2, 10, 1_000] {
            let error = wrapped(depth, timed_out());
            assert_eq!(
                outcome(&error),
                Outcome::Failure(ErrorKind::Timeout),
                "{depth}"
            );
        }
        let nothing_known = Layer(0, None);
        assert_eq!(outcome(&nothing_known), Outcome::Failure(ErrorKind::Other));
        // A chain that is longer than what is followed, and one that an io error begins.
        let endless = wrapped(2_000, timed_out());
        assert_eq!(outcome(&endless), Outcome::Failure(ErrorKind::Other));
        let io = io::Error::other(wrapped(3, timed_out()));
        assert_eq!(outcome(&io), Outcome::Failure(ErrorKind::Timeout));
    }

    /// `io::Error::source` gives the cause of what it holds, and leaves that itself out.
    #[test]
    fn what_an_io_error_holds_is_looked_at_itself() {
        let held = ToolError::new(ErrorKind::RateLimited, "in 30 s");
        let error = io::Error::other(held);
        assert_eq!(outcome(&error), Outcome::Failure(ErrorKind::RateLimited));
    }

    #[test]
    fn the_whole_chain_is_shown_and_nothing_twice() {
        let error = wrapped(2, timed_out());
        assert_eq!(Chain(&error).to_string(), "layer 1: layer 0: no answer");
        let io = io::Error::other(Layer(7, None));
        assert_eq!(Chain(&io).to_string(), "layer 7");
    }

    #[test]
    fn known_errors_keep_their_kind() {
        let kind = |error: &(dyn Error + 'static)| outcome(error).error_kind();
        let io = |kind: io::ErrorKind| io::Error::from(kind);
        assert_eq!(
            kind(&io(io::ErrorKind::NotFound)),
            Some(ErrorKind::NotFound)
        );
        assert_eq!(
            kind(&io(io::ErrorKind::PermissionDenied)),
            Some(ErrorKind::PermissionDenied)
        );
        assert_eq!(kind(&io(io::ErrorKind::TimedOut)), Some(ErrorKind::Timeout));
        assert_eq!(
            kind(&io(io::ErrorKind::InvalidInput)),
            Some(ErrorKind::InvalidArgs)
        );
        assert_eq!(
            kind(&io(io::ErrorKind::ConnectionRefused)),
            Some(ErrorKind::Network)
        );
        assert_eq!(
            kind(&io(io::ErrorKind::InvalidData)),
            Some(ErrorKind::Other)
        );
        let json = serde_json::from_str::<u8>("x").unwrap_err();
        assert_eq!(kind(&json), Some(ErrorKind::InvalidArgs));
        assert_eq!(
            kind(&"4o".parse::<u8>().unwrap_err()),
            Some(ErrorKind::InvalidArgs)
        );
        let late = std::sync::mpsc::RecvTimeoutError::Timeout;
        assert_eq!(kind(&late), Some(ErrorKind::Timeout));
        assert_eq!(outcome(&ToolError::cancelled("stop")), Outcome::Cancelled);
    }
}
