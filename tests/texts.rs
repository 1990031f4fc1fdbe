//! The texts of errors: the cause is kept wherever it is, no part of a secret is kept, and the
//! published snapshot has the same texts as `metrics()`.
#![cfg(not(toolmeter_loom))]

mod common;

use common::message;
use serde_json::json;
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};
use toolmeter::{
    BuildError, DEFAULT_MESSAGE_BYTES, ErrorKind, InvokeError, Pump, Registry, RegistryBuilder,
    ToolError, ToolHandle, Verdict, WeakRegistry, async_tool,
};

fn builder() -> RegistryBuilder {
    Registry::builder().pump(Pump::manual()).stripes(2)
}

// ---------------------------------------------------------------------------------------------
// The ways in which a text comes in.

/// An error of the host with this text.
#[derive(Debug)]
struct Says(String);

impl fmt::Display for Says {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Says {}

/// An error that has it as its cause.
#[derive(Debug)]
struct Because(Says);

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the step failed")
    }
}

impl Error for Because {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// Writes a text one character at a time.
struct ByCharacter<'a>(&'a str);

impl fmt::Display for ByCharacter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .chars()
            .try_for_each(|c| fmt::Write::write_char(f, c))
    }
}

/// Calls a tool that fails with this error.
fn invoke(
    registry: &Registry,
    error: impl Fn() -> ToolError + Send + Sync + 'static,
) -> InvokeError {
    let tool = async_tool("tool", move |_| std::future::ready(Err(error())));
    call_once(registry, tool)
}

fn call_once(registry: &Registry, tool: impl toolmeter::Tool) -> InvokeError {
    let handle = registry.register_tool(tool).unwrap();
    let answer = common::invoke(registry, json!({}));
    drop(handle);
    registry.deregister("tool").unwrap();
    answer.unwrap_err()
}

fn with_tool(registry: &Registry, call: impl FnOnce(&ToolHandle)) {
    let tool = registry.register("tool").unwrap();
    call(&tool);
    drop(tool);
    registry.deregister("tool").unwrap();
}

/// A way in which a tool's failure gets its text.
type Way = (&'static str, fn(&Registry, String));

const WAYS: [Way; 9] = [
    ("guard.fail", |registry, text| {
        with_tool(registry, |tool| {
            tool.start().fail(ErrorKind::ToolError, &text);
        });
    }),
    ("guard.fail by character", |registry, text| {
        with_tool(registry, |tool| {
            tool.start().fail(ErrorKind::ToolError, ByCharacter(&text));
        });
    }),
    ("guard.finish", |registry, text| {
        with_tool(registry, |tool| {
            let verdict = Verdict::failure(ErrorKind::ToolError).because(&text);
            tool.start().finish(verdict);
        });
    }),
    ("run with a text", |registry, text| {
        with_tool(registry, |tool| {
            let _: Result<(), String> = tool.run(|| Err(text));
        });
    }),
    ("run with an error", |registry, text| {
        with_tool(registry, |tool| {
            let _: Result<(), Says> = tool.run(|| Err(Says(text)));
        });
    }),
    ("run with an error and its cause", |registry, text| {
        with_tool(registry, |tool| {
            let _: Result<(), Because> = tool.run(|| Err(Because(Says(text))));
        });
    }),
    ("invoke", |registry, text| {
        invoke(registry, move || {
            ToolError::new(ErrorKind::ToolError, text.clone())
        });
    }),
    ("invoke with an error of another kind", |registry, text| {
        invoke(registry, move || ToolError::from_error(&Says(text.clone())));
    }),
    ("an answer of MCP", |registry, text| {
        with_tool(registry, |tool| {
            tool.start().finish(Verdict::mcp(true, &text));
        });
    }),
];

// ---------------------------------------------------------------------------------------------
// Head and tail.

const CAUSE: &str = "MemoryError: cannot allocate 4 GiB for layer 'clouds'";

/// Returns a traceback of at least `bytes` bytes, whose last line has the cause.
fn traceback(bytes: usize) -> String {
    let mut text = String::from("Traceback (most recent call last):\n");
    let mut line = 0;
    while text.len() + CAUSE.len() < bytes {
        line += 1;
        text +=
            &format!("  File \"/srv/tools/planet.py\", line {line}, in draw\n    blend(args)\n");
    }
    text + CAUSE
}

#[test]
fn the_last_line_of_a_traceback_is_kept_and_so_is_the_first() {
    for (way, fail) in WAYS {
        for bytes in [600, 4 << 10, 8 << 10, 20 << 10, 1 << 20] {
            let registry = builder().build().unwrap();
            fail(&registry, traceback(bytes));
            let kept = message(&registry).unwrap();
            assert!(kept.len() <= DEFAULT_MESSAGE_BYTES, "{way}: {}", kept.len());
            assert!(kept.len() > DEFAULT_MESSAGE_BYTES / 2, "{way}: {kept}");
            assert!(kept.ends_with(CAUSE), "{way}, {bytes}: {kept}");
            assert!(kept.contains("Traceback (most"), "{way}, {bytes}: {kept}");
            assert!(kept.contains('…'), "{way}, {bytes}: {kept}");
        }
    }
}

#[test]
fn head_and_tail_reach_a_redactor_and_subscribers_too() {
    let registry = builder()
        .redact_errors(|text| text.replace("/srv/tools", "[dir]").into())
        .build()
        .unwrap();
    let events = registry.subscribe();
    for (_, fail) in WAYS {
        fail(&registry, traceback(20 << 10));
    }
    while registry.pump() > 0 {}
    let mut heard = 0;
    while let Ok(batch) = events.try_recv() {
        for message in batch.iter().filter_map(|event| event.message()) {
            assert!(message.contains("Traceback (most"), "{message}");
            assert!(message.ends_with(CAUSE), "{message}");
            assert!(!message.contains("/srv/tools"), "{message}");
            heard += 1;
        }
    }
    // Events within the hold-back come when the registry ends.
    registry.shutdown();
    for batch in events.iter() {
        heard += batch
            .iter()
            .filter(|event| event.message().is_some())
            .count();
    }
    assert_eq!(heard, WAYS.len());
}

#[test]
fn the_size_of_a_text_can_be_set() {
    for bytes in [64, 65, 300, 512, 4_096] {
        let registry = builder().max_message_bytes(bytes).build().unwrap();
        with_tool(&registry, |tool| {
            tool.start().fail(ErrorKind::ToolError, traceback(1 << 20));
        });
        let kept = message(&registry).unwrap();
        assert!(
            kept.len() <= bytes && kept.len() >= bytes - 8,
            "{}",
            kept.len()
        );
        assert!(
            kept.starts_with("Trace") && kept.ends_with("layer 'clouds'"),
            "{kept}"
        );
    }
    for given in [0, 63, 4_097, usize::MAX] {
        let error = builder().max_message_bytes(given).build().unwrap_err();
        assert!(matches!(error, BuildError::MessageBytes { given: g } if g == given));
    }
}

#[test]
fn a_text_of_many_bytes_for_a_character_is_cut_between_characters() {
    for shift in 0..4 {
        let registry = builder().build().unwrap();
        let text = format!("{}{}", "x".repeat(shift), "検索é".repeat(3_000));
        with_tool(&registry, |tool| {
            tool.start().fail(ErrorKind::ToolError, &text);
        });
        let kept = message(&registry).unwrap();
        assert!(kept.len() <= DEFAULT_MESSAGE_BYTES && kept.len() > 490);
        let (head, tail) = kept.split_once(" … ").unwrap();
        assert!(text.starts_with(head) && text.ends_with(tail), "{kept}");
    }
}

// ---------------------------------------------------------------------------------------------
// Secrets.

/// Secrets in ASCII, and with characters of several bytes.
const SECRETS: [&str; 2] = ["sk-0123456789abcdefGHIJ", "gehéim-検ßwört-ünd-mähr"];

/// Returns a part of a secret that `text` contains, of 4 characters. Every longer part contains
/// one.
fn part_of_a_secret(text: &str) -> Option<String> {
    let parts = SECRETS.into_iter().flat_map(|secret| {
        let characters: Vec<_> = secret.chars().collect();
        let parts = characters.windows(4).map(|part| part.iter().collect());
        parts.collect::<Vec<String>>()
    });
    parts.into_iter().find(|part| text.contains(part))
}

/// Removes whole secrets, and white space, so that distant parts of a text move together.
fn redact(text: &str) -> Cow<'_, str> {
    let words: Vec<_> = text.split_whitespace().collect();
    Cow::Owned(without_secrets(&words.join(" ")))
}

fn without_secrets(text: &str) -> String {
    let [one, other] = SECRETS;
    text.replace(one, "*").replace(other, "*")
}

/// The texts that a redactor was given.
type Given = Arc<Mutex<Vec<String>>>;

fn redacting(bytes: usize) -> (Registry, Given) {
    let given = Given::default();
    let all = Arc::clone(&given);
    let registry = builder()
        .max_message_bytes(bytes)
        .redact_errors(move |text| {
            all.lock().unwrap().push(text.to_owned());
            redact(text)
        })
        .build()
        .unwrap();
    (registry, given)
}

/// Asserts that the kept text contains no part of a secret, and that the texts given to the
/// redactor contain only whole ones.
#[track_caller]
fn assert_no_part(way: &str, place: usize, registry: &Registry, given: &Given) {
    let kept = message(registry).unwrap_or_default();
    let part = part_of_a_secret(&kept);
    assert_eq!(part, None, "{way}, secret at {place}, kept: {kept}");
    for text in given.lock().unwrap().drain(..) {
        let without = without_secrets(&text);
        let part = part_of_a_secret(&without);
        assert_eq!(
            part, None,
            "{way}, secret at {place}, the redactor got a part"
        );
    }
}

/// Returns `bytes` bytes of a repeated pattern, cut between characters.
fn filler(pattern: &str, bytes: usize) -> String {
    let mut text = pattern.repeat(bytes / pattern.len() + 1);
    let mut end = bytes;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

const FILLERS: [&str; 5] = ["word ", " ", "a line of text\n", "検索 é ", "x"];

/// Tries each way and each filler with the secret at each place across both bounds where a text of
/// more than 8 KiB is cut. Its first and its last 4 KiB are kept.
fn step_through(ways: &[Way], secret: &str) {
    const BOUND: usize = 4_096;
    const TEXT: usize = 9_000;
    let margin = secret.len() + 8;
    for (way, fail) in ways {
        let (registry, given) = redacting(4_096);
        for pattern in FILLERS {
            let whole = filler(pattern, TEXT);
            // The outer error's text comes before that of its cause and has 17 bytes.
            let head = BOUND - margin - 20..BOUND + 8;
            let tail = TEXT - BOUND - margin..TEXT - BOUND + margin;
            for place in head.chain(tail) {
                if !whole.is_char_boundary(place) {
                    continue;
                }
                let mut text = whole.clone();
                text.insert_str(place, secret);
                fail(&registry, text);
                assert_no_part(way, place, &registry, &given);
            }
        }
    }
}

#[test]
fn no_part_of_a_secret_across_the_bounds_of_a_guards_text_is_kept() {
    step_through(&WAYS[..3], SECRETS[0]);
}

#[test]
fn no_part_of_a_secret_across_the_bounds_of_a_results_text_is_kept() {
    step_through(&WAYS[3..4], SECRETS[0]);
}

#[test]
fn no_part_of_a_secret_across_the_bounds_of_an_errors_text_is_kept() {
    step_through(&WAYS[4..5], SECRETS[0]);
}

#[test]
fn no_part_of_a_secret_across_the_bounds_of_a_causes_text_is_kept() {
    step_through(&WAYS[5..6], SECRETS[0]);
}

#[test]
fn no_part_of_a_secret_across_the_bounds_of_a_tools_error_is_kept() {
    step_through(&WAYS[6..7], SECRETS[0]);
}

#[test]
fn no_part_of_a_secret_across_the_bounds_of_an_error_made_a_tools_is_kept() {
    step_through(&WAYS[7..8], SECRETS[0]);
}

#[test]
fn no_part_of_a_secret_across_the_bounds_of_an_answers_text_is_kept() {
    step_through(&WAYS[8..], SECRETS[0]);
}

/// The bounds may fall into a character of the secret itself.
#[test]
fn no_part_of_a_secret_of_many_bytes_for_a_character_is_kept_of_a_text() {
    step_through(&WAYS[..4], SECRETS[1]);
    step_through(&WAYS[6..7], SECRETS[1]);
    step_through(&WAYS[8..], SECRETS[1]);
}

#[test]
fn no_part_of_a_secret_of_many_bytes_for_a_character_is_kept_of_an_error() {
    step_through(&WAYS[4..6], SECRETS[1]);
}

#[test]
fn no_part_of_a_secret_of_many_bytes_for_a_character_is_kept_of_an_error_made_a_tools() {
    step_through(&WAYS[7..8], SECRETS[1]);
}

/// The secret is at any place in texts that are cut after they were redacted, or not at all.
#[test]
fn no_part_of_a_secret_anywhere_in_a_short_text_is_kept() {
    for (way, fail) in WAYS {
        let (registry, given) = redacting(64);
        for pattern in FILLERS {
            let whole = filler(pattern, 160);
            for place in (0..=160).filter(|&place| whole.is_char_boundary(place)) {
                let mut text = whole.clone();
                text.insert_str(place, SECRETS[place % 2]);
                fail(&registry, text);
                assert_no_part(way, place, &registry, &given);
            }
        }
    }
}

/// A text that does not end is stopped after 16 MiB, perhaps within the secret.
#[test]
fn no_part_of_a_secret_where_a_text_is_stopped_is_kept() {
    /// A text of words until shortly before the bound, then the secret by character, and words
    /// without an end.
    struct Endless(usize);

    impl fmt::Display for Endless {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let block = filler("word ", 1 << 20);
            for _ in 0..15 {
                f.write_str(&block)?;
            }
            f.write_str(&filler("word ", (1 << 20) - self.0))?;
            f.write_str(" ")?;
            for character in SECRETS[0].chars() {
                fmt::Write::write_char(f, character)?;
            }
            loop {
                f.write_str(" word")?;
            }
        }
    }

    let (registry, given) = redacting(4_096);
    for before in 1..SECRETS[0].len() + 4 {
        with_tool(&registry, |tool| {
            tool.start().fail(ErrorKind::ToolError, Endless(before));
        });
        assert_no_part("guard.fail", before, &registry, &given);
    }
}

/// Runs tools that panic, with the secret at each place across the bounds of the message. `check`
/// gets the place and the error of `invoke`.
fn with_panics(check: impl Fn(usize, &Registry, &Given, InvokeError)) {
    let (registry, given) = redacting(4_096);
    let margin = SECRETS[0].len() + 4;
    let bounds = [DEFAULT_MESSAGE_BYTES, 4_096].into_iter();
    for place in bounds.flat_map(|at| at - margin..at + 4) {
        let mut text = filler("word ", 12_000);
        text.insert_str(place, &format!(" {} ", SECRETS[0]));
        let panics = async_tool("tool", move |_| {
            let text = text.clone();
            // As `panic_any`, without a line on standard error.
            async move { std::panic::resume_unwind(Box::new(text)) }
        });
        let error = call_once(&registry, panics);
        assert!(matches!(error, InvokeError::Panicked { .. }));
        check(place, &registry, &given, error);
    }
}

#[test]
fn no_part_of_a_secret_in_a_panic_is_kept() {
    with_panics(|place, registry, given, _| {
        assert_no_part("a panic", place, registry, given);
    });
}

/// The outer tool passes on the error of `invoke` for the inner one's panic.
#[test]
fn no_part_of_a_secret_in_a_panic_of_another_tool_is_kept() {
    with_panics(|place, registry, given, error| {
        given.lock().unwrap().clear();
        with_tool(registry, |tool| {
            let _: Result<(), InvokeError> = tool.run(|| Err(error));
        });
        assert_no_part("a panic that is handed on", place, registry, given);
    });
}

// ---------------------------------------------------------------------------------------------
// Published texts.

/// The redactor runs after a failure was counted and before its text is stored, and publishes right
/// there.
#[test]
fn a_text_that_came_just_after_its_count_was_published_is_published_next() {
    let of_redactor: Arc<OnceLock<WeakRegistry>> = Arc::default();
    let host = Arc::clone(&of_redactor);
    let published = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&published);
    let registry = builder()
        .redact_errors(move |text| {
            if let Some(registry) = host.get().and_then(WeakRegistry::upgrade) {
                registry.publish();
                let published = registry.published();
                let stats = &published.tools["tool"];
                let message = stats.last_error.as_ref().and_then(|e| e.message.clone());
                seen.lock().unwrap().push((stats.failure(), message));
            }
            Cow::Borrowed(text)
        })
        .build()
        .unwrap();
    of_redactor.set(registry.downgrade()).unwrap();
    let tool = registry.register("tool").unwrap();
    tool.start().fail(ErrorKind::NotFound, "no such file");
    // The failure was counted and published without its text.
    assert_eq!(*published.lock().unwrap(), [(1, None)]);

    // The tool has been idle since.
    registry.publish();
    let published = registry.published().into_arc();
    let error = published.tools["tool"].last_error.as_ref().unwrap();
    assert_eq!(error.message.as_deref(), Some("no such file"));
    let metrics = registry.metrics();
    assert_eq!(metrics.tools["tool"].last_error.as_ref(), Some(error));
    registry.publish();
    assert_eq!(
        registry.published().tools["tool"].last_error.as_ref(),
        Some(error)
    );
}

/// The same, but the tool is deregistered meanwhile, and departs.
#[test]
fn a_text_that_comes_while_its_tool_goes_is_published() {
    let of_redactor: Arc<OnceLock<WeakRegistry>> = Arc::default();
    let host = Arc::clone(&of_redactor);
    let registry = builder()
        .redact_errors(move |text| {
            if let Some(registry) = host.get().and_then(WeakRegistry::upgrade) {
                registry.deregister("tool").unwrap();
                registry.pump();
                registry.publish();
            }
            Cow::Borrowed(text)
        })
        .build()
        .unwrap();
    of_redactor.set(registry.downgrade()).unwrap();
    let tool = registry.register("tool").unwrap();
    tool.start().fail(ErrorKind::NotFound, "no such file");
    drop(tool);
    for _ in 0..3 {
        registry.publish();
        let published = registry.published().into_arc();
        let error = published.tools["tool"].last_error.as_ref().unwrap();
        assert_eq!(error.message.as_deref(), Some("no such file"));
        registry.pump();
    }
}
