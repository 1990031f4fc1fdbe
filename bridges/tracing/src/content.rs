//! Arguments and results as text: bounded and redacted.
//!
//! Invariant: of JSON of any size, at most [`READ_BYTES`] are written and passed to the redactor, and at most
//! the host's limit is kept. The cut before the redactor lies between values, or at a space within a string,
//! so no secret without spaces is cut in two.

use serde_json::Value;
use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The longest JSON that is written as a whole.
const READ_BYTES: usize = 16 << 10;

/// The mark of a text whose rest was cut off.
const REST: &str = "…";

/// The text that is recorded if the redactor panicked.
const PANICKED: &str = "(the redactor panicked)";

pub(crate) type Redactor = Arc<dyn Fn(&str) -> Cow<'_, str> + Send + Sync>;

/// The content that is recorded, and its limits.
#[derive(Clone)]
pub(crate) struct Content {
    pub(crate) arguments: bool,
    pub(crate) results: bool,
    pub(crate) max_bytes: usize,
    pub(crate) redactor: Option<Redactor>,
}

impl Default for Content {
    fn default() -> Self {
        Self {
            arguments: false,
            results: false,
            max_bytes: 1_024,
            redactor: None,
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content")
            .field("arguments", &self.arguments)
            .field("results", &self.results)
            .field("max_bytes", &self.max_bytes)
            .field(
                "redactor",
                &self.redactor.as_ref().map(|_| format_args!("..")),
            )
            .finish()
    }
}

impl Content {
    /// Returns the value as JSON, redacted and cut.
    pub(crate) fn text(&self, value: &Value) -> String {
        let (mut text, mut is_whole) = head(value);
        if let Some(redactor) = &self.redactor {
            if !is_whole {
                text.truncate(end_of_words(&text));
            }
            let redacted = catch_unwind(AssertUnwindSafe(|| redactor(&text).into_owned()));
            match redacted {
                Ok(redacted) => text = redacted,
                Err(payload) => {
                    // The payload is the redactor's, too.
                    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                        std::mem::forget(payload);
                    }
                    return PANICKED.to_owned();
                }
            }
        }
        if text.len() > self.max_bytes {
            text.truncate(boundary(&text, self.max_bytes.saturating_sub(REST.len())));
            is_whole = false;
        }
        if !is_whole && self.max_bytes >= REST.len() {
            text.truncate(boundary(&text, self.max_bytes - REST.len()));
            text.push_str(REST);
        }
        text
    }
}

/// Returns the head of a value's JSON, and whether that is all.
fn head(value: &Value) -> (String, bool) {
    let mut head = Head(Vec::new());
    let is_whole = serde_json::to_writer(&mut head, value).is_ok();
    let mut bytes = head.0;
    if let Err(error) = std::str::from_utf8(&bytes) {
        // Cut within a character.
        bytes.truncate(error.valid_up_to());
    }
    (String::from_utf8_lossy(&bytes).into_owned(), is_whole)
}

/// A writer that keeps up to [`READ_BYTES`].
struct Head(Vec<u8>);

impl Write for Head {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = READ_BYTES - self.0.len();
        let taken = bytes.len().min(room);
        self.0.extend_from_slice(&bytes[..taken]);
        // Once nothing is taken, `write_all` returns an error, which ends the serialisation.
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the end of the last word that is complete.
///
/// In a string, spaces separate words; elsewhere a word is a whole string or number. Commas, brackets
/// and escaped quotes do not end a word in a string, since secrets contain them, too.
fn end_of_words(json: &str) -> usize {
    let (mut end, mut in_string, mut is_escaped) = (0, false, false);
    for (at, c) in json.char_indices() {
        let is_end = if in_string {
            let is_quote = c == '"' && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            in_string = !is_quote;
            c.is_whitespace()
        } else {
            in_string = c == '"';
            matches!(c, '"' | ',' | '[' | ']' | '{' | '}')
        };
        if is_end {
            end = at;
        }
    }
    end
}

/// Returns the last boundary of a character that is not after `at`.
fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn content(max_bytes: usize, redactor: Option<Redactor>) -> Content {
        Content {
            max_bytes,
            redactor,
            ..Content::default()
        }
    }

    #[test]
    fn a_short_value_is_its_json() {
        let value = json!({ "q": "loom\u{1b}", "n": [1, null] });
        let text = content(1_024, None).text(&value);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        assert_eq!(content(4, None).text(&json!(1_234)), "1234");
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        for max_bytes in 0..40 {
            for value in [json!("ä".repeat(40)), json!("✓".repeat(30_000))] {
                let text = content(max_bytes, None).text(&value);
                assert!(text.len() <= max_bytes, "{text}");
                assert_eq!(text.ends_with(REST), max_bytes >= REST.len(), "{text}");
            }
        }
        // Cut before it reaches the limit.
        let text = content(1 << 20, None).text(&json!("✓".repeat(30_000)));
        assert!(text.len() <= READ_BYTES + REST.len() && text.ends_with("✓…"));
    }

    #[test]
    fn a_secret_is_given_to_the_redactor_as_a_whole_or_not_at_all() {
        // A secret may hold what separates values, and what JSON escapes.
        for secret in [
            "hunter2-correct",
            "hunt,er[2]{co}rr",
            "hunt\"er\"2\\",
            "hunt\\\"er2",
        ] {
            let json = json!(secret).to_string();
            let written = json[1..json.len() - 1].to_owned();
            let redactor: Redactor =
                Arc::new(move |text| text.replace(&written, "[secret]").into());
            for before in READ_BYTES - 60..READ_BYTES + 10 {
                for value in [
                    json!({ "a": "x".repeat(before), "b": [secret, secret] }),
                    json!(format!("{} {secret} {secret}", "x".repeat(before))),
                ] {
                    let text = content(usize::MAX, Some(Arc::clone(&redactor))).text(&value);
                    assert!(!text.contains("hunt"), "{secret} after {before}");
                }
            }
        }
        const SECRET: &str = "hunter2-correct";
        let redactor: Redactor = Arc::new(|text| text.replace(SECRET, "[secret]").into());
        let text = content(30, Some(redactor)).text(&json!([SECRET, "y".repeat(100)]));
        assert_eq!(text, "[\"[secret]\",\"yyyyyyyyyyyyyy…");
    }

    #[test]
    fn a_redactor_that_panics_leaves_nothing_of_the_text() {
        /// Panics when it is dropped.
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("no idea at all");
            }
        }
        let redactor: Redactor = Arc::new(|_| std::panic::panic_any(Bomb));
        let content = content(64, Some(redactor));
        assert_eq!(content.text(&json!("hunter2")), PANICKED);
        assert!(format!("{content:?}").contains("Some(..)"));
    }
}
