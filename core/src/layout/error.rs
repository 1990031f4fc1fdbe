//! The errors of a layout whose arguments are out of range.

use super::Layout;
use core::fmt;

/// The error of a number of stripes that is not a power of two from 1 to 256.
///
/// # Examples
///
/// ```
/// use toolmeter_core::StripesError;
///
/// let error = StripesError { given: 6 };
/// assert_eq!(
///     error.to_string(),
///     "6 stripes are out of range: use a power of two from 1 to 256"
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StripesError {
    /// The requested number of stripes.
    pub given: usize,
}

impl fmt::Display for StripesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} stripes are out of range: use a power of two from 1 to {}",
            self.given,
            Layout::MAX_STRIPES
        )
    }
}

impl core::error::Error for StripesError {}

/// The error of [`Layout::new`]: an argument is out of range.
///
/// # Examples
///
/// ```
/// use toolmeter_core::Layout;
///
/// let error = Layout::new(9, 48, 1).unwrap_err();
/// assert_eq!(error.to_string(), "precision 9 is out of range: use 0 to 7");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayoutError {
    /// The precision is not 0 to 7.
    Precision(u8),
    /// The exponent of the range is not above the precision, or is above 63.
    MaxExponent {
        /// The requested exponent.
        max_exponent: u8,
        /// The precision, which the exponent must exceed.
        precision: u8,
    },
    /// The number of stripes is not a power of two from 1 to 256.
    Stripes(StripesError),
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Precision(precision) => {
                write!(f, "precision {precision} is out of range: use 0 to 7")
            }
            Self::MaxExponent {
                max_exponent,
                precision,
            } => write!(
                f,
                "max_exponent {max_exponent} is out of range: use {} to 63",
                precision + 1
            ),
            Self::Stripes(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for LayoutError {}
