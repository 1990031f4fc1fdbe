//! The oracle of text from outside: any text as a tool's name, as an error's message, and as the
//! host's context of a call.
//!
//! A name is refused for a reason that is true of it, or it is registered as it is. What is kept
//! of a message is bounded and visible: the message itself, with each character that cannot be
//! seen as its escape, up to the last that fits. The context is carried as it was given.
//!
//! What cannot be seen is said here a second time, and in another way: by properties of Unicode.

use arbitrary::Arbitrary;
use regex::Regex;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use toolmeter::{
    CallContext, CallOptions, ClockSource, ErrorKind, EventKind, InvokeError, MAX_MESSAGE_BYTES,
    ManualClock, NameError, Pump, RegisterError, Registry, Snapshot, ToolHandle, ToolSpec,
};

/// What is tried.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Input<'a> {
    name: Repeated<'a>,
    message: Repeated<'a>,
    session: &'a str,
    turn: u64,
    call: &'a str,
}

/// A text again and again, so that a short input reaches the lengths at which texts are cut.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Repeated<'a> {
    times: u16,
    text: &'a str,
}

impl Repeated<'_> {
    /// Mostly once, and at most 300 times, so that a single character reaches every bound.
    fn get(self) -> String {
        let times = match self.times % 600 {
            0 => 0,
            times @ 1..=300 => usize::from(times),
            _ => 1,
        };
        self.text.repeat(times)
    }
}

/// A name that can always be registered.
const PLAIN: &str = "plain";

/// What is not shown: control characters, line and paragraph separators, the marks of annotations,
/// and what Unicode says that a display ignores unless it supports it. Of the last, the variation
/// selectors of emoji may stay.
static UNSEEN: LazyLock<Regex> = LazyLock::new(|| {
    let unseen = r"[[\p{Cc}\p{Zl}\p{Zp}\p{DI}\x{FFF9}-\x{FFFB}]--[\x{FE00}-\x{FE0F}]]";
    Regex::new(unseen).unwrap()
});

/// Whether a character is one of those.
pub(crate) fn is_unseen(character: char) -> bool {
    UNSEEN.is_match(character.encode_utf8(&mut [0; 4]))
}

/// Checks all of it.
///
/// # Panics
///
/// If anything does not hold.
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

    let context = Arc::new(CallContext::new(input.session, input.turn, input.call));
    let options = CallOptions::new().context(Arc::clone(&context));
    tool.with(options).start().fail(ErrorKind::Other, &message);
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
        assert_eq!(json["message"].as_str(), event.message());
    }
    check_printed(&metrics);
    check_unknown(&registry, input.call);
}

/// Registers the name, if it is one.
fn check_name(registry: &Registry, name: &str) -> Option<ToolHandle> {
    let spec = ToolSpec::new(name.to_owned());
    let checked = spec.check();
    let refused = match (registry.register(spec), checked) {
        (Ok(tool), Ok(())) => {
            assert_eq!(tool.name(), name);
            assert!(name.len() <= 128 && !name.trim().is_empty());
            assert!(!UNSEEN.is_match(name));
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
        NameError::Empty => assert!(name.trim().is_empty() && name.len() <= 128),
        NameError::TooLong { bytes, .. } => {
            assert_eq!(*bytes, name.len());
            assert!(name.len() > 128);
        }
        NameError::Invisible { character, .. } => {
            let first = UNSEEN.find(name).map(|unseen| unseen.as_str());
            assert_eq!(first, Some(character.encode_utf8(&mut [0; 4]) as &str));
        }
        other => panic!("a reason that this oracle does not know: {other:?}"),
    }
    check_error(&refused.to_string());
    let missing = registry.deregister(name).unwrap_err();
    assert!(missing.name.len() <= 128);
    check_error(&missing.to_string());
    None
}

/// What is kept of a message.
fn check_message(given: &str, kept: Option<&str>) {
    assert_eq!(kept.is_none(), given.is_empty());
    let Some(kept) = kept else { return };
    assert!(kept.len() <= MAX_MESSAGE_BYTES);
    let mut rest = kept;
    for character in given.chars() {
        let shown = if is_unseen(character) {
            character.escape_default().to_string()
        } else {
            character.to_string()
        };
        let Some(after) = rest.strip_prefix(&*shown) else {
            // It was cut here, because this character did not fit.
            assert!(rest.is_empty(), "{given:?} is kept as {kept:?}");
            assert!(kept.len() + shown.len() > MAX_MESSAGE_BYTES);
            return;
        };
        rest = after;
    }
    assert!(rest.is_empty(), "{given:?} is kept as {kept:?}");
}

/// The snapshot as JSON and as a table.
fn check_printed(metrics: &Snapshot) {
    let json = serde_json::to_string(metrics).unwrap();
    assert_eq!(serde_json::from_str::<Snapshot>(&json).unwrap(), *metrics);
    let table = metrics.to_string();
    assert!(table.lines().all(|line| !UNSEEN.is_match(line)));
    assert_eq!(table.lines().count(), 3 + metrics.tools.len());
}

/// A name that nobody registered makes no tool.
fn check_unknown(registry: &Registry, name: &str) {
    if registry.get(name).is_some() {
        return;
    }
    let before = registry.metrics();
    let mut answer = pin!(registry.invoke(name, 0.into(), CallOptions::new()));
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

/// An error that repeats text from outside is itself short and visible.
fn check_error(text: &str) {
    // 128 characters of one byte, each escaped as `\u{1}` to `\u{1f}`, and the sentence around.
    assert!(text.len() <= 1_024, "{} bytes", text.len());
    assert!(!UNSEEN.is_match(text), "{text:?}");
}
