//! The errors of registering and deregistering.

use crate::text::NameError;

/// The error of registering a tool; see [`Registry::register`](crate::Registry::register).
///
/// # Examples
///
/// ```
/// use toolmeter::{Pump, RegisterError, Registry};
///
/// let registry = Registry::builder().tool_limit(1).pump(Pump::manual()).build()?;
/// registry.register("shell")?;
/// let one_more = registry.register("index");
/// assert!(matches!(one_more, Err(RegisterError::TooManyTools { limit: 1, .. })));
/// assert!(matches!(registry.register(""), Err(RegisterError::Name(_))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The name is not valid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A tool of this name is registered, or the name is in the list twice.
    #[error("a tool `{name}` is registered already: look it up with `get`, or deregister it")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// There are as many tools as the registry's limit allows.
    #[error(
        "`{name}` would be a tool above the limit of {limit}: build the registry with a higher `tool_limit`, or drop the handles of deregistered tools"
    )]
    TooManyTools {
        /// The first tool above the limit.
        name: String,
        /// The limit.
        limit: usize,
    },
    /// There is no memory for the tool's counters.
    #[error("no memory for the counters of another tool")]
    OutOfMemory,
    /// [`Tool::spec`](crate::Tool::spec) or [`Tool::is_blocking`](crate::Tool::is_blocking) panicked.
    #[error("the tool panicked while it was registered: {message}")]
    Panicked {
        /// The message of the panic, escaped. Of more than 8 KiB it is the head and the tail.
        message: String,
    },
    /// More than four billion tools were registered: build another registry.
    #[error("the registry has given out all its tool ids: build another")]
    IdsExhausted,
}

/// The error if no tool of this name is registered; see
/// [`Registry::deregister`](crate::Registry::deregister).
///
/// # Examples
///
/// ```
/// use toolmeter::Registry;
///
/// let missing = Registry::new().deregister("shell").unwrap_err();
/// assert_eq!(missing.name, "shell");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no tool `{name}` is registered")]
#[non_exhaustive]
pub struct NotRegistered {
    /// The name, escaped and cut to 256 bytes.
    pub name: String,
}
