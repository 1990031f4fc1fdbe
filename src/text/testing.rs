//! Policies, texts and checks for the tests of this folder.

use super::escape::characters;
use super::{DEFAULT_MESSAGE_BYTES, NameError, TextPolicy, check_name};
use proptest::prelude::*;
use std::borrow::Cow;
use std::fmt::{self, Display};
use std::sync::Arc;

pub(super) fn keep(max_bytes: usize) -> TextPolicy {
    TextPolicy::Keep {
        max_bytes,
        redactor: None,
    }
}

pub(super) fn redact(
    max_bytes: usize,
    redactor: impl Fn(&str) -> Cow<'_, str> + Send + Sync + 'static,
) -> TextPolicy {
    TextPolicy::Keep {
        max_bytes,
        redactor: Some(Arc::new(redactor)),
    }
}

pub(super) fn kept(text: &str) -> Option<String> {
    let message = keep(DEFAULT_MESSAGE_BYTES).message_of(&text);
    message.map(|message| message.to_string())
}

pub(super) fn is_visible(text: &str) -> bool {
    characters(text).all(|(_, hidden)| !hidden)
}

/// A `Display` that writes the same text for ever.
pub(super) struct Endless(pub(super) &'static str);

impl Display for Endless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        loop {
            f.write_str(self.0)?;
        }
    }
}

/// Texts with what is difficult: wide characters, selectors, escapes, white space.
pub(super) fn any_text() -> impl Strategy<Value = String> {
    let difficult = prop::sample::select(vec![
        "x",
        "é",
        "検",
        "\u{1F578}",
        "\u{26A0}",
        "\u{FE0F}",
        "\u{FE00}",
        "\u{1b}",
        "\u{200b}",
        "\u{E0100}",
        "\u{2800}",
        "\u{301}",
        " ",
        "\n",
        "\u{3000}",
        "1",
    ]);
    prop_oneof![
        any::<String>(),
        prop::collection::vec(difficult, 0..400).prop_map(|parts| parts.concat()),
    ]
}

/// Asserts that `name` is refused because of `character`.
#[track_caller]
pub(super) fn assert_invisible(name: &str, character: char) {
    let error = check_name(name).unwrap_err();
    assert!(
        matches!(error, NameError::Invisible { character: c, .. } if c == character),
        "{error:?}"
    );
    assert!(!error.to_string().contains(character));
}
