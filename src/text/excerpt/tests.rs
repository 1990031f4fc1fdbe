use super::*;
use crate::contain::testing::PanicsOnDrop;
use crate::text::policy::MESSAGE_BYTES;
use crate::text::testing::{Endless, any_text, keep, redact};
use proptest::prelude::*;

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
            std::panic::panic_any(PanicsOnDrop(self.0));
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

proptest! {
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
