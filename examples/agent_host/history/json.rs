//! The JSON of a transcript, within bounds, and the pieces that are taken from it.
//!
//! What is read is at most [`MAX_BYTES`] long, takes at most about [`MAX_WEIGHT`] times 32 bytes of
//! memory beside its texts, and is at most 128 levels deep, the limit of `serde_json`. A value of an
//! unexpected shape is treated as absent, never as an error.

use serde_json::Value;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The longest JSON text that is read, in bytes.
pub(crate) const MAX_BYTES: usize = 32 << 20;

/// The limit of the weight of its values. A value takes 32 bytes of memory, though `1,` takes two bytes
/// of the file.
const MAX_WEIGHT: usize = 2_000_000;
/// The weight of an object: one of a few entries takes one node of a tree, as much memory as this
/// many values.
const OBJECT_WEIGHT: usize = 20;

/// The number of bytes of a text that are searched for known wordings.
const HEAD: usize = 2048;

/// Reads one JSON text. Bytes that are not UTF-8 are read as U+FFFD, and so are halves of surrogate
/// pairs, which programs in JavaScript write where they cut a text.
pub(crate) fn parse(json: &[u8]) -> Option<Value> {
    if json.len() > MAX_BYTES || is_too_heavy(json) {
        return None;
    }
    match serde_json::from_slice(json) {
        Ok(value) => Some(value),
        Err(error) if is_of_characters(&error) => {
            serde_json::from_str(&mended(&String::from_utf8_lossy(json))).ok()
        }
        Err(_) => None,
    }
}

/// Returns whether it would take too much memory.
pub(crate) fn is_too_heavy(json: &[u8]) -> bool {
    weight(json) > MAX_WEIGHT
}

/// Returns the weight of the values, without the content of texts.
fn weight(json: &[u8]) -> usize {
    let (mut weight, mut in_text, mut bytes) = (0, false, json.iter());
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => in_text = !in_text,
            b'\\' if in_text => _ = bytes.next(),
            b',' | b'[' if !in_text => weight += 1,
            b'{' if !in_text => weight += OBJECT_WEIGHT,
            _ => {}
        }
    }
    weight
}

/// Returns whether the parser failed at a character, and not at the JSON.
fn is_of_characters(error: &serde_json::Error) -> bool {
    let text = error.to_string();
    ["surrogate", "unicode", "hex escape"]
        .iter()
        .any(|about| text.contains(about))
}

/// Returns the JSON with the halves of surrogate pairs replaced.
fn mended(json: &str) -> String {
    let mut mended = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        mended.push_str(before);
        let half = half_of_pair(escape);
        let is_pair = matches!(half, Some(0xd800..=0xdbff))
            && matches!(half_of_pair(&escape[6..]), Some(0xdc00..=0xdfff));
        let length = match half {
            Some(_) if is_pair => 12,
            Some(_) => 6,
            // The character after a backslash belongs to it, even if it is a second backslash.
            None => escape.chars().take(2).map(char::len_utf8).sum(),
        };
        let (escape, after) = escape.split_at(length);
        mended.push_str(if half.is_some() && !is_pair {
            "\\ufffd"
        } else {
            escape
        });
        rest = after;
    }
    mended.push_str(rest);
    mended
}

/// Returns the half of a surrogate pair that an escape at the start of the text represents.
fn half_of_pair(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let half = u16::from_str_radix(digits, 16).ok()?;
    (0xd800..=0xdfff).contains(&half).then_some(half)
}

/// The identity of a session, an answer or a call: a digest of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id {
    /// Equal for equal names.
    pub(crate) digest: u64,
    /// Set if the name is long enough to be unique across sessions.
    pub(crate) is_unique: bool,
}

/// Returns the identity that a text names.
pub(crate) fn id(value: &Value) -> Option<Id> {
    let name = value.as_str()?;
    Some(Id {
        digest: digest_of(name),
        is_unique: name.len() >= 16,
    })
}

/// Returns the nanoseconds since 1970 of a text in ISO 8601 or of a number of milliseconds.
pub(crate) fn time(value: &Value) -> Option<i128> {
    match value {
        Value::String(text) => text
            .parse::<jiff::Timestamp>()
            .ok()
            .map(jiff::Timestamp::as_nanosecond),
        value => value.as_i64().map(|ms| i128::from(ms) * 1_000_000),
    }
}

/// Returns the beginning of a text, or of the first text in a list or an object: the versions of
/// agents write the content of a message in each of these ways.
pub(crate) fn head(value: &Value) -> Option<&str> {
    text(value).map(|text| begin_of(text, HEAD))
}

/// Returns the same text as [`head`], but whole.
pub(crate) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        Value::Array(list) => list.iter().find_map(text),
        Value::Object(object) => ["text", "content", "message", "output"]
            .iter()
            .find_map(|key| text(object.get(*key)?)),
        _ => None,
    }
}

/// Returns the longest beginning of a text that fits in `bytes` bytes.
pub(crate) fn begin_of(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Returns a digest of arguments, which is equal for equal ones in any order of keys. A text that
/// holds JSON is treated as that JSON, since some agents write arguments so.
pub(crate) fn digest_of_args(args: &Value) -> u64 {
    match args.as_str().and_then(|text| parse(text.as_bytes())) {
        Some(args) => digest_of_value(&args),
        None => digest_of_value(args),
    }
}

fn digest_of_value(value: &Value) -> u64 {
    match value {
        Value::Object(object) => {
            let entries = object.iter();
            // A sum does not depend on the order.
            entries.fold(digest_of("object"), |sum, (key, value)| {
                sum.wrapping_add(digest_of((key, digest_of_value(value))))
            })
        }
        Value::Array(list) => {
            let items: Vec<u64> = list.iter().map(digest_of_value).collect();
            digest_of(("list", items))
        }
        Value::String(text) => digest_of(("text", text)),
        scalar => digest_of(("scalar", scalar.to_string())),
    }
}

/// Returns a digest of anything that can be hashed.
pub(crate) fn digest_of(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
