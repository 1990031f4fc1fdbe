//! Invisible characters, and texts with each of them escaped.
//!
//! An escaped text is valid UTF-8 without a character that moves a cursor, reorders or hides text.

/// Returns whether `character` is invisible wherever it stands.
///
/// These are the control characters; line and paragraph separators; the marks of annotations;
/// signs without ink ([`is_without_ink`]); and what Unicode lists as
/// `Default_Ignorable_Code_Point`, which a display does not show unless it supports it. Many of
/// them hide or reorder the text around them.
///
/// The variation selectors U+FE00 to U+FE0F are ignorable, too, but are left out here. Emoji are
/// written with them, so whether one is invisible depends on what it follows; see [`is_hidden`].
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

/// Returns whether `character` is drawn as nothing, although it is neither white space nor
/// ignorable: the braille pattern without dots, the blanks among the hieroglyphs, and the note
/// without a head.
fn is_without_ink(character: char) -> bool {
    matches!(
        character,
        '\u{2800}' | '\u{13441}'..='\u{13442}' | '\u{1D159}'
    )
}

/// Returns whether `character` shows nothing if it stands alone: white space, signs without ink,
/// and marks that only change the character before them.
///
/// Marks are recognised by `char::escape_debug`, which escapes them. It also escapes characters
/// that Unicode has not assigned yet, which count as blank here, and those for private use, which
/// do not, since a display shows them in some way.
pub(super) fn is_blank(character: char) -> bool {
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

pub(super) fn is_variation_selector(character: char) -> bool {
    matches!(character, '\u{FE00}'..='\u{FE0F}')
}

/// Returns whether `character` is invisible after `before`.
///
/// A variation selector is visible only after a symbol, whose form it can choose. After a letter, a
/// digit or another selector it changes nothing, and a run of selectors can carry any bytes unseen.
pub(super) fn is_hidden(before: Option<char>, character: char) -> bool {
    if !is_variation_selector(character) {
        return is_invisible(character);
    }
    before.is_none_or(|before| {
        before.is_ascii() || before.is_alphanumeric() || is_blank(before) || is_invisible(before)
    })
}

/// Returns the characters of `text`, each with whether it is invisible there.
pub(super) fn characters(text: &str) -> impl Iterator<Item = (char, bool)> {
    let mut before = None;
    text.chars().map(move |character| {
        let hidden = is_hidden(before.replace(character), character);
        (character, hidden)
    })
}

/// Returns `text` with every invisible character escaped, cut to at most `max_bytes`. The cut is
/// between characters and never inside an escape.
pub(crate) fn escaped(text: &str, max_bytes: usize) -> String {
    let mut kept = String::with_capacity(text.len().min(max_bytes));
    escape_into(&mut kept, text, max_bytes);
    kept
}

/// Appends `text`, escaped, to `kept` until that has `max_bytes`. Returns whether all of it fits.
pub(super) fn escape_into(kept: &mut String, text: &str, max_bytes: usize) -> bool {
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

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
