//! Text that comes from outside: the names of tools, and the messages of errors.
//!
//! Models invent names and tools return megabytes of terminal output as their error, so both
//! are checked or tamed before anything keeps them. A name is refused unless it is short and
//! visible; where there is no caller to refuse it to, [`lossy_name`] makes a valid one of it. A
//! message is never refused. Of an error's text an [`Excerpt`] is taken, which is bounded
//! whatever the error writes; the host's redactor gets all of that at once; and what is kept is
//! its beginning and its end, escaped: valid UTF-8 of a bounded length, without a single
//! character that moves a cursor or hides text.

use crate::contain::contained;
use std::borrow::Cow;
use std::fmt::{self, Display, Write};
use std::ops::RangeInclusive;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use toolmeter_events::ErrorMessage;

/// The longest name of a tool, in bytes.
///
/// MCP allows a tool's name 128 characters, and hosts put the server's name in front of it.
pub(crate) const MAX_NAME_BYTES: usize = 256;

/// The longest error message that is kept, in bytes, unless
/// [`RegistryBuilder::max_message_bytes`](crate::RegistryBuilder::max_message_bytes) says
/// otherwise.
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

/// What the longest error message can be set to, in bytes.
pub(crate) const MESSAGE_BYTES: RangeInclusive<usize> = 64..=4_096;

/// How much of the beginning of a text an [`Excerpt`] keeps, in bytes.
const HEAD_BYTES: usize = 4_096;

/// How much of the end of a text an [`Excerpt`] keeps, in bytes.
const TAIL_BYTES: usize = 4_096;

/// How much a `Display` can write before it is stopped, in bytes. A write of nothing counts as
/// one byte, so that a `Display` which writes nothing for ever is stopped as well.
const MAX_WRITTEN_BYTES: usize = 16 << 20;

/// What stands where something is missing.
const GAP: &str = " … ";

/// The text of an error whose own text cannot be had.
const PANICKED: &str = "(the error's text could not be read: it panicked)";

/// The name of what has no visible name.
const UNNAMED: &str = "(unnamed)";

/// Why a name cannot be a tool's name.
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
    /// The name has no characters, or only such as leave nothing to be seen: white space, blanks,
    /// marks without a letter.
    #[error("a tool's name must not be empty: give it 1 to 256 bytes of visible text")]
    Empty,
    /// The name is longer than 256 bytes.
    #[error("a tool's name is at most 256 bytes, but this one has {bytes}: `{start}…`")]
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

/// Returns what is shown of a panic's text to the caller that gets it as an error: escaped; of more than
/// 8 KiB the head and the tail, cut between words, since a redactor may get it as a whole later.
pub(crate) fn shown(text: &str) -> String {
    escaped(&Excerpt::from_text(text).as_whole_words(), usize::MAX)
}

/// Makes a valid name of any text. A valid name stays as it is.
///
/// Invisible characters are escaped, a name that is too long then is cut and ends with `…`, and
/// one with nothing to be seen becomes `(unnamed)`.
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

/// Whether `character` is invisible wherever it stands.
///
/// These are the control characters, and those that hide or reorder the text around them: line
/// and paragraph separators, the marks of annotations, signs without ink ([`is_without_ink`]), and what
/// Unicode lists as `Default_Ignorable_Code_Point`, which a display does not show unless it
/// supports it.
///
/// Of the last, the variation selectors U+FE00 to U+FE0F are left out: emoji are written with
/// them, so whether one is invisible depends on what it follows; see [`is_hidden`].
fn is_invisible(character: char) -> bool {
    character.is_control()
        || is_without_ink(character)
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

/// Whether `character` is a sign that is drawn as nothing, though it is neither white space nor
/// ignorable: the braille pattern without dots, the blanks among the hieroglyphs, and the note
/// without a head.
fn is_without_ink(character: char) -> bool {
    matches!(
        character,
        '\u{2800}' | '\u{13441}'..='\u{13442}' | '\u{1D159}'
    )
}

/// Whether `character` leaves nothing to be seen if it stands alone: white space, signs without
/// ink, and marks that only change the character before them.
///
/// Marks are known by `char::escape_debug`, which escapes them. It also escapes what Unicode has
/// not assigned yet, which counts as blank here, and what is for private use, which does not: it
/// is shown in some way.
fn is_blank(character: char) -> bool {
    let is_private = matches!(
        character,
        '\u{E000}'..='\u{F8FF}' | '\u{F0000}'..='\u{FFFFD}' | '\u{100000}'..='\u{10FFFD}'
    );
    character.is_whitespace()
        || is_without_ink(character)
        || (!is_private
            && !is_invisible(character)
            // `\u{301}`, as opposed to `\'`
            && character.escape_debug().nth(1) == Some('u'))
}

fn is_variation_selector(character: char) -> bool {
    matches!(character, '\u{FE00}'..='\u{FE0F}')
}

/// Whether `character` is invisible after `before`.
///
/// A variation selector is, unless it can choose how a symbol is shown. After a letter, a digit
/// or another selector it changes nothing, and a run of them can carry any bytes unseen.
fn is_hidden(before: Option<char>, character: char) -> bool {
    if !is_variation_selector(character) {
        return is_invisible(character);
    }
    before.is_none_or(|before| {
        before.is_ascii() || before.is_alphanumeric() || is_blank(before) || is_invisible(before)
    })
}

/// Returns the characters of `text`, and whether each is hidden.
fn characters(text: &str) -> impl Iterator<Item = (char, bool)> {
    let mut before = None;
    text.chars().map(move |character| {
        let hidden = is_hidden(before.replace(character), character);
        (character, hidden)
    })
}

/// Returns `text` with every invisible character escaped, cut to at most `max_bytes` between
/// characters, never inside an escape.
pub(crate) fn escaped(text: &str, max_bytes: usize) -> String {
    let mut kept = String::with_capacity(text.len().min(max_bytes));
    escape_into(&mut kept, text, max_bytes);
    kept
}

/// Appends `text`, escaped, to `kept` until that has `max_bytes`. Returns whether all fitted.
fn escape_into(kept: &mut String, text: &str, max_bytes: usize) -> bool {
    for (character, hidden) in characters(text) {
        let start = kept.len();
        if hidden {
            kept.extend(character.escape_default());
        } else {
            kept.push(character);
        }
        if kept.len() > max_bytes {
            kept.truncate(start);
            return false;
        }
    }
    true
}

/// Returns `text`, escaped, or if that is longer than `max_bytes` its beginning and its end. The
/// end gets at least half of the room: there tracebacks and compilers say what went wrong.
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

/// Returns the longest end of `text` that has at most `max_bytes` when it is escaped.
///
/// It does not begin with a selector that belongs to the character before.
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

/// Returns `head` and `tail` with the gap between them; without its spaces where one is empty.
fn joined(head: &str, tail: &str) -> String {
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

/// Returns the last place in `text` that is between characters and not after `at`.
fn boundary_before(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Returns the first place in `text` that is between characters and not before `at`.
fn boundary_after(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

/// The beginning and the end of a text of any length.
///
/// Small texts are kept whole, and none is larger than [`HEAD_BYTES`] and [`TAIL_BYTES`]
/// together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Excerpt {
    head: String,
    /// Empty if the head has everything.
    tail: String,
    /// How many bytes lie between head and tail.
    missing: usize,
    /// Whether the text would have gone on after the tail.
    unfinished: bool,
}

impl Excerpt {
    /// Formats `text`.
    ///
    /// Nothing here panics: if the `Display` does, the excerpt says so instead. One that does not
    /// end is stopped, and what it wrote until then is kept.
    pub(crate) fn new(text: &dyn Display) -> Self {
        let formatted = contained(|| {
            let mut writer = Writer::default();
            // An error means that it was stopped here, or that the Display itself gave up.
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

    /// Makes an excerpt of text that exists already.
    pub(crate) fn from_text(text: &str) -> Self {
        let mut excerpt = Self::default();
        excerpt.append(text);
        excerpt.compact();
        excerpt
    }

    /// Whether there is no text.
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_empty()
    }

    /// Returns the text, with ` … ` where something is missing.
    pub(crate) fn as_text(&self) -> Cow<'_, str> {
        self.text_of(&self.head, &self.tail, self.unfinished)
    }

    /// Returns the text without the words, or the line, that a cut went through.
    ///
    /// A redactor cannot recognise half a secret, so none is left for it: what stands next to a
    /// cut goes, up to the next white space, or up to the next line after it if that is not far.
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

    /// Appends `text`; the tail has at most twice its size then.
    fn append(&mut self, text: &str) {
        let mut rest = text;
        // Once something is in the tail, nothing goes to the head: the two would not join.
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

    /// Cuts the tail to its size.
    fn compact(&mut self) {
        if let Some(more) = self.tail.len().checked_sub(TAIL_BYTES) {
            let start = boundary_after(&self.tail, more);
            self.missing += start;
            self.tail.drain(..start);
        }
    }
}

/// Returns `text` up to its last white space: nothing if it has none.
fn to_whole_word(text: &str) -> &str {
    let end = text.rfind(char::is_whitespace).unwrap_or(0);
    text[..end].trim_end()
}

/// Returns `text` from its second line on if that begins in the first half, or else from behind
/// its first white space: nothing if it has none.
fn from_whole_line_or_word(text: &str) -> &str {
    if let Some(at) = text.find('\n')
        && at < text.len() / 2
    {
        return &text[at + 1..];
    }
    text.split_once(char::is_whitespace)
        .map_or("", |(_, rest)| rest)
}

/// An excerpt that is being written; it fails when there was too much, so that formatting ends.
#[derive(Default)]
struct Writer {
    excerpt: Excerpt,
    written: usize,
}

impl Write for Writer {
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

/// What the host lets through of an error's text.
pub(crate) type Redactor = Arc<dyn Fn(&str) -> Cow<'_, str> + Send + Sync>;

/// How error messages are kept, if they are kept.
#[derive(Clone)]
pub(crate) enum TextPolicy {
    Off,
    Keep {
        /// The longest message, within [`MESSAGE_BYTES`].
        max_bytes: usize,
        redactor: Option<Redactor>,
    },
}

/// A redactor that panics is caught here, so it unwinds into no caller; the next text is given to it
/// all the same, as [`TextPolicy::message`] says.
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
    /// Whether no message is kept.
    pub(crate) fn is_off(&self) -> bool {
        matches!(self, Self::Off)
    }

    /// Returns the message as it is kept; `None` if messages are switched off or there is no
    /// text.
    ///
    /// Nothing here panics: if the redactor does, the message says so instead, and the next text
    /// is given to it all the same.
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

    /// Returns the message as [`message`](Self::message) does, of a text that is yet to be
    /// formatted; it is not if messages are switched off.
    pub(crate) fn message_of(&self, text: &dyn Display) -> Option<ErrorMessage> {
        if self.is_off() {
            return None;
        }
        self.message(&Excerpt::new(text))
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keep(max_bytes: usize) -> TextPolicy {
        TextPolicy::Keep {
            max_bytes,
            redactor: None,
        }
    }

    fn redact(
        max_bytes: usize,
        redactor: impl Fn(&str) -> Cow<'_, str> + Send + Sync + 'static,
    ) -> TextPolicy {
        TextPolicy::Keep {
            max_bytes,
            redactor: Some(Arc::new(redactor)),
        }
    }

    fn kept(text: &str) -> Option<String> {
        let message = keep(DEFAULT_MESSAGE_BYTES).message_of(&text);
        message.map(|message| message.to_string())
    }

    fn is_visible(text: &str) -> bool {
        characters(text).all(|(_, hidden)| !hidden)
    }

    #[track_caller]
    fn assert_invisible(name: &str, character: char) {
        let error = check_name(name).unwrap_err();
        assert!(
            matches!(error, NameError::Invisible { character: c, .. } if c == character),
            "{error:?}"
        );
        assert!(!error.to_string().contains(character));
    }

    /// Panics when it is dropped, with a payload that does so, too.
    struct Bomb(u8);

    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0 > 0 {
                std::panic::panic_any(Bomb(self.0 - 1));
            }
            panic!("the last");
        }
    }

    /// Writes the same for ever.
    struct Endless(&'static str);

    impl Display for Endless {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            loop {
                f.write_str(self.0)?;
            }
        }
    }

    #[test]
    fn names_are_short_and_visible() {
        for name in [
            "web_search",
            "a",
            "mcp__linear-server__create",
            "Suche im Netz",
            "検索",
            "ค้นหา",
            "e\u{301}",
            "\u{e0a0}",
            "it's \"quoted\"\\",
            "'",
        ] {
            assert_eq!(check_name(name), Ok(()), "{name}");
            assert_eq!(lossy_name(name), name);
        }
        assert_eq!(check_name(&"x".repeat(256)), Ok(()));
        let error = check_name(&"x".repeat(257)).unwrap_err();
        assert!(matches!(error, NameError::TooLong { bytes: 257, .. }));
        assert!(error.to_string().contains("at most 256 bytes"));
        assert!(error.to_string().contains("has 257"));
        for character in ['\0', '\n', '\u{1b}', '\u{200b}', '\u{202e}', '\u{feff}'] {
            assert_invisible(&format!("web{character}search"), character);
        }
    }

    #[test]
    fn a_name_has_something_to_be_seen() {
        for name in [
            "",
            " \u{3000}",
            "\n\t\u{a0}",
            "\u{2800}",
            " \u{2800}\u{2800}",
            "\u{13441}",
            "\u{13442}\u{13442}",
            "\u{1d159}\u{301}",
            "\u{fe0f}",
            "\u{fe00}\u{fe0f}",
            "\u{301}",
            " \u{301}\u{20dd}",
            "\u{5b4}\u{e31}",
        ] {
            assert_eq!(check_name(name), Err(NameError::Empty), "{name:?}");
            assert_eq!(lossy_name(name), "(unnamed)");
        }
        assert!(NameError::Empty.to_string().contains("1 to 256 bytes"));
        assert_invisible("a\u{2800}", '\u{2800}');
        assert_invisible("web\u{1d159}search", '\u{1d159}');
        assert_invisible("\u{301}\u{200b}", '\u{200b}');
    }

    /// Blank letters, and selectors that can carry any bytes unseen.
    #[test]
    fn what_a_display_ignores_is_no_name_and_is_escaped() {
        for character in ['\u{3164}', '\u{115F}', '\u{180E}', '\u{1D173}', '\u{E0100}'] {
            assert_invisible(&character.to_string(), character);
            let escape = character.escape_default().to_string();
            assert_eq!(kept(&character.to_string()), Some(escape));
        }
    }

    #[test]
    fn a_variation_selector_follows_a_symbol() {
        for name in [
            "web \u{26A0}\u{FE0F}",
            "\u{2764}\u{FE0E}x",
            "\u{1F578}\u{FE0F}",
        ] {
            assert_eq!(check_name(name), Ok(()), "{name}");
            assert_eq!(lossy_name(name), name);
            assert_eq!(kept(name).as_deref(), Some(name));
        }
        for name in [
            "web\u{FE0F}",
            "検\u{FE0F}索",
            "1\u{FE0F}\u{20E3}",
            "-\u{FE0F}",
            "\u{FE0F}web",
            "web \u{FE0F}",
            "web\u{3000}\u{FE0F}",
            "e\u{301}\u{FE0F}",
            "\u{26A0}\u{FE0F}\u{FE0F}",
        ] {
            let error = check_name(name).unwrap_err();
            let NameError::Invisible {
                character, escaped, ..
            } = error
            else {
                panic!("{name:?}: {error:?}");
            };
            assert_eq!(character, '\u{FE0F}');
            assert_eq!(escaped.matches("\\u{fe0f}").count(), 1, "{escaped}");
            assert_eq!(lossy_name(name), escaped);
        }
        // bytes written with selectors behind one letter
        let carried = format!("x{}", "\u{FE01}\u{FE07}".repeat(20));
        assert_eq!(kept(&carried).unwrap().matches("\\u{fe0").count(), 40);
    }

    #[test]
    fn any_text_makes_a_name() {
        assert_eq!(lossy_name("web\u{200b}search"), "web\\u{200b}search");
        assert_eq!(lossy_name("\0"), "\\u{0}");
        let long = lossy_name(&"x".repeat(257));
        assert_eq!(long, format!("{}…", "x".repeat(253)));
        // 86 of three bytes each are two too many.
        let long = lossy_name(&"検".repeat(86));
        assert_eq!(long, format!("{}…", "検".repeat(84)));
        // never half an escape
        let long = lossy_name(&format!("{}\u{200b}", "x".repeat(250)));
        assert_eq!(long, format!("{}…", "x".repeat(250)));
        // 248 and 8 are just enough
        let long = lossy_name(&format!("{}\u{200b}", "x".repeat(248)));
        assert_eq!(long, format!("{}\\u{{200b}}", "x".repeat(248)));
        let long = lossy_name(&format!("{}x", " ".repeat(300)));
        assert_eq!(check_name(&long), Ok(()));
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
        assert_eq!(kept(""), None);
        assert_eq!(kept(" ").as_deref(), Some(" "));
        assert_eq!(kept(&"x".repeat(512)), Some("x".repeat(512)));
        let expected = format!("{} … {}", "x".repeat(253), "x".repeat(254));
        assert_eq!(kept(&"x".repeat(513)).as_deref(), Some(&*expected));
        assert_eq!(kept(&"x".repeat(5 << 20)), Some(expected));
    }

    #[test]
    fn a_message_is_cut_between_characters_and_escapes() {
        // 59 bytes of room: 29 for the head, where the 15th 'é' does not fit, and the other 31,
        // of which 30 are used.
        assert_eq!(
            escaped_ends(&"é".repeat(100), 64),
            format!("{} … {}", "é".repeat(14), "é".repeat(15))
        );
        assert_eq!(
            escaped_ends(&"\u{1b}".repeat(100), 64),
            format!("{} … {}", "\\u{1b}".repeat(4), "\\u{1b}".repeat(5))
        );
        // A symbol is kept with its selector, or not at all.
        assert_eq!(
            escaped_ends(&"\u{26A0}\u{FE0F}".repeat(100), 64),
            // The head may end without it: it only chooses the colours.
            format!(
                "{}\u{26A0} … {}",
                "\u{26A0}\u{FE0F}".repeat(4),
                "\u{26A0}\u{FE0F}".repeat(5)
            )
        );
        for max_bytes in 0..70 {
            let text = escaped_ends(&"\u{26A0}\u{FE0F}\u{1b}".repeat(100), max_bytes);
            assert!(text.len() <= max_bytes && is_visible(&text), "{text:?}");
        }
    }

    #[test]
    fn a_traceback_keeps_its_head_and_its_last_line() {
        let mut text = String::from("Traceback (most recent call last):\n");
        while text.len() < 4_096 {
            text.push_str("  File \"/srv/tool.py\", line 17, in run\n    return inner(args)\n");
        }
        text.push_str("MemoryError: cannot allocate 8 GiB");
        for text in [text.clone(), text.repeat(10)] {
            for policy in [keep(512), redact(512, |text| text.into())] {
                let message = policy.message_of(&text).unwrap();
                assert!(message.starts_with("Traceback (most recent call last):\\n"));
                assert!(message.ends_with("\\nMemoryError: cannot allocate 8 GiB"));
                assert!(message.contains(GAP));
                assert!((500..=512).contains(&message.len()));
            }
        }
    }

    #[test]
    fn an_excerpt_keeps_the_beginning_and_the_end() {
        let empty = Excerpt::from_text("");
        assert!(empty.is_empty());
        assert_eq!(empty.as_text(), "");
        assert_eq!((empty.head.capacity(), empty.tail.capacity()), (0, 0));
        assert!(Excerpt::new(&"").is_empty());

        let short = Excerpt::new(&format_args!("{}-{}", 1, "é"));
        assert!(!short.is_empty());
        assert!(matches!(short.as_text(), Cow::Borrowed("1-é")));

        let whole = "x".repeat(HEAD_BYTES + TAIL_BYTES);
        assert_eq!(Excerpt::from_text(&whole).as_text(), whole);
        let text = format!("{whole}y");
        let cut = Excerpt::from_text(&text);
        assert_eq!(cut.missing, 1);
        assert_eq!(
            cut.as_text(),
            format!("{} … {}y", &whole[..HEAD_BYTES], &whole[..TAIL_BYTES - 1])
        );
        // The head has one byte left, and what does not fit there goes to the tail for good.
        let mut shifted = Excerpt::default();
        for part in [&*"x".repeat(HEAD_BYTES - 1), "é", "y", "z"] {
            shifted.append(part);
        }
        assert_eq!(shifted.tail, "éyz");
        assert_eq!(shifted.missing, 0);
    }

    #[test]
    fn a_display_that_writes_for_ever_is_stopped() {
        let excerpt = Excerpt::new(&Endless("again and "));
        assert!(excerpt.unfinished);
        assert_eq!(excerpt.head.len(), HEAD_BYTES);
        assert_eq!(excerpt.tail.len(), TAIL_BYTES);
        assert!(excerpt.tail.capacity() <= 4 * TAIL_BYTES);
        let all = excerpt.head.len() + excerpt.missing + excerpt.tail.len();
        assert!((MAX_WRITTEN_BYTES..MAX_WRITTEN_BYTES + 10).contains(&all));
        assert!(excerpt.as_text().ends_with("again and  …"));
        let message = keep(512).message(&excerpt).unwrap();
        assert!(message.len() <= 512 && message.starts_with("again and again"));

        // A secret that the stop cuts in two is not given to the redactor.
        let policy = redact(512, |text| text.replace("hunter2-secret", "***").into());
        for endless in [" hunter2-secret", "hunter2-secret"] {
            let message = policy.message_of(&Endless(endless)).unwrap();
            assert!(
                !message.contains("hunt") && !message.contains("cret"),
                "{message}"
            );
        }

        struct Nothing;
        impl Display for Nothing {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the hunt")?;
                Endless("").fmt(f)
            }
        }
        let excerpt = Excerpt::new(&Nothing);
        assert_eq!(excerpt.as_text(), "the hunt …");
        assert_eq!(&*policy.message(&excerpt).unwrap(), "the …");
        assert!(policy.message_of(&Endless("")).is_none());
    }

    /// What exists as one piece is not stopped half way.
    #[test]
    fn a_long_text_keeps_its_end() {
        let text = format!("{}the end", "x".repeat(MAX_WRITTEN_BYTES));
        for excerpt in [Excerpt::from_text(&text), Excerpt::new(&text)] {
            assert!(!excerpt.unfinished);
            assert!(excerpt.as_text().ends_with("xthe end"));
        }
    }

    #[test]
    fn a_display_that_gives_up_keeps_what_it_wrote() {
        struct GivesUp;
        impl Display for GivesUp {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("so far")?;
                Err(fmt::Error)
            }
        }
        assert_eq!(Excerpt::new(&GivesUp).as_text(), "so far");
    }

    #[test]
    fn a_display_that_panics_costs_the_text_only() {
        struct Panics(u8);
        impl Display for Panics {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("before")?;
                std::panic::panic_any(Bomb(self.0));
            }
        }
        for depth in 0..3 {
            let excerpt = Excerpt::new(&Panics(depth));
            assert_eq!(
                excerpt.as_text(),
                "(the error's text could not be read: it panicked)"
            );
            let message = keep(*MESSAGE_BYTES.start()).message(&excerpt).unwrap();
            assert_eq!(&*message, PANICKED);
        }
    }

    #[test]
    fn a_redactor_that_panics_costs_the_text_only() {
        let policy = redact(64, |text| match text {
            "text" => panic!("bad pattern"),
            "bomb" => std::panic::panic_any(Bomb(1)),
            _ => text.into(),
        });
        for text in ["text", "bomb"] {
            let message = policy.message_of(&text).unwrap();
            assert_eq!(
                &*message,
                "(the error's text could not be read: it panicked)"
            );
        }
        assert_eq!(&*policy.message_of(&"other").unwrap(), "other");
    }

    #[test]
    fn nothing_is_formatted_or_redacted_in_vain() {
        struct Never;
        impl Display for Never {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                unreachable!("it was not asked for")
            }
        }
        assert!(TextPolicy::Off.is_off() && !keep(64).is_off());
        assert!(TextPolicy::Off.message_of(&Never).is_none());
        assert!(TextPolicy::Off.message(&Excerpt::from_text("x")).is_none());
        let never = redact(64, |_| unreachable!("there is no text"));
        assert!(never.message_of(&"").is_none());
        assert!(redact(64, |_| "".into()).message_of(&"x").is_none());
    }

    #[test]
    fn a_policy_does_not_show_what_the_redactor_knows() {
        assert_eq!(format!("{:?}", TextPolicy::Off), "Off");
        assert_eq!(
            format!("{:?}", keep(64)),
            "Keep { max_bytes: 64, redactor: None }"
        );
        assert_eq!(
            format!("{:?}", redact(64, |text| text.into())),
            "Keep { max_bytes: 64, redactor: Some(..) }"
        );
    }

    #[test]
    fn the_redactor_gets_all_at_once_and_its_text_is_cut_and_escaped() {
        let whole = "word ".repeat((HEAD_BYTES + TAIL_BYTES) / 5);
        let expected = whole.clone();
        let policy = redact(64, move |text| {
            assert_eq!(text, expected);
            format!("\u{1b}{}\u{1b}", "x".repeat(1_000)).into()
        });
        assert_eq!(
            &*policy.message_of(&whole).unwrap(),
            format!("\\u{{1b}}{} … {}\\u{{1b}}", "x".repeat(23), "x".repeat(24))
        );
    }

    #[test]
    fn the_redactor_gets_whole_words_and_lines() {
        let seen = |head: &str, tail: &str| {
            let excerpt = Excerpt {
                head: head.to_owned(),
                tail: tail.to_owned(),
                missing: 1,
                unfinished: false,
            };
            excerpt.as_whole_words().into_owned()
        };
        assert_eq!(seen("one two thr", "our five six"), "one two … five six");
        assert_eq!(
            seen("one\ntwo  thr", "r f\n  five six"),
            "one\ntwo …   five six"
        );
        assert_eq!(
            seen("one two", "r five six\nseven"),
            "one … five six\nseven"
        );
        assert_eq!(seen("one\u{3000}two", "r\u{3000}five"), "one … five");
        assert_eq!(seen("one", "r five six"), "… five six");
        assert_eq!(seen("one two", "five"), "one …");
        assert_eq!(seen("one", "five"), "…");
    }

    const SECRETS: [&str; 2] = ["hunter2-correct", "pässwörd-ß✓"];

    /// Asserts that no piece of at least 4 characters of `secret` is in `message`.
    #[track_caller]
    fn assert_nothing_of(secret: &str, message: &str, at: usize) {
        let starts: Vec<usize> = secret.char_indices().map(|(start, _)| start).collect();
        for four in starts.windows(4) {
            let end = four[3] + secret[four[3]..].chars().next().unwrap().len_utf8();
            let piece = &secret[four[0]..end];
            assert!(!message.contains(piece), "`{piece}` at {at}: {message}");
        }
    }

    fn redactors(secret: &'static str, max_bytes: usize) -> [TextPolicy; 2] {
        ["", "[secret]"]
            .map(|shown| redact(max_bytes, move |text| text.replace(secret, shown).into()))
    }

    /// Puts each secret at every position of a text of `bytes`, made of `words`.
    fn hide_everywhere(words: &str, bytes: usize, max_bytes: &[usize]) {
        hide_at(words, bytes, max_bytes, &(0..=bytes));
    }

    fn hide_at(
        words: &str,
        bytes: usize,
        max_bytes: &[usize],
        positions: &(impl Iterator<Item = usize> + Clone),
    ) {
        let text = words.repeat(bytes / words.len() + 1);
        let text = &text[..boundary_before(&text, bytes)];
        for secret in SECRETS {
            let mut policies: Vec<_> = max_bytes
                .iter()
                .flat_map(|&max_bytes| redactors(secret, max_bytes))
                .map(|policy| (policy, String::new()))
                .collect();
            let positions = positions.clone();
            let mut before = Excerpt::default();
            for at in positions.filter(|&at| at <= text.len() && text.is_char_boundary(at)) {
                let excerpt = Excerpt::from_text(&[&text[..at], secret, &text[at..]].concat());
                // Between head and tail it changes nothing of the excerpt.
                if (&excerpt.head, &excerpt.tail) == (&before.head, &before.tail) {
                    continue;
                }
                for (policy, checked) in &mut policies {
                    let message = policy.message(&excerpt).unwrap();
                    // In most places it changes nothing of what is kept.
                    if *message != **checked {
                        assert_nothing_of(secret, &message, at);
                        *checked = message.to_string();
                    }
                }
                before = excerpt;
            }
        }
    }

    const WORDS: [&str; 4] = [
        "the quick brown fox jumps over it ",
        "schöne Grüße über Öl und 検索 ✓ ",
        "a line\nand another one, 検索\r\n\n  ",
        "nowhitespaceatallbutmuchtext",
    ];

    /// At every position around the borders of the excerpt, and at many of the others.
    #[test]
    fn a_secret_in_a_long_text_is_kept_nowhere() {
        const BYTES: usize = 20 << 10;
        for words in WORDS {
            let borders = [0, HEAD_BYTES, BYTES - TAIL_BYTES, BYTES];
            let near = borders
                .into_iter()
                .flat_map(|border| border.saturating_sub(40)..(border + 40).min(BYTES + 1));
            hide_at(words, BYTES, &[512], &near.chain((0..=BYTES).step_by(13)));
        }
    }

    #[test]
    fn a_secret_at_the_border_of_a_message_is_kept_nowhere() {
        for words in WORDS {
            for bytes in [40, 64, 70, 500, 512, 520] {
                hide_everywhere(words, bytes, &[64, 512]);
            }
        }
    }

    /// Where messages are so long that both borders of the excerpt can be in them.
    #[test]
    fn a_secret_at_the_border_of_an_excerpt_is_kept_nowhere() {
        for words in WORDS {
            for bytes in [4_090_usize, 8_180, 8_195, 10_000] {
                let head = HEAD_BYTES - 40..HEAD_BYTES + 20;
                let tail =
                    bytes.saturating_sub(TAIL_BYTES + 40)..(bytes + 20).saturating_sub(TAIL_BYTES);
                // There the longest message is cut.
                let cut = 2_020..2_060;
                let end = bytes - 2_060..=bytes;
                let positions = head.chain(tail).chain(cut).chain(end.step_by(61));
                hide_at(words, bytes, &[4_096], &positions);
            }
        }
    }

    /// What is left of a text that is shortened fits as a whole, with both borders in it.
    #[test]
    fn a_redactor_that_shortens_brings_no_border_into_the_message() {
        for words in WORDS {
            for secret in SECRETS {
                let filler = words.repeat(20_000 / words.len());
                let policy = redact(4_096, move |text| {
                    let text = text.replace(secret, "").replace(words, "");
                    text.into()
                });
                for at in (HEAD_BYTES - 40..HEAD_BYTES + 20)
                    .chain(filler.len() - TAIL_BYTES - 40..filler.len() - TAIL_BYTES + 20)
                {
                    if filler.is_char_boundary(at) {
                        let text = [&filler[..at], secret, &filler[at..]].concat();
                        let message = policy.message_of(&text).unwrap();
                        assert!(message.contains('…'));
                        assert_nothing_of(secret, &message, at);
                    }
                }
            }
        }
    }

    /// Text with what is difficult: wide characters, selectors, escapes, white space.
    fn any_text() -> impl Strategy<Value = String> {
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

    proptest! {
        #[test]
        fn whatever_comes_is_bounded_and_visible(text in any_text(), max in 0_usize..600) {
            let all = escaped(&text, usize::MAX);
            let start = escaped(&text, max);
            prop_assert!(start.len() <= max);
            prop_assert!(is_visible(&start));
            prop_assert!(all.starts_with(&start));
            let ends = escaped_ends(&text, max);
            prop_assert!(ends.len() <= max);
            prop_assert!(is_visible(&ends));
            if all.len() <= max {
                prop_assert_eq!(&start, &all);
                prop_assert_eq!(&ends, &all);
            } else if max >= 64 {
                let (head, tail) = ends
                    .match_indices(GAP)
                    .map(|(at, _)| (&ends[..at], &ends[at + GAP.len()..]))
                    .find(|(head, tail)| all.starts_with(head) && all.ends_with(tail))
                    .unwrap();
                // Escapes have up to ten bytes, and a symbol with its selector up to seven.
                prop_assert!(tail.len() + 10 > (max - GAP.len()) / 2);
                prop_assert!(head.len() + tail.len() + GAP.len() + 10 > max);
            }
        }

        #[test]
        fn a_message_is_bounded_and_visible(text in any_text(), times in 1_usize..40, max in MESSAGE_BYTES) {
            let text = text.repeat(times);
            for policy in [keep(max), redact(max, |text| text.into())] {
                let message = policy.message_of(&text);
                prop_assert_eq!(message.is_none(), text.is_empty());
                let message = message.map_or_else(String::new, |message| message.to_string());
                prop_assert!(message.len() <= max);
                prop_assert!(is_visible(&message));
                let all = escaped(&text, usize::MAX);
                if all.len() <= max {
                    prop_assert_eq!(message, all);
                }
            }
        }

        #[test]
        fn any_name_becomes_valid_and_a_valid_one_stays(name in any_text()) {
            let valid = lossy_name(&name);
            prop_assert_eq!(check_name(&valid), Ok(()));
            prop_assert_eq!(&lossy_name(&valid), &valid);
            if check_name(&name).is_ok() {
                prop_assert_eq!(&valid, &name);
                prop_assert_eq!(escaped(&name, usize::MAX), name);
            }
        }

        #[test]
        fn an_excerpt_is_the_same_however_it_is_written(
            parts in prop::collection::vec((any_text(), 1_usize..12), 0..12),
        ) {
            let parts: Vec<_> = parts.iter().map(|(part, times)| part.repeat(*times)).collect();
            let text = parts.concat();
            let mut written = Excerpt::default();
            for part in &parts {
                written.append(part);
                prop_assert!(written.tail.len() <= 2 * TAIL_BYTES);
            }
            written.compact();
            let at_once = Excerpt::from_text(&text);
            for excerpt in [&written, &at_once] {
                prop_assert!(text.starts_with(&excerpt.head) && text.ends_with(&excerpt.tail));
                let kept = excerpt.head.len() + excerpt.tail.len();
                prop_assert_eq!(kept + excerpt.missing, text.len());
                prop_assert!(excerpt.head.len() <= HEAD_BYTES && excerpt.tail.len() <= TAIL_BYTES);
                if excerpt.missing > 0 {
                    prop_assert!(kept > HEAD_BYTES + TAIL_BYTES - 8);
                } else {
                    prop_assert_eq!(excerpt.as_text(), &*text);
                }
            }
            prop_assert_eq!(written.head, at_once.head);
            prop_assert_eq!(written.tail, at_once.tail);
        }
    }
}
