//! The errors of a hub.
//!
//! # Orderings
//!
//! None.

use thiserror::Error;

/// An error of [`Hub::new`](crate::Hub::new).
///
/// # Examples
///
/// ```
/// use toolmeter_events::{Hub, HubError};
///
/// assert_eq!(Hub::new(0, 16).unwrap_err(), HubError::QueueCapacity { given: 0 });
/// assert_eq!(Hub::new(16, 0).unwrap_err(), HubError::BatchSize { given: 0 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HubError {
    /// The queue's capacity is out of range.
    #[error("a queue of {given} batches: the number must be from 1 to 65,536")]
    QueueCapacity {
        /// The number that was asked for.
        given: usize,
    },
    /// The largest size of a batch is out of range.
    #[error("batches of at most {given} events: the number must be from 1 to 65,536")]
    BatchSize {
        /// The number that was asked for.
        given: usize,
    },
}

/// An error of [`Hub::subscribe`](crate::Hub::subscribe).
///
/// # Examples
///
/// ```
/// # use std::sync::Arc;
/// use toolmeter_events::{Filter, Hub, Rings, SubscribeError};
///
/// let rings = Arc::new(Rings::new(1, 1_024)?);
/// let refused = Hub::new(16, 16)?.subscribe(&rings, Filter::new(), Some(0)).unwrap_err();
/// assert_eq!(refused, SubscribeError::QueueCapacity { given: 0 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The queue's capacity is out of range.
    #[error("a queue of {given} batches: the number must be from 1 to 65,536")]
    QueueCapacity {
        /// The number that was asked for.
        given: usize,
    },
}
