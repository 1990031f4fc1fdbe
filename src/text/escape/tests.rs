use crate::text::name::{NameError, check_name, lossy_name};
use crate::text::testing::{assert_invisible, kept};

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
