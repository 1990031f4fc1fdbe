//! The beginning and the end of an error's text, however long the text is.
//!
//! Formatting a text takes bounded memory and ends after a bounded number of written bytes, and a
//! panic of the `Display` is contained.

use super::escape::escaped;
use crate::contain::contained;
use std::borrow::Cow;
use std::fmt::{self, Display, Write};

/// The longest beginning of a text that an [`Excerpt`] keeps, in bytes.
pub(super) const HEAD_BYTES: usize = 4_096;

/// The longest end of a text that an [`Excerpt`] keeps, in bytes.
pub(super) const TAIL_BYTES: usize = 4_096;

/// The number of bytes after which a `Display` that still writes is stopped. An empty write counts
/// as one byte, so a `Display` that makes empty writes for ever is stopped, too.
const MAX_WRITTEN_BYTES: usize = 16 << 20;

/// The text in place of what is missing.
pub(super) const GAP: &str = " … ";

/// The text of an error whose `Display`, or whose redactor, panicked.
pub(super) const PANICKED: &str = "(the error's text could not be read: it panicked)";

/// The beginning and the end of a text: at most [`HEAD_BYTES`] and [`TAIL_BYTES`]. A text that fits
/// into both is kept whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Excerpt {
    head: String,
    /// Empty if the head holds the whole text.
    tail: String,
    /// The number of bytes between head and tail.
    missing: usize,
    /// True if the `Display` was stopped before its text ended.
    unfinished: bool,
}

impl Excerpt {
    /// Formats `text` and keeps its beginning and its end.
    ///
    /// If the `Display` panics, the excerpt says so instead. A `Display` that does not end is
    /// stopped, and the excerpt is of what it wrote until then.
    pub(crate) fn new(text: &dyn Display) -> Self {
        let formatted = contained(|| {
            let mut writer = ExcerptWriter::default();
            // An error means that the Display was stopped here, or that it returned one itself.
            let _ = write!(writer, "{text}");
            writer.excerpt
        });
        formatted.map_or_else(
            |_| Self::from_text(PANICKED),
            |mut excerpt| {
                excerpt.compact();
                excerpt
            },
        )
    }

    /// Keeps the beginning and the end of a text that exists already.
    pub(crate) fn from_text(text: &str) -> Self {
        let mut excerpt = Self::default();
        excerpt.append(text);
        excerpt.compact();
        excerpt
    }

    /// Returns whether there is no text.
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_empty()
    }

    /// Returns the text, with ` … ` where something is missing.
    pub(crate) fn as_text(&self) -> Cow<'_, str> {
        self.text_of(&self.head, &self.tail, self.unfinished)
    }

    /// Returns the text without the words, or the line, that a cut went through.
    ///
    /// A redactor cannot recognise half a secret. So the text beside a cut is removed, up to the
    /// next white space, or after the gap up to the next line if that begins in the first half of
    /// the tail.
    pub(crate) fn as_whole_words(&self) -> Cow<'_, str> {
        if self.missing > 0 {
            let mut tail = from_whole_line_or_word(&self.tail);
            if self.unfinished {
                tail = to_whole_word(tail);
            }
            self.text_of(to_whole_word(&self.head), tail, self.unfinished)
        } else if self.unfinished {
            let text = self.text_of(&self.head, &self.tail, false);
            Cow::Owned(joined(to_whole_word(&text), ""))
        } else {
            self.as_text()
        }
    }

    fn text_of<'a>(&self, head: &'a str, tail: &str, unfinished: bool) -> Cow<'a, str> {
        if self.is_empty() {
            return Cow::Borrowed("");
        }
        if self.missing == 0 && tail.is_empty() && !unfinished {
            return Cow::Borrowed(head);
        }
        let text = if self.missing > 0 {
            joined(head, tail)
        } else {
            [head, tail].concat()
        };
        if unfinished && (self.missing == 0 || !tail.is_empty()) {
            return Cow::Owned(joined(&text, ""));
        }
        Cow::Owned(text)
    }

    /// Appends `text`. The tail has at most twice its final size after that.
    fn append(&mut self, text: &str) {
        let mut rest = text;
        // Once the tail holds something, nothing goes to the head, which would be out of order.
        if self.tail.is_empty() {
            let room = boundary_before(rest, HEAD_BYTES - self.head.len());
            self.head.push_str(&rest[..room]);
            rest = &rest[room..];
        }
        if rest.len() >= TAIL_BYTES {
            let start = boundary_after(rest, rest.len() - TAIL_BYTES);
            self.missing += self.tail.len() + start;
            self.tail.clear();
            rest = &rest[start..];
        } else if self.tail.len() + rest.len() > 2 * TAIL_BYTES {
            self.compact();
        }
        self.tail.push_str(rest);
    }

    /// Cuts the tail to its final size.
    fn compact(&mut self) {
        if let Some(more) = self.tail.len().checked_sub(TAIL_BYTES) {
            let start = boundary_after(&self.tail, more);
            self.missing += start;
            self.tail.drain(..start);
        }
    }
}

/// A writer that keeps an excerpt, and fails after [`MAX_WRITTEN_BYTES`] so that formatting ends.
#[derive(Default)]
struct ExcerptWriter {
    excerpt: Excerpt,
    written: usize,
}

impl Write for ExcerptWriter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.written >= MAX_WRITTEN_BYTES {
            self.excerpt.unfinished = true;
            return Err(fmt::Error);
        }
        self.written = self.written.saturating_add(text.len().max(1));
        self.excerpt.append(text);
        Ok(())
    }
}

/// Returns the text of a panic as it is shown to the caller that gets it as an error: escaped, and
/// of more than 8 KiB the head and the tail. It is cut between words, since a redactor may get it
/// later.
pub(crate) fn shown(text: &str) -> String {
    escaped(&Excerpt::from_text(text).as_whole_words(), usize::MAX)
}

/// Returns `head` and `tail` with the gap between them. The gap has no space beside a part that is
/// empty.
pub(super) fn joined(head: &str, tail: &str) -> String {
    let mut text = String::with_capacity(head.len() + GAP.len() + tail.len());
    text.push_str(head);
    text.push_str(match (head.is_empty(), tail.is_empty()) {
        (false, false) => GAP,
        (false, true) => GAP.trim_end(),
        (true, false) => GAP.trim_start(),
        (true, true) => GAP.trim(),
    });
    text.push_str(tail);
    text
}

/// Returns the last boundary between characters of `text` that is not after `at`.
pub(super) fn boundary_before(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Returns the first boundary between characters of `text` that is not before `at`.
fn boundary_after(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

/// Returns `text` up to its last white space; empty if it has none.
fn to_whole_word(text: &str) -> &str {
    let end = text.rfind(char::is_whitespace).unwrap_or(0);
    text[..end].trim_end()
}

/// Returns `text` from its second line on if that begins in the first half, else the text after its
/// first white space; empty if it has none.
fn from_whole_line_or_word(text: &str) -> &str {
    if let Some(at) = text.find('\n')
        && at < text.len() / 2
    {
        return &text[at + 1..];
    }
    text.split_once(char::is_whitespace)
        .map_or("", |(_, rest)| rest)
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
