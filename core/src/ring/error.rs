//! The error of a ring that cannot be made.

use core::fmt;

/// Why [`EventRing::new`] refused.
///
/// # Examples
///
/// ```
/// use toolmeter_core::{EventRing, EventRingError, Word};
///
/// let words: Vec<Word> = (0..EventRing::words(4)).map(|_| Word::new(0)).collect();
/// assert_eq!(EventRing::new(&words, 3).unwrap_err(), EventRingError::Places { given: 3 });
/// let error = EventRing::new(&words, 8).unwrap_err();
/// assert_eq!(error, EventRingError::TooSmall { words: words.len(), needed: EventRing::words(8) });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventRingError {
    /// The number of places is no power of two, or out of range.
    Places {
        /// The number that was asked for.
        given: usize,
    },
    /// There are fewer words than the places need.
    TooSmall {
        /// The number of words that were given.
        words: usize,
        /// The number that is needed.
        needed: usize,
    },
}

impl fmt::Display for EventRingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Places { given } => write!(
                f,
                "{given} places in a ring: the number must be a power of two from 1 to 1,048,576"
            ),
            Self::TooSmall { words, needed } => {
                write!(f, "a ring of {words} words: its places need {needed}")
            }
        }
    }
}

impl core::error::Error for EventRingError {}
