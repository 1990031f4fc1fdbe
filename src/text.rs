//! Text that comes from outside: the names of tools, and the messages of errors.
//!
//! Models invent names and tools return megabytes of terminal output as their error, so both
//! are checked or tamed before anything keeps them. A name is refused unless it is short and
//! visible. A message is never refused: it is cut, passed through the host's redactor, and
//! escaped, and what is kept is at most [`MAX_MESSAGE_BYTES`] of valid UTF-8 without a single
//! character that moves a cursor or hides text.

use std::borrow::Cow;
use std::fmt::{self, Display, Write};
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind};
use std::sync::Arc;
use toolmeter_events::ErrorMessage;

/// The longest name of a tool, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 128;

/// The longest error message that is kept, in bytes.
///
/// # Examples
///
/// ```
/// use toolmeter::{ErrorKind, MAX_MESSAGE_BYTES, Registry, ToolSpec};
///
/// let registry = Registry::new();
/// let shell = registry.register(ToolSpec::new("shell"))?;
/// shell.start().fail(ErrorKind::Other, "x".repeat(1_000_000));
/// let metrics = registry.metrics();
/// let error = metrics.tools["shell"].last_error.as_ref().unwrap();
/// assert_eq!(error.message.as_ref().map(String::len), Some(MAX_MESSAGE_BYTES));
/// # Ok::<(), toolmeter::RegisterError>(())
/// ```
pub const MAX_MESSAGE_BYTES: usize = 256;

/// How much of a message is formatted at all. More than is kept, so that the redactor sees
/// what it has to recognise before the cut.
const MAX_RAW_BYTES: usize = 4_096;

/// Why a name cannot be a tool's name.
///
/// # Examples
///
/// ```
/// use toolmeter::{NameError, ToolSpec};
///
/// assert_eq!(ToolSpec::new("  ").check(), Err(NameError::Empty));
/// let long = ToolSpec::new("x".repeat(129)).check();
/// assert!(matches!(long, Err(NameError::TooLong { bytes: 129, .. })));
/// let bell = ToolSpec::new("she\u{7}ll").check();
/// assert!(matches!(bell, Err(NameError::Invisible { character: '\u{7}', .. })));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The name has no characters, or only white space.
    #[error("a tool's name must not be empty: give it 1 to 128 bytes of visible text")]
    Empty,
    /// The name is longer than 128 bytes.
    #[error("a tool's name is at most 128 bytes, but this one has {bytes}: `{start}…`")]
    TooLong {
        /// How long it is.
        bytes: usize,
        /// How it begins, escaped.
        start: String,
    },
    /// The name holds a control character, or one that cannot be seen.
    #[error("the name `{escaped}` holds the character U+{:04X}, which cannot be seen: remove it", u32::from(*.character))]
    Invisible {
        /// The first such character.
        character: char,
        /// The name, escaped.
        escaped: String,
    },
}

/// Whether `name` can be the name of a tool.
///
/// # Errors
///
/// [`NameError`] unless it is 1 to 128 bytes of visible text.
pub(crate) fn check_name(name: &str) -> Result<(), NameError> {
    if name.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong {
            bytes: name.len(),
            start: escaped(name, 32),
        });
    }
    if name.trim().is_empty() {
        return Err(NameError::Empty);
    }
    match name.chars().find(|&character| is_invisible(character)) {
        Some(character) => Err(NameError::Invisible {
            character,
            escaped: escaped(name, MAX_MESSAGE_BYTES),
        }),
        None => Ok(()),
    }
}

/// Control characters, and those that hide or reorder the text around them: line and paragraph
/// separators, the marks of annotations, and what Unicode lists as `Default_Ignorable_Code_Point`,
/// which a display does not show unless it supports it.
///
/// Of the last, the variation selectors U+FE00 to U+FE0F are let through: emoji are written with
/// them.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}'..='\u{1160}'
                | '\u{17B4}'..='\u{17B5}' | '\u{180B}'..='\u{180F}'
                | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FEFF}' | '\u{FFA0}'
                | '\u{FFF0}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}'
                | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}'
        )
}

/// `text` with every invisible character escaped, cut to at most `max_bytes` between
/// characters, never inside an escape.
pub(crate) fn escaped(text: &str, max_bytes: usize) -> String {
    let mut kept = String::with_capacity(text.len().min(max_bytes));
    for character in text.chars() {
        let start = kept.len();
        if is_invisible(character) {
            // Writing to a String does not fail.
            let _ = write!(kept, "{}", character.escape_default());
        } else {
            kept.push(character);
        }
        if kept.len() > max_bytes {
            kept.truncate(start);
            break;
        }
    }
    kept
}

/// What the host lets through of an error's text.
pub(crate) type Redactor = Arc<dyn Fn(&str) -> Cow<'_, str> + Send + Sync>;

/// How error messages are kept, if they are kept.
#[derive(Clone)]
pub(crate) enum TextPolicy {
    Off,
    Keep,
    Redact(Redactor),
}

/// A redactor that panics is caught here, so nobody sees it unwind; the next text is given to it
/// all the same, as [`TextPolicy::message`] says.
impl UnwindSafe for TextPolicy {}
impl RefUnwindSafe for TextPolicy {}

impl fmt::Debug for TextPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "Off",
            Self::Keep => "Keep",
            Self::Redact(_) => "Redact(..)",
        })
    }
}

impl TextPolicy {
    /// The message as it is kept; `None` if messages are switched off or there is no text.
    ///
    /// Nothing here panics: a redactor, or an error's `Display`, that does is caught, and the
    /// message says so instead.
    pub(crate) fn message(&self, message: &dyn Display) -> Option<ErrorMessage> {
        let redactor = match self {
            Self::Off => return None,
            Self::Keep => None,
            Self::Redact(redactor) => Some(redactor),
        };
        let tamed = catch_unwind(AssertUnwindSafe(|| {
            let mut raw = Bounded(String::new());
            // An error means that the bound was reached, or that the Display itself gave up.
            let _ = write!(raw, "{message}");
            match redactor {
                Some(redactor) => escaped(&redactor(&raw.0), MAX_MESSAGE_BYTES),
                None => escaped(&raw.0, MAX_MESSAGE_BYTES),
            }
        }));
        let text =
            tamed.unwrap_or_else(|_| "(the error's text could not be read: it panicked)".into());
        (!text.is_empty()).then(|| ErrorMessage::new(text))
    }
}

/// A `String` that stops growing at [`MAX_RAW_BYTES`] and then fails, so that formatting ends.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAX_RAW_BYTES - self.0.len();
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        Err(fmt::Error)
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kept(text: &str) -> Option<String> {
        TextPolicy::Keep
            .message(&text)
            .map(|message| message.to_string())
    }

    #[test]
    fn names_are_short_and_visible() {
        for name in [
            "web_search",
            "a",
            "mcp__linear-server__create",
            "Suche im Netz",
            "検索",
        ] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        assert_eq!(check_name(""), Err(NameError::Empty));
        assert_eq!(check_name(" \u{3000}"), Err(NameError::Empty));
        assert_eq!(check_name(&"x".repeat(128)), Ok(()));
        let error = check_name(&"x".repeat(129)).unwrap_err();
        assert!(matches!(error, NameError::TooLong { bytes: 129, .. }));
        assert!(error.to_string().contains("129"));
        for character in ['\0', '\n', '\u{1b}', '\u{200b}', '\u{202e}', '\u{feff}'] {
            let error = check_name(&format!("web{character}search")).unwrap_err();
            assert!(matches!(error, NameError::Invisible { character: c, .. } if c == character));
            assert!(!error.to_string().contains(character));
        }
    }

    /// Blank letters, and selectors that can carry any bytes unseen.
    #[test]
    fn what_a_display_ignores_is_no_name_and_is_escaped() {
        for character in ['\u{3164}', '\u{115F}', '\u{180E}', '\u{1D173}', '\u{E0100}'] {
            let error = check_name(&character.to_string()).unwrap_err();
            assert!(matches!(error, NameError::Invisible { character: c, .. } if c == character));
            let escape = character.escape_default().to_string();
            assert_eq!(kept(&character.to_string()), Some(escape));
        }
        // An emoji is written with a selector.
        assert_eq!(check_name("web \u{26A0}\u{FE0F}"), Ok(()));
    }

    #[test]
    fn messages_are_bounded_and_escaped() {
        assert_eq!(
            kept("no route to host").as_deref(),
            Some("no route to host")
        );
        assert_eq!(
            kept("\u{1b}[31mred\0\n").as_deref(),
            Some("\\u{1b}[31mred\\u{0}\\n")
        );
        assert_eq!(kept(&"x".repeat(5 << 20)).map(|text| text.len()), Some(256));
        assert_eq!(kept(""), None);
        // 'é' is two bytes: the cut falls inside the 128th.
        let text = kept(&format!("x{}", "é".repeat(200))).unwrap();
        assert_eq!(text.len(), 255);
        // never half an escape
        let text = kept(&format!("{}\u{1b}", "x".repeat(253))).unwrap();
        assert_eq!(text, "x".repeat(253));
    }

    #[test]
    fn a_display_that_writes_for_ever_is_stopped() {
        struct Endless;
        impl Display for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                loop {
                    f.write_str("again and ")?;
                }
            }
        }
        let message = TextPolicy::Keep.message(&Endless).unwrap();
        assert_eq!(message.len(), MAX_MESSAGE_BYTES);
    }

    #[test]
    fn the_redactor_sees_the_text_before_the_cut() {
        let policy = TextPolicy::Redact(Arc::new(|text| text.replace("secret", "***").into()));
        let message = policy
            .message(&format!("{}secret", "x".repeat(250)))
            .unwrap();
        assert_eq!(&*message, format!("{}***", "x".repeat(250)));
        assert!(TextPolicy::Off.message(&"secret").is_none());
    }

    #[test]
    fn a_redactor_that_panics_costs_the_text_only() {
        let policy = TextPolicy::Redact(Arc::new(|_| panic!("bad pattern")));
        assert!(
            policy
                .message(&"secret")
                .unwrap()
                .contains("could not be read")
        );
    }

    proptest! {
        #[test]
        fn whatever_comes_is_bounded_and_visible(text in any::<String>(), max in 0_usize..300) {
            let text = escaped(&text, max);
            prop_assert!(text.len() <= max);
            prop_assert!(!text.chars().any(is_invisible));
        }

        #[test]
        fn a_name_that_passes_needs_no_escape(name in any::<String>()) {
            if check_name(&name).is_ok() {
                prop_assert_eq!(escaped(&name, usize::MAX), name);
            }
        }
    }
}
