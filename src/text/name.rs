//! The names of tools: the check of a name, and a valid name for any text.

use super::escape::{characters, escape_into, escaped, is_blank};

/// The longest name of a tool, in bytes.
///
/// MCP allows a tool's name 128 characters, and hosts put the server's name in front of it.
pub(crate) const MAX_NAME_BYTES: usize = 256;

/// The name that replaces one with nothing to be seen.
const UNNAMED: &str = "(unnamed)";

/// The reason why a text cannot be a tool's name.
///
/// # Examples
///
/// ```
/// use toolmeter::{NameError, ToolSpec};
///
/// assert_eq!(ToolSpec::new("  ").check(), Err(NameError::Empty));
/// let long = ToolSpec::new("x".repeat(257)).check();
/// assert!(matches!(long, Err(NameError::TooLong { bytes: 257, .. })));
/// let bell = ToolSpec::new("she\u{7}ll").check();
/// assert!(matches!(bell, Err(NameError::Invisible { character: '\u{7}', .. })));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The name has no characters, or only characters that show nothing: white space, blanks, marks
    /// without a letter.
    #[error("a tool's name must not be empty: give it 1 to 256 bytes of visible text")]
    Empty,
    /// The name is longer than 256 bytes.
    #[error("a tool's name is at most 256 bytes, but this one has {bytes}: `{start}…`")]
    TooLong {
        /// The length of the name.
        bytes: usize,
        /// The beginning of the name, escaped.
        start: String,
    },
    /// The name holds a control character, or another invisible character.
    #[error("the name `{escaped}` holds the character U+{:04X}, which cannot be seen: remove it", u32::from(*.character))]
    Invisible {
        /// The first such character.
        character: char,
        /// The name, escaped.
        escaped: String,
    },
}

/// Checks whether `name` can be the name of a tool.
///
/// # Errors
///
/// [`NameError`] unless it is 1 to 256 bytes of visible text.
pub(crate) fn check_name(name: &str) -> Result<(), NameError> {
    if name.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong {
            bytes: name.len(),
            start: escaped(name, 32),
        });
    }
    if name.chars().all(is_blank) {
        return Err(NameError::Empty);
    }
    match characters(name).find(|&(_, hidden)| hidden) {
        Some((character, _)) => Err(NameError::Invisible {
            character,
            escaped: escaped(name, MAX_NAME_BYTES),
        }),
        None => Ok(()),
    }
}

/// Returns a valid name for any text; a valid name is returned unchanged.
///
/// Invisible characters are escaped. A name that is too long after that is cut and ends with `…`. A
/// name with nothing to be seen becomes `(unnamed)`.
pub(crate) fn lossy_name(name: &str) -> String {
    const ELLIPSIS: char = '…';
    if name.chars().all(is_blank) {
        return UNNAMED.to_owned();
    }
    let mut kept = String::with_capacity(name.len().min(MAX_NAME_BYTES));
    if !escape_into(&mut kept, name, MAX_NAME_BYTES) {
        kept = escaped(name, MAX_NAME_BYTES - ELLIPSIS.len_utf8());
        kept.push(ELLIPSIS);
    }
    kept
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
