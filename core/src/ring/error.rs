//! The error of a ring whose arguments are out of range.

use core::fmt;

/// The error of [`EventRing::new`](super::EventRing::new).
///
/// # Examples
///
/// ```
/// use toolmeter_core::{EventRing, EventRingError, Word};
///
/// let words: Vec<Word> = (0..EventRing::words(4)).map(|_| Word::new(0)).collect();
/// assert_eq!(EventRing::new(&words, 3).unwrap_err(), EventRingError::Capacity { given: 3 });
/// let error = EventRing::new(&words, 8).unwrap_err();
/// assert_eq!(error, EventRingError::TooSmall { words: words.len(), needed: EventRing::words(8) });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventRingError {
    /// The capacity is not a power of two from 1 to 1,048,576.
    Capacity {
        /// The requested capacity.
        given: usize,
    },
    /// There are fewer words than a ring of this capacity needs.
    TooSmall {
        /// The number of words that were given.
        words: usize,
        /// The number of words that are needed.
        needed: usize,
    },
}

impl fmt::Display for EventRingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capacity { given } => write!(
                f,
                "capacity {given} is out of range: use a power of two from 1 to 1,048,576"
            ),
            Self::TooSmall { words, needed } => {
                write!(f, "this ring needs {needed} words, but there are {words}")
            }
        }
    }
}

impl core::error::Error for EventRingError {}
