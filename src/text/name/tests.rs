use super::*;
use crate::text::testing::{any_text, assert_invisible};
use proptest::prelude::*;

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

proptest! {
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
}
