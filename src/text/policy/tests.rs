use super::*;
use crate::contain::testing::PanicsOnDrop;
use crate::text::excerpt::{HEAD_BYTES, TAIL_BYTES, boundary_before};
use crate::text::testing::{any_text, is_visible, keep, kept, redact};
use proptest::prelude::*;

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
fn a_redactor_that_panics_costs_the_text_only() {
    let policy = redact(64, |text| match text {
        "text" => panic!("bad pattern"),
        "bomb" => std::panic::panic_any(PanicsOnDrop(1)),
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
    ["", "[secret]"].map(|shown| redact(max_bytes, move |text| text.replace(secret, shown).into()))
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
            if excerpt.as_text() == before.as_text() {
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
}
