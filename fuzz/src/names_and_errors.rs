//! The oracle of text from outside: any text as a tool's name, as an error's message, and as the
//! host's context of a call.
//!
//! A name is refused for a reason that is true, or it is registered unchanged; and a name can be
//! made of any text. The text that is kept of a message is bounded and visible: it is the message
//! with each invisible character escaped, or as much as fits of the beginning and the end of that.
//! The context is carried unchanged, except for the length of its labels.
//!
//! The invisible characters are defined here independently, by properties of Unicode.

use arbitrary::Arbitrary;
use regex::Regex;
use std::future::{Future, IntoFuture};
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use toolmeter::{
    CallContext, ClockSource, DEFAULT_MESSAGE_BYTES, ErrorKind, EventKind, InvokeError,
    ManualClock, NameError, Pump, RegisterError, Registry, Snapshot, ToolHandle, ToolSpec,
};

/// An input of the oracle.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Input<'a> {
    name: Repeated<'a>,
    message: Repeated<'a>,
    session: &'a str,
    turn: u64,
    call: &'a str,
}

/// A text that is repeated, so that a short input reaches the lengths at which texts are cut.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Repeated<'a> {
    times: u16,
    text: &'a str,
}

impl Repeated<'_> {
    /// Returns the text once in half of the cases, otherwise repeated at most 600 times, so that a
    /// single character reaches every bound.
    fn get(self) -> String {
        let times = match self.times % 1_200 {
            0 => 0,
            times @ 1..=600 => usize::from(times),
            _ => 1,
        };
        self.text.repeat(times)
    }
}

/// A name that can always be registered.
const PLAIN: &str = "plain";

/// The length of the longest name, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// A set of characters, by properties of Unicode.
struct Set {
    regex: Regex,
    /// The answers for ASCII, of which most texts consist, since a regex is slow.
    ascii: [bool; 128],
}

impl Set {
    fn new(regex: &str) -> Self {
        let regex = Regex::new(regex).unwrap();
        let mut ascii = [false; 128];
        for (character, is_in) in ('\0'..).zip(&mut ascii) {
            *is_in = regex.is_match(character.encode_utf8(&mut [0; 4]));
        }
        Self { regex, ascii }
    }

    fn has(&self, character: char) -> bool {
        let ascii = self.ascii.get(character as usize);
        ascii.copied().unwrap_or_else(|| {
            let mut bytes = [0; 4];
            self.regex.is_match(character.encode_utf8(&mut bytes))
        })
    }
}

/// The characters that are never shown: control characters, line and paragraph separators, the
/// marks of annotations, characters without ink, and those that a display ignores by default
/// according to Unicode. Of the last, the variation selectors of emoji may stay.
static UNSEEN: LazyLock<Set> = LazyLock::new(|| {
    let unseen = r"[[\p{Cc}\p{Zl}\p{Zp}\p{DI}\x{2800}\x{13441}\x{13442}\x{1D159}\x{FFF9}-\x{FFFB}]--[\x{FE00}-\x{FE0F}]]";
    Set::new(unseen)
});

/// The characters that alone do not make a name: white space, marks that combine with a letter, and
/// formats.
static BLANK: LazyLock<Set> = LazyLock::new(|| {
    Set::new(r"[\p{White_Space}\x{2800}\x{13441}\x{13442}\x{1D159}\p{Grapheme_Extend}\p{Cf}\p{Zs}]")
});

/// The code points that are not characters, or not yet in this edition of Unicode.
static UNASSIGNED: LazyLock<Set> = LazyLock::new(|| Set::new(r"\p{Cn}"));

/// The letters and digits of every script.
static ALPHANUMERIC: LazyLock<Set> = LazyLock::new(|| Set::new(r"[\p{Alphabetic}\p{N}]"));

/// Returns whether a character is never shown.
pub(crate) fn is_unseen(character: char) -> bool {
    UNSEEN.has(character)
}

/// Returns whether a name needs more than such characters.
pub(crate) fn is_blank(character: char) -> bool {
    let is_without_ink = matches!(
        character,
        '\u{2800}' | '\u{13441}' | '\u{13442}' | '\u{1D159}'
    );
    let is_hidden = is_unseen(character) && !character.is_whitespace() && !is_without_ink;
    // std may have a newer edition, so it decides on those.
    let is_unassigned =
        || UNASSIGNED.has(character) && character.escape_debug().nth(1) == Some('u');
    (BLANK.has(character) || is_unassigned()) && !is_hidden
}

/// Returns whether a character is one of the variation selectors that may stay behind a symbol.
pub(crate) fn is_selector(character: char) -> bool {
    matches!(character, '\u{FE00}'..='\u{FE0F}')
}

/// Returns each character, and whether it is invisible in its place.
fn characters(text: &str) -> impl Iterator<Item = (char, bool)> {
    let mut before = None;
    text.chars().map(move |character| {
        let is_behind_a_symbol = before.replace(character).is_some_and(|before: char| {
            !before.is_ascii()
                && !ALPHANUMERIC.has(before)
                && !is_blank(before)
                && !is_unseen(before)
        });
        let hidden = if is_selector(character) {
            !is_behind_a_symbol
        } else {
            is_unseen(character)
        };
        (character, hidden)
    })
}

fn is_visible(text: &str) -> bool {
    characters(text).all(|(_, hidden)| !hidden)
}

/// Checks one input.
///
/// # Panics
///
/// If a check fails.
pub fn check(input: &Input<'_>) {
    let registry = Registry::builder()
        .clock(ClockSource::Manual(Arc::new(ManualClock::new())))
        .pump(Pump::manual())
        .instance(input.session)
        .stripes(1)
        .ring_capacity(4)
        .precision(3)
        .build()
        .unwrap();
    let events = registry.subscribe();
    let (name, message) = (input.name.get(), input.message.get());
    let named = check_name(&registry, &name);
    let tool = named.unwrap_or_else(|| registry.register(ToolSpec::new(PLAIN)).unwrap());

    let context = CallContext::new(input.session)
        .turn(input.turn)
        .call(input.call)
        .parent(input.name.text)
        .label(&*name, &*message);
    let context = Arc::new(context);
    let call = tool.call().context(Arc::clone(&context));
    call.start().fail(ErrorKind::Other, &message);
    let metrics = registry.metrics();
    let error = metrics.tools[tool.name()].last_error.as_ref().unwrap();
    check_message(&message, error.message.as_deref());

    registry.pump();
    let batch = events.try_recv().unwrap();
    assert_eq!(batch.len(), 2);
    assert_eq!(batch[1].kind(), EventKind::Failed);
    assert_eq!(batch[1].message(), error.message.as_deref());
    for event in &batch[..] {
        assert_eq!(batch.name(event.tool()), Some(tool.name()));
        let carried = event.context().unwrap();
        assert!(Arc::ptr_eq(carried, &context));
        let json = serde_json::to_value(event).unwrap();
        assert_eq!(json["context"]["session"], input.session);
        assert_eq!(json["context"]["turn"], input.turn);
        assert_eq!(json["context"]["call"], input.call);
        assert_eq!(json["context"]["parent"], input.name.text);
        let label = carried.labels().next().unwrap();
        check_label(&name, label.0);
        check_label(&message, label.1);
        assert_eq!(json["context"]["labels"][label.0], label.1);
        assert_eq!(json["message"].as_str(), event.message());
    }
    check_printed(&metrics);
    check_unknown(&registry, input.call);
}

/// Checks that the carried text of a label is its beginning, cut between characters.
fn check_label(given: &str, carried: &str) {
    const MOST: usize = CallContext::MAX_LABEL_BYTES;
    assert!(given.starts_with(carried));
    let next = given[carried.len()..].chars().next();
    assert!(carried.len() <= MOST);
    assert!(next.is_none_or(|next| carried.len() + next.len_utf8() > MOST));
}

/// Registers the name if it is one, and otherwise checks the error.
fn check_name(registry: &Registry, name: &str) -> Option<ToolHandle> {
    let lossy = ToolSpec::lossy(name);
    assert_eq!(lossy.check(), Ok(()), "{lossy:?}");
    let spec = ToolSpec::new(name.to_owned());
    assert!(spec.check().is_err() || lossy.name() == name);
    let checked = spec.check();
    let refused = match (registry.register(spec), checked) {
        (Ok(tool), Ok(())) => {
            assert_eq!(tool.name(), name);
            assert!(name.len() <= MAX_NAME_BYTES && !name.chars().all(is_blank));
            assert!(is_visible(name));
            assert_eq!(registry.get(name).map(|tool| tool.id()), Some(tool.id()));
            let again = registry.register(ToolSpec::new(name.to_owned()));
            assert!(matches!(again, Err(RegisterError::Duplicate { .. })));
            return Some(tool);
        }
        (Err(RegisterError::Name(registered)), Err(checked)) => {
            assert_eq!(registered, checked);
            checked
        }
        (registered, checked) => panic!("{registered:?}, but {checked:?}"),
    };
    match &refused {
        NameError::Empty => {
            assert!(name.chars().all(is_blank) && name.len() <= MAX_NAME_BYTES);
        }
        NameError::TooLong { bytes, .. } => {
            assert_eq!(*bytes, name.len());
            assert!(name.len() > MAX_NAME_BYTES);
        }
        NameError::Invisible { character, .. } => {
            let first = characters(name).find(|&(_, hidden)| hidden);
            assert_eq!(first, Some((*character, true)));
        }
        other => panic!("a reason that this oracle does not know: {other:?}"),
    }
    check_error(&refused.to_string());
    let missing = registry.deregister(name).unwrap_err();
    assert!(missing.name.len() <= MAX_NAME_BYTES);
    check_error(&missing.to_string());
    None
}

/// Checks what is kept of a message.
fn check_message(given: &str, kept: Option<&str>) {
    assert_eq!(kept.is_none(), given.is_empty());
    let Some(kept) = kept else { return };
    assert!(kept.len() <= DEFAULT_MESSAGE_BYTES && is_visible(kept));
    let shown: Vec<String> = characters(given)
        .map(|(character, hidden)| match hidden {
            true => character.escape_default().to_string(),
            false => character.to_string(),
        })
        .collect();
    let bytes = shown.iter().map(String::len).sum::<usize>();
    if bytes <= DEFAULT_MESSAGE_BYTES {
        assert_eq!(kept, shown.concat());
        return;
    }
    const GAP: &str = " … ";
    let room = DEFAULT_MESSAGE_BYTES - GAP.len();
    let head = as_many_as_fit(shown.iter(), room / 2);
    let head_bytes: usize = shown[..head].iter().map(String::len).sum();
    let mut tail = shown.len() - as_many_as_fit(shown.iter().rev(), room - head_bytes);
    // A selector is left out with its symbol.
    while shown[tail..]
        .first()
        .is_some_and(|first| first.chars().all(is_selector))
    {
        tail += 1;
    }
    let expected = [&shown[..head].concat(), GAP, &shown[tail..].concat()].concat();
    assert_eq!(kept, expected, "of {given:?}");
}

/// Returns how many of these parts, from the first on, fit in `bytes` bytes.
fn as_many_as_fit<'a>(parts: impl Iterator<Item = &'a String>, bytes: usize) -> usize {
    let mut left = bytes;
    parts
        .map_while(|part| {
            left = left.checked_sub(part.len())?;
            Some(())
        })
        .count()
}

/// Checks the snapshot as JSON and as a table.
fn check_printed(metrics: &Snapshot) {
    let json = serde_json::to_string(metrics).unwrap();
    assert_eq!(serde_json::from_str::<Snapshot>(&json).unwrap(), *metrics);
    let table = metrics.to_string();
    assert!(table.lines().all(is_visible));
    assert_eq!(table.lines().count(), 3 + metrics.tools.len());
}

/// Checks that a call by a name that was never registered creates no tool.
fn check_unknown(registry: &Registry, name: &str) {
    if registry.get(name).is_some() {
        return;
    }
    let before = registry.metrics();
    let mut answer = pin!(registry.invoke(name, 0.into()).into_future());
    let Poll::Ready(Err(error)) = answer
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    else {
        panic!("an unknown tool has nothing to wait for and no answer");
    };
    assert!(matches!(error, InvokeError::UnknownTool { .. }));
    check_error(&error.to_string());
    let after = registry.metrics();
    assert_eq!(after.unknown_tool_calls, before.unknown_tool_calls + 1);
    assert_eq!(after.tools.len(), before.tools.len());
}

/// Checks that an error that repeats text from outside is itself short and visible.
fn check_error(text: &str) {
    // An escaped name, and the sentence around it.
    assert!(text.len() <= 2 * MAX_NAME_BYTES, "{} bytes", text.len());
    assert!(is_visible(text), "{text:?}");
}
