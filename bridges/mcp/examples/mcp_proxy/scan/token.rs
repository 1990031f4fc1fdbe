//! The text of a string or a number while it is read, in bounded memory.

use super::message::Id;
use serde::de::{self, Deserializer};
use std::borrow::Cow;
use std::fmt;

/// A value that is being read, as it is written.
#[derive(Debug, Default)]
pub(super) struct Token {
    head: Vec<u8>,
    /// The last bytes of those that the head has no room for, at least [`Token::limit`] if there
    /// are as many.
    tail: Vec<u8>,
    /// Set if bytes after the head are missing, in a token without a tail.
    is_cut: bool,
    /// The most bytes that are kept of its head, and of its tail if it has one.
    limit: usize,
    has_tail: bool,
}

impl Token {
    /// Begins a new value.
    pub(super) fn begin(&mut self, limit: usize, has_tail: bool) {
        self.head.clear();
        self.tail.clear();
        self.is_cut = false;
        (self.limit, self.has_tail) = (limit, has_tail);
    }

    /// Appends the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let room = self.limit - self.head.len();
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(head);
        if rest.is_empty() {
            return;
        }
        if !self.has_tail {
            self.is_cut = true;
            return;
        }
        if rest.len() > self.limit {
            // One byte more than the limit marks the value as cut.
            self.tail.clear();
            self.tail
                .extend_from_slice(&rest[rest.len() - self.limit - 1..]);
            return;
        }
        self.tail.extend_from_slice(rest);
        if self.tail.len() > 2 * self.limit {
            self.tail.drain(..self.tail.len() - self.limit - 1);
        }
    }

    /// Returns whether a part of the value is missing.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut || self.tail.len() > self.limit
    }

    /// Returns the bytes that are allocated.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.head.capacity() + self.tail.capacity()
    }

    /// Returns the text of a string, without escapes. If a part is missing, `...` stands for it
    /// between the whole words before and behind it.
    pub(super) fn text(&self) -> String {
        if self.tail.is_empty() {
            return unescaped(&self.head).into_owned();
        }
        if !self.is_cut() {
            return unescaped(&[&*self.head, &*self.tail].concat()).into_owned();
        }
        let tail = &self.tail[self.tail.len() - self.limit..];
        let tail = &tail[character_start(tail)..];
        let (head, tail) = (unescaped(&self.head), unescaped(tail));
        let head = head
            .rfind(char::is_whitespace)
            .map_or("", |end| &head[..end]);
        let tail = tail.find(char::is_whitespace).map_or("", |at| &tail[at..]);
        format!("{head} ...{tail}")
    }

    /// Returns the number. `None` if it is too long to be kept.
    pub(super) fn number(&self) -> Option<Id> {
        let text = std::str::from_utf8(&self.head).ok()?;
        if self.is_cut() {
            return None;
        }
        Some(match text.parse::<i64>() {
            Ok(number) => Id::Number(number),
            Err(_) => match text.parse::<f64>() {
                // JavaScript writes whole numbers of this size without an exponent.
                Ok(number) if number.fract() == 0.0 && number.abs() < 9e15 => {
                    Id::Number(number as i64)
                }
                _ => Id::Odd(text.into()),
            },
        })
    }
}

/// Returns the first position in these bytes of a string at which a character is sure to begin.
///
/// A backslash after another byte begins an escape. A byte that cannot be a hexadecimal digit,
/// after one that is not a backslash, is not within an escape.
fn character_start(bytes: &[u8]) -> usize {
    let pairs = bytes.windows(2);
    let mut starts =
        pairs.map(|pair| pair[0] != b'\\' && (pair[1] == b'\\' || !pair[1].is_ascii_hexdigit()));
    starts
        .position(|is_start| is_start)
        .map_or(bytes.len(), |at| at + 1)
}

/// Returns the text of a string in JSON. An escape that is cut off at the end is dropped.
fn unescaped(raw: &[u8]) -> Cow<'_, str> {
    if !raw.contains(&b'\\') {
        return String::from_utf8_lossy(raw);
    }
    // The first of these ends is the most likely; an escape that is cut has five bytes at most.
    for end in (raw.len().saturating_sub(5)..=raw.len()).rev() {
        let quoted = [b"\"", &raw[..end], b"\""].concat();
        let mut json = serde_json::Deserializer::from_slice(&quoted);
        if let Ok(bytes) = json.deserialize_bytes(AnyBytes) {
            return Cow::Owned(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    String::from_utf8_lossy(raw)
}

/// A visitor that takes the bytes of a string, which need not be UTF-8.
struct AnyBytes;

impl de::Visitor<'_> for AnyBytes {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }
}
