//! The chain of an error's sources: the errors on it, and their texts.
//!
//! A chain may be of any length, and even lead back to an error before. So [`chain`] follows it for
//! [`MAX_LINKS`] links, and [`ChainText`] shows the first [`MAX_SHOWN_LINKS`].

use crate::error::ToolError;
use std::error::Error;
use std::fmt::{self, Display, Write};
use std::io;
use std::iter::successors;

/// The number of errors on a chain that are looked at.
const MAX_LINKS: usize = 1_024;

/// The number of errors on a chain that are shown.
const MAX_SHOWN_LINKS: usize = 64;

/// The longest cause that is compared with the text before it, in bytes.
const MAX_COMPARED_BYTES: usize = 1_024;

/// Returns the error and its causes.
pub(super) fn chain<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |&error| cause(error)).take(MAX_LINKS)
}

/// Returns the next error on the chain. After an `io::Error` that is the error it wraps, which its
/// `source` skips.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    if let Some(inner) = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        return Some(inner);
    }
    error.source()
}

/// The text of an error and all its causes, as in `outer: cause: cause`.
///
/// A cause is left out if the text before it ends with it, since many errors show their cause
/// themselves. The text is not cut here.
pub(crate) struct ChainText<'a>(pub(crate) &'a (dyn Error + 'static));

impl Display for ChainText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(error) = self.0.downcast_ref::<ToolError>() {
            return f.write_str(error.message());
        }
        let mut shown = EndRecorder {
            formatter: f,
            end: String::new(),
        };
        for (place, error) in chain(self.0).take(MAX_SHOWN_LINKS).enumerate() {
            if place > 0 {
                let mut cause = ShortText(String::new());
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

/// A writer that passes text on and keeps its end for comparison.
struct EndRecorder<'a, 'b> {
    formatter: &'a mut fmt::Formatter<'b>,
    /// The last [`MAX_COMPARED_BYTES`] or more.
    end: String,
}

impl Write for EndRecorder<'_, '_> {
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

/// A text that is short enough to be compared; writing more fails.
struct ShortText(String);

impl Write for ShortText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > MAX_COMPARED_BYTES {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
