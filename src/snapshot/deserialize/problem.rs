//! [`Invalid`]: the error of a field that is not valid.

use crate::text::{MAX_NAME_BYTES, escaped};

/// The longest text from the input that an error repeats, in bytes.
const MAX_QUOTED_BYTES: usize = 64;

/// A field and its problem. The caller gets it as the text of serde's own error.
#[derive(Debug, thiserror::Error)]
#[error("`{path}` {problem}")]
pub(super) struct Invalid {
    path: String,
    problem: Problem,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("is {given}, but the buckets say {expected}: correct it or leave it out")]
    Disagrees { given: String, expected: String },
    #[error("is {0}: use 3 to 7")]
    Precision(u64),
    #[error("holds index {index}, but with precision {precision} the last is {last}")]
    IndexOutOfRange {
        index: u32,
        precision: u64,
        last: usize,
    },
    #[error("holds index {index} after {before}: sort them by index, each index once")]
    NotAscending { index: u32, before: u32 },
    #[error("holds a count of 0 at index {0}: leave empty buckets out")]
    EmptyBucket(u32),
    #[error("is {ms} ms: use 0 to {max_ms} ms")]
    Milliseconds { ms: f64, max_ms: f64 },
    #[error("is `{0}`, which is not a time: use RFC 3339, as in 2026-01-01T00:00:00Z")]
    Time(String),
    #[error("must be given if `{0}` is, and only then")]
    NotBoth(&'static str),
    #[error("is 0, but attempts count from 1")]
    Attempt,
    #[error("is `{0}`, which is no kind of error that is known here")]
    Kind(String),
    #[error("has a name of {0} bytes: use 1 to {MAX_NAME_BYTES}")]
    Name(usize),
    #[error("is there twice")]
    Twice,
}

impl Problem {
    pub(super) fn time(text: &str) -> Self {
        Self::Time(escaped(text, MAX_QUOTED_BYTES))
    }

    pub(super) fn kind(name: &str) -> Self {
        Self::Kind(escaped(name, MAX_QUOTED_BYTES))
    }

    pub(super) fn at(self, field: impl Into<String>) -> Invalid {
        Invalid {
            path: field.into(),
            problem: self,
        }
    }
}

impl Invalid {
    pub(super) fn within(self, parent: &str) -> Self {
        Self {
            path: format!("{parent}.{}", self.path),
            ..self
        }
    }
}
