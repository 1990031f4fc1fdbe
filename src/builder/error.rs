//! [`BuildError`].

use std::io;
use toolmeter_core::StripesError;
use toolmeter_events::{HubError, RingsError};

/// The error of building a registry; see
/// [`RegistryBuilder::build`](crate::RegistryBuilder::build).
///
/// # Examples
///
/// ```
/// use toolmeter::{BuildError, Registry};
///
/// let error = Registry::builder().precision(2).build().unwrap_err();
/// assert!(matches!(error, BuildError::Precision { given: 2 }));
/// assert_eq!(error.to_string(), "precision 2 is out of range: use 3 to 7");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The precision is out of range.
    #[error("precision {given} is out of range: use 3 to 7")]
    Precision {
        /// The precision that was asked for.
        given: u8,
    },
    /// The number of stripes is out of range.
    #[error(transparent)]
    Stripes(#[from] StripesError),
    /// The maximum length of error messages is out of range.
    #[error("error messages of at most {given} bytes are out of range: use 64 to 4,096")]
    MessageBytes {
        /// The number that was asked for.
        given: usize,
    },
    /// The maximum number of tools is out of range.
    #[error("a limit of {given} tools is out of range: use 1 to 1,000,000")]
    ToolLimit {
        /// The limit that was asked for.
        given: usize,
    },
    /// The capacity of the rings is out of range.
    #[error("a ring of {given} events is out of range: use 1 to 1,048,576")]
    RingCapacity {
        /// The number that was asked for.
        given: usize,
    },
    /// The maximum size of batches is out of range.
    #[error("batches of at most {given} events are out of range: use 1 to 65,536")]
    BatchSize {
        /// The number that was asked for.
        given: usize,
    },
    /// The capacity of the subscriptions' queues is out of range.
    #[error("a queue of {given} batches is out of range: use 1 to 65,536")]
    QueueCapacity {
        /// The number that was asked for.
        given: usize,
    },
    /// The operating system could not start a thread for the pump.
    #[error("no thread for the pump: use Pump::manual(), or allow the process more threads")]
    PumpThread(#[source] io::Error),
}

impl From<RingsError> for BuildError {
    fn from(error: RingsError) -> Self {
        match error {
            RingsError::Stripes(error) => Self::Stripes(error),
            RingsError::Capacity { given } => Self::RingCapacity { given },
            other => unreachable!("there is no other error of rings: {other}"),
        }
    }
}

impl From<HubError> for BuildError {
    fn from(error: HubError) -> Self {
        match error {
            HubError::QueueCapacity { given } => Self::QueueCapacity { given },
            HubError::BatchSize { given } => Self::BatchSize { given },
            other => unreachable!("there is no other error of the hub: {other}"),
        }
    }
}
