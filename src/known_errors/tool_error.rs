//! Conversions of other errors into a [`ToolError`], which keep their outcome and their text.

use super::chain::ChainText;
use super::outcome;
use crate::contain::discard;
use crate::error::{InvokeError, ToolError};
use crate::text::Excerpt;
use std::error::Error;
use std::io;

impl ToolError {
    /// Converts any error into a tool's error, with the outcome and the text that
    /// [`Verdict::from_error`](crate::Verdict::from_error) gives it.
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
        let text = Excerpt::new(&ChainText(error));
        Self::with_outcome(outcome(error), text.as_whole_words())
    }
}

impl From<io::Error> for ToolError {
    fn from(error: io::Error) -> Self {
        let converted = Self::from_error(&error);
        // It may hold an error of the host.
        discard(error);
        converted
    }
}

impl From<serde_json::Error> for ToolError {
    /// Converts an error of syntax or of data, which is of kind `invalid_args`, or of input and
    /// output, which keeps its kind.
    fn from(error: serde_json::Error) -> Self {
        Self::from_error(&error)
    }
}

impl From<InvokeError> for ToolError {
    /// Converts the error of a tool that another tool called; the kind stays.
    fn from(error: InvokeError) -> Self {
        match error {
            InvokeError::Failed(error) => error,
            other => Self::from_error(&other),
        }
    }
}

impl From<Box<dyn Error + Send + Sync>> for ToolError {
    fn from(error: Box<dyn Error + Send + Sync>) -> Self {
        let converted = Self::from_error(&*error);
        discard(error);
        converted
    }
}
