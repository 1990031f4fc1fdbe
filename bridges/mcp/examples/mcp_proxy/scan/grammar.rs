//! The grammar of JSON, byte by byte.

/// The part of a number that was read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Sign,
    Zero,
    Whole,
    Point,
    Fraction,
    E,
    ESign,
    Exponent,
}

impl Number {
    pub(super) fn first(byte: u8) -> Option<Self> {
        match byte {
            b'-' => Some(Self::Sign),
            b'0' => Some(Self::Zero),
            b'1'..=b'9' => Some(Self::Whole),
            _ => None,
        }
    }

    pub(super) fn next(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Sign, b'0') => Some(Self::Zero),
            (Self::Sign, b'1'..=b'9') | (Self::Whole, b'0'..=b'9') => Some(Self::Whole),
            (Self::Zero | Self::Whole, b'.') => Some(Self::Point),
            (Self::Point | Self::Fraction, b'0'..=b'9') => Some(Self::Fraction),
            (Self::Zero | Self::Whole | Self::Fraction, b'e' | b'E') => Some(Self::E),
            (Self::E, b'+' | b'-') => Some(Self::ESign),
            (Self::E | Self::ESign | Self::Exponent, b'0'..=b'9') => Some(Self::Exponent),
            _ => None,
        }
    }

    pub(super) fn is_whole(self) -> bool {
        matches!(
            self,
            Self::Zero | Self::Whole | Self::Fraction | Self::Exponent
        )
    }
}

/// The position in the grammar, which determines the bytes that may come next in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// A value, at the beginning of the line.
    Start,
    Value,
    /// A value, or the end of the array that just began.
    FirstValue,
    Key,
    /// A key, or the end of the object that just began.
    FirstKey,
    Colon,
    /// A comma, or the end of the open array or object.
    After,
    /// Within a string.
    String,
    /// Within a string, after a backslash.
    Escape,
    /// Within a string, with this many digits of `\u` to come.
    Hex(u8),
    Number(Number),
    /// Within `true`, `false`, `null`, `NaN` or `Infinity`, with these bytes to come.
    Literal(&'static [u8]),
    /// White space only.
    Done,
    /// Anything: the line is not JSON.
    Broken,
}

/// Returns the length of the escape at the beginning of these bytes, if it is whole and well
/// formed.
pub(super) fn whole_escape(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'\\', b'u', a, b, c, d, ..] => {
            let is_hex = [a, b, c, d].into_iter().all(u8::is_ascii_hexdigit);
            is_hex.then_some(6)
        }
        [
            b'\\',
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't',
            ..,
        ] => Some(2),
        _ => None,
    }
}
