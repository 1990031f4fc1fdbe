//! [`Classify`]: results that are judged by their type.

use super::verdict::Verdict;
use crate::known_errors;
use std::borrow::Cow;
use std::error::Error;
use std::fmt::Display;
use std::ops::Deref;
use std::process::{ExitStatus, Output};
use toolmeter_core::{ErrorKind, Outcome};

/// Judges a result within a result: by the outer error if there is one, else by the inner result.
///
/// # Examples
///
/// ```
/// use toolmeter::{ErrorKind, Registry, nested};
///
/// let registry = Registry::new();
/// let shell = registry.register("shell")?;
/// // Whether the command could be run, and then its exit status.
/// let output = shell.call().classify(nested).run(|| std::process::Command::new("false").output());
/// assert!(output.is_ok());
/// let metrics = registry.metrics();
/// assert_eq!(metrics.tools["shell"].failures_by_kind[&ErrorKind::ToolError], 1);
/// # Ok::<(), toolmeter::RegisterError>(())
/// ```
pub fn nested<R, E, M, N>(result: &Result<R, E>) -> Verdict
where
    R: Classify<M>,
    Result<R, E>: Classify<N>,
{
    match result {
        Ok(inner) => inner.classify(),
        Err(_) => result.classify(),
    }
}

/// A result by which the call that returned it is judged.
///
/// It is implemented for
///
/// - `()`, which is a success;
/// - `Result<T, E>`: `Ok` is a success whatever it holds. An `Err` is judged by
///   [`Verdict::from_error`] if its error implements [`Error`] or dereferences to a `dyn Error`, as
///   `Box<dyn Error>` and the error types of `anyhow` and `eyre` do. A text (`String`, `&str` and the
///   like) is a failure of kind `other`;
/// - [`ExitStatus`] and [`Output`]: a failure of kind `tool_error` unless the exit status is 0.
///
/// Where `Ok` may hold an error as well, use [`nested`], or a rule of your own
/// ([`CallBuilder::classify`](crate::CallBuilder::classify)).
///
/// The parameter `M` only keeps the implementations for different errors apart. It is inferred;
/// implement `Classify` without it for a type of your own.
///
/// # Examples
///
/// ```
/// use toolmeter::{Classify, ErrorKind, Outcome};
///
/// let refused: Result<(), std::io::Error> =
///     Err(std::io::Error::from(std::io::ErrorKind::PermissionDenied));
/// assert_eq!(refused.outcome(), Outcome::Failure(ErrorKind::PermissionDenied));
/// let failed: Result<(), String> = Err("no such host".into());
/// assert_eq!(failed.outcome(), Outcome::Failure(ErrorKind::Other));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say whether a call succeeded",
    note = "judge it by a rule of your own with `.call().classify(|result: &{Self}| ...)`"
)]
pub trait Classify<M = ()> {
    /// Judges the result.
    fn classify(&self) -> Verdict;

    /// Returns the outcome alone, for registries that keep no texts. Override it where that is
    /// cheaper than [`classify`](Self::classify); the outcome must be the same.
    fn outcome(&self) -> Outcome {
        self.classify().outcome()
    }

    /// Returns whether the result is known to be a success, so that it is not judged any further:
    /// the fast path of most calls. By default this is `false`.
    #[inline]
    fn is_plain_success(&self) -> bool {
        false
    }
}

impl Classify for () {
    #[inline]
    fn classify(&self) -> Verdict {
        Verdict::success()
    }

    #[inline]
    fn is_plain_success(&self) -> bool {
        true
    }
}

/// Markers that keep the implementations of [`Classify`] for `Result` apart.
pub mod by {
    /// The marker for errors that implement [`Error`](std::error::Error).
    #[derive(Clone, Copy, Debug)]
    pub enum Type {}
    /// The marker for errors that dereference to a `dyn Error`.
    #[derive(Clone, Copy, Debug)]
    pub enum Source {}
    /// The marker for errors that dereference to a `dyn Error + Send`.
    #[derive(Clone, Copy, Debug)]
    pub enum SendSource {}
    /// The marker for errors that dereference to a `dyn Error + Send + Sync`.
    #[derive(Clone, Copy, Debug)]
    pub enum SyncSource {}
    /// The marker for texts.
    #[derive(Clone, Copy, Debug)]
    pub enum Text {}
}

impl<T, E: Error + 'static> Classify<by::Type> for Result<T, E> {
    #[inline]
    fn classify(&self) -> Verdict {
        match self {
            Ok(_) => Verdict::success(),
            Err(error) => Verdict::from_error(error),
        }
    }

    #[inline]
    fn outcome(&self) -> Outcome {
        match self {
            Ok(_) => Outcome::Success,
            Err(error) => known_errors::outcome(error),
        }
    }

    #[inline]
    fn is_plain_success(&self) -> bool {
        self.is_ok()
    }
}

macro_rules! classify_by_source {
    ($($marker:ident: $source:ty),+ $(,)?) => {$(
        impl<T, E: Deref<Target = $source>> Classify<by::$marker> for Result<T, E> {
            #[inline]
            fn classify(&self) -> Verdict {
                match self {
                    Ok(_) => Verdict::success(),
                    Err(error) => Verdict::from_error(&**error),
                }
            }

            #[inline]
            fn outcome(&self) -> Outcome {
                match self {
                    Ok(_) => Outcome::Success,
                    Err(error) => known_errors::outcome(&**error),
                }
            }

            #[inline]
            fn is_plain_success(&self) -> bool {
                self.is_ok()
            }
        }
    )+};
}

classify_by_source! {
    Source: dyn Error + 'static,
    SendSource: dyn Error + Send + 'static,
    SyncSource: dyn Error + Send + Sync + 'static,
}

/// A text type that can be the error of a `Result`: `String`, `&str` and the like.
pub trait ErrorText: Display + sealed::Sealed {}

mod sealed {
    pub trait Sealed {}
}

macro_rules! error_texts {
    ($($text:ty),+ $(,)?) => {$(
        impl sealed::Sealed for $text {}
        impl ErrorText for $text {}
    )+};
}

error_texts!(
    String,
    &str,
    Cow<'_, str>,
    Box<str>,
    std::rc::Rc<str>,
    std::sync::Arc<str>,
);

impl<T, E: ErrorText> Classify<by::Text> for Result<T, E> {
    #[inline]
    fn classify(&self) -> Verdict {
        match self {
            Ok(_) => Verdict::success(),
            Err(text) => failed_with_text(text),
        }
    }

    #[inline]
    fn outcome(&self) -> Outcome {
        match self {
            Ok(_) => Outcome::Success,
            Err(_) => Outcome::Failure(ErrorKind::Other),
        }
    }

    #[inline]
    fn is_plain_success(&self) -> bool {
        self.is_ok()
    }
}

#[cold]
fn failed_with_text(text: &dyn Display) -> Verdict {
    Verdict::failure(ErrorKind::Other).because(text)
}

impl Classify for ExitStatus {
    fn classify(&self) -> Verdict {
        if self.success() {
            Verdict::success()
        } else {
            Verdict::failure(ErrorKind::ToolError).because(self)
        }
    }
}

impl Classify for Output {
    fn classify(&self) -> Verdict {
        self.status.classify()
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
