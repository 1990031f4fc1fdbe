//! The messages of errors as a registry keeps them: bounded, escaped, and redacted if the host sets
//! a redactor.

use super::escape::{escape_into, escaped, is_hidden, is_variation_selector};
use super::excerpt::{Excerpt, GAP, PANICKED, joined};
use crate::contain::contained;
use std::borrow::Cow;
use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use toolmeter_events::ErrorMessage;

/// The default length of the longest error message that is kept, in bytes;
/// [`RegistryBuilder::max_message_bytes`](crate::RegistryBuilder::max_message_bytes) changes it.
///
/// Of a longer message the beginning and the end are kept, with `…` between them.
///
/// # Examples
///
/// ```
/// use toolmeter::{DEFAULT_MESSAGE_BYTES, ErrorKind, Registry};
///
/// let registry = Registry::new();
/// let shell = registry.register("shell")?;
/// shell.start().fail(ErrorKind::Other, "x".repeat(1_000_000));
/// let metrics = registry.metrics();
/// let error = metrics.tools["shell"].last_error.as_ref().unwrap();
/// let message = error.message.as_ref().unwrap();
/// assert!(message.len() <= DEFAULT_MESSAGE_BYTES);
/// assert!(message.contains('…'));
/// # Ok::<(), toolmeter::RegisterError>(())
/// ```
pub const DEFAULT_MESSAGE_BYTES: usize = 512;

/// The lengths to which the longest error message can be set, in bytes.
pub(crate) const MESSAGE_BYTES: RangeInclusive<usize> = 64..=4_096;

/// The host's redactor: returns what may be kept of an error's text.
pub(crate) type Redactor = Arc<dyn Fn(&str) -> Cow<'_, str> + Send + Sync>;

/// The rules for keeping error messages.
#[derive(Clone)]
pub(crate) enum TextPolicy {
    Off,
    Keep {
        /// The longest message, within [`MESSAGE_BYTES`].
        max_bytes: usize,
        redactor: Option<Redactor>,
    },
}

/// A redactor's panic is contained, and the redactor still gets the next text; see
/// [`TextPolicy::message`].
impl UnwindSafe for TextPolicy {}
impl RefUnwindSafe for TextPolicy {}

impl fmt::Debug for TextPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("Off"),
            Self::Keep {
                max_bytes,
                redactor,
            } => f
                .debug_struct("Keep")
                .field("max_bytes", max_bytes)
                .field("redactor", &redactor.as_ref().map(|_| format_args!("..")))
                .finish(),
        }
    }
}

impl TextPolicy {
    /// Returns whether no message is kept.
    pub(crate) fn is_off(&self) -> bool {
        matches!(self, Self::Off)
    }

    /// Returns the message as it is kept; `None` if messages are switched off or there is no
    /// text.
    ///
    /// If the redactor panics, a note replaces the message, and the redactor still gets the next
    /// text.
    pub(crate) fn message(&self, excerpt: &Excerpt) -> Option<ErrorMessage> {
        let Self::Keep {
            max_bytes,
            redactor,
        } = self
        else {
            return None;
        };
        if excerpt.is_empty() {
            return None;
        }
        let text = match redactor {
            None => escaped_ends(&excerpt.as_text(), *max_bytes),
            Some(redactor) => {
                let raw = excerpt.as_whole_words();
                contained(|| escaped_ends(&redactor(&raw), *max_bytes))
                    .unwrap_or_else(|_| PANICKED.to_owned())
            }
        };
        (!text.is_empty()).then(|| ErrorMessage::new(text))
    }

    /// Formats a text and returns its [`message`](Self::message). Does not format it if messages
    /// are switched off.
    pub(crate) fn message_of(&self, text: &dyn Display) -> Option<ErrorMessage> {
        if self.is_off() {
            return None;
        }
        self.message(&Excerpt::new(text))
    }
}

/// Returns `text`, escaped; if that is longer than `max_bytes`, its beginning and its end. The end
/// gets at least half of the room, since tracebacks and compilers put the cause there.
fn escaped_ends(text: &str, max_bytes: usize) -> String {
    let mut kept = String::with_capacity(text.len().min(max_bytes));
    if escape_into(&mut kept, text, max_bytes) {
        return kept;
    }
    let Some(room) = max_bytes.checked_sub(GAP.len()) else {
        return kept;
    };
    let head = escaped(text, room / 2);
    let tail = end_within(text, room - head.len());
    joined(&head, &escaped(tail, max_bytes))
}

/// Returns the longest end of `text` that has at most `max_bytes` when it is escaped and does not
/// begin with a selector that belongs to the character before.
fn end_within(text: &str, max_bytes: usize) -> &str {
    let mut start = text.len();
    let mut bytes = 0;
    let mut characters = text.char_indices().rev().peekable();
    while let Some((at, character)) = characters.next() {
        let hidden = is_hidden(characters.peek().map(|&(_, before)| before), character);
        bytes += if hidden {
            character.escape_default().len()
        } else {
            character.len_utf8()
        };
        if bytes > max_bytes {
            break;
        }
        if hidden || !is_variation_selector(character) {
            start = at;
        }
    }
    &text[start..]
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
