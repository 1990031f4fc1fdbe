//! The kinds of a failure: [`ErrorKind`].
//!
//! The kinds are few and fixed, because each has a counter in every slot and may become a label of a
//! metric. The text of an error is not part of its kind.

use core::fmt;
use core::str::FromStr;

/// The kind of failure that ended a call.
///
/// No kind is added within a major version, so a kind may be matched exhaustively.
///
/// [`Display`](fmt::Display) writes the name of a kind in `snake_case`, [`FromStr`] parses it, and
/// with the feature `serde` a kind is serialized and deserialized as this name.
///
/// # Examples
///
/// ```
/// use toolmeter_core::ErrorKind;
///
/// assert_eq!(ErrorKind::RateLimited.as_str(), "rate_limited");
/// assert_eq!("rate_limited".parse(), Ok(ErrorKind::RateLimited));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ErrorKind {
    /// The arguments, or the answer of the tool, did not have the expected shape.
    InvalidArgs = 0,
    /// The tool, or the object of its call, does not exist.
    NotFound = 1,
    /// The caller may not do this.
    PermissionDenied = 2,
    /// Too many calls in too short a time.
    RateLimited = 3,
    /// The call took longer than its time limit.
    Timeout = 4,
    /// The tool ran and reports an error, as MCP's `isError` and a non-zero exit status do.
    ToolError = 5,
    /// The service behind the tool failed.
    Provider = 6,
    /// The service behind the tool could not be reached.
    Network = 7,
    /// The tool panicked.
    Panic = 8,
    /// Anything else.
    Other = 9,
}

impl ErrorKind {
    /// The number of kinds.
    pub const COUNT: usize = 10;

    /// Every kind, in the order of its index.
    pub const ALL: [Self; Self::COUNT] = [
        Self::InvalidArgs,
        Self::NotFound,
        Self::PermissionDenied,
        Self::RateLimited,
        Self::Timeout,
        Self::ToolError,
        Self::Provider,
        Self::Network,
        Self::Panic,
        Self::Other,
    ];

    /// Returns the name in `snake_case`, as snapshots contain it.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::ErrorKind;
    ///
    /// assert_eq!(ErrorKind::ToolError.as_str(), "tool_error");
    /// ```
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgs => "invalid_args",
            Self::NotFound => "not_found",
            Self::PermissionDenied => "permission_denied",
            Self::RateLimited => "rate_limited",
            Self::Timeout => "timeout",
            Self::ToolError => "tool_error",
            Self::Provider => "provider",
            Self::Network => "network",
            Self::Panic => "panic",
            Self::Other => "other",
        }
    }

    /// Returns the index of this kind in [`ALL`](Self::ALL).
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_core::ErrorKind;
    ///
    /// assert_eq!(ErrorKind::ALL[ErrorKind::Panic.index()], ErrorKind::Panic);
    /// ```
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Parses the name that [`as_str`](ErrorKind::as_str) returns.
///
/// # Examples
///
/// ```
/// use toolmeter_core::{ErrorKind, UnknownErrorKind};
///
/// assert_eq!("timeout".parse(), Ok(ErrorKind::Timeout));
/// assert_eq!("Timeout".parse::<ErrorKind>(), Err(UnknownErrorKind));
/// ```
impl FromStr for ErrorKind {
    type Err = UnknownErrorKind;

    fn from_str(name: &str) -> Result<Self, UnknownErrorKind> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == name)
            .ok_or(UnknownErrorKind)
    }
}

/// The error of parsing text that is not the name of an [`ErrorKind`].
///
/// # Examples
///
/// ```
/// use toolmeter_core::{ErrorKind, UnknownErrorKind};
///
/// let error = "rejected".parse::<ErrorKind>().unwrap_err();
/// assert_eq!(error, UnknownErrorKind);
/// assert!(error.to_string().starts_with("unknown error kind: use one of invalid_args, "));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownErrorKind;

impl fmt::Display for UnknownErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown error kind: use one of ")?;
        for kind in ErrorKind::ALL {
            if kind.index() > 0 {
                f.write_str(", ")?;
            }
            f.write_str(kind.as_str())?;
        }
        Ok(())
    }
}

impl core::error::Error for UnknownErrorKind {}

#[cfg(feature = "serde")]
mod names {
    use super::ErrorKind;
    use core::fmt;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    impl Serialize for ErrorKind {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(self.as_str())
        }
    }

    impl<'de> Deserialize<'de> for ErrorKind {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_str(Name)
        }
    }

    /// The visitor that parses a name.
    struct Name;

    impl de::Visitor<'_> for Name {
        type Value = ErrorKind;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the name of an error kind")
        }

        fn visit_str<E: de::Error>(self, name: &str) -> Result<ErrorKind, E> {
            name.parse().map_err(E::custom)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names that no kind has: an outcome, another case, spaces.
    const UNKNOWN: [&str; 5] = ["", "rejected", "Timeout", " timeout", "tool error"];

    #[test]
    fn a_kind_lies_at_its_index() {
        for (index, kind) in ErrorKind::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), index);
        }
    }

    #[test]
    fn a_kind_is_read_from_the_name_that_it_is_displayed_by() {
        for kind in ErrorKind::ALL {
            assert_eq!(kind.to_string(), kind.as_str());
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        for name in UNKNOWN {
            assert_eq!(name.parse::<ErrorKind>(), Err(UnknownErrorKind), "{name}");
        }
        assert_eq!(
            UnknownErrorKind.to_string(),
            "unknown error kind: use one of invalid_args, not_found, permission_denied, \
             rate_limited, timeout, tool_error, provider, network, panic, other"
        );
    }

    #[test]
    #[cfg(feature = "serde")]
    fn a_kind_is_serialised_as_its_name() {
        for kind in ErrorKind::ALL {
            let json = format!("\"{kind}\"");
            assert_eq!(serde_json::to_string(&kind).unwrap(), json);
            assert_eq!(serde_json::from_str::<ErrorKind>(&json).unwrap(), kind);
            let value = serde_json::Value::from(kind.as_str());
            assert_eq!(serde_json::from_value::<ErrorKind>(value).unwrap(), kind);
        }
        for name in UNKNOWN {
            let error = serde_json::from_str::<ErrorKind>(&format!("\"{name}\"")).unwrap_err();
            assert!(error.to_string().starts_with(&UnknownErrorKind.to_string()));
        }
        let error = serde_json::from_str::<ErrorKind>("3").unwrap_err();
        assert!(error.to_string().contains("the name of an error kind"));
    }

    #[test]
    fn a_kind_keeps_to_the_width_it_is_given() {
        assert_eq!(format!("{:<10}|", ErrorKind::Panic), "panic     |");
    }
}
