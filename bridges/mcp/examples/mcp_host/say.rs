//! Lines for people, on stdout and stderr.
//!
//! Guarantee: each is one line of visible text of a bounded length, whatever a server or a file put
//! into it. A stream that is closed is no error.

use std::fmt::{Display, Write as _};
use std::io::{self, Write};

/// The most characters of a line, before they are escaped.
const LONGEST: usize = 1_000;

/// Writes a line to stdout.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(io::stdout().lock(), "{}", visible(line));
}

/// Writes a line to stderr.
pub(crate) fn note(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{}", visible(line));
}

/// Returns the text as one line: what cannot be seen is escaped, and what is too long is cut.
pub(crate) fn visible(text: impl Display) -> String {
    let text = text.to_string();
    let mut line = String::new();
    let mut rest = text.chars();
    for character in rest.by_ref().take(LONGEST) {
        match character {
            '"' | '\'' | '\\' => line.push(character),
            _ => {
                let _ = write!(line, "{}", character.escape_debug());
            }
        }
    }
    if rest.next().is_some() {
        line.push('…');
    }
    line
}
