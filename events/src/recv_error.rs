//! The errors of receiving from a subscription.
//!
//! # Orderings
//!
//! None.

use thiserror::Error;

/// An error of [`Subscription::recv`](crate::Subscription::recv): the hub is closed, and every
/// batch was received.
///
/// # Examples
///
/// ```
/// # use std::{sync::Arc, time::SystemTime};
/// # use toolmeter_events::{
/// #     Drain, Draft, Filter, Hub, Moment, NameTable, Rings, Timeline, ToolId,
/// # };
/// # let rings = Arc::new(Rings::new(1, 1_024)?);
/// # let mut drain = Drain::new(&rings, 0);
/// # let hub = Hub::new(16, 16)?;
/// # let shell = ToolId::new(1);
/// # let names = Arc::new(NameTable::new([(shell, "shell")]));
/// # let moment = Moment::new(SystemTime::UNIX_EPOCH, 1_000);
/// # let timeline = Arc::new(Timeline::new(moment));
/// use toolmeter_events::RecvError;
///
/// let subscription = hub.subscribe(&rings, Filter::new(), None)?;
/// hub.close().wake();
/// let error: RecvError = subscription.recv().unwrap_err();
/// assert!(error.to_string().starts_with("no more events"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no more events: the registry is closed and every batch was received")]
#[non_exhaustive]
pub struct RecvError;

/// An error of [`Subscription::try_recv`](crate::Subscription::try_recv).
///
/// # Examples
///
/// ```
/// # use std::{sync::Arc, time::SystemTime};
/// # use toolmeter_events::{
/// #     Drain, Draft, Filter, Hub, Moment, NameTable, Rings, Timeline, ToolId,
/// # };
/// # let rings = Arc::new(Rings::new(1, 1_024)?);
/// # let mut drain = Drain::new(&rings, 0);
/// # let hub = Hub::new(16, 16)?;
/// # let shell = ToolId::new(1);
/// # let names = Arc::new(NameTable::new([(shell, "shell")]));
/// # let moment = Moment::new(SystemTime::UNIX_EPOCH, 1_000);
/// # let timeline = Arc::new(Timeline::new(moment));
/// use toolmeter_events::TryRecvError;
///
/// let subscription = hub.subscribe(&rings, Filter::new(), None)?;
/// assert_eq!(subscription.try_recv().unwrap_err(), TryRecvError::Empty);
/// hub.close().wake();
/// assert_eq!(subscription.try_recv().unwrap_err(), TryRecvError::Disconnected);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TryRecvError {
    /// The queue is empty, and batches may still come.
    #[error("no batch of events waits")]
    Empty,
    /// The hub is closed, and every batch was received.
    #[error("no more events: the registry is closed and every batch was received")]
    Disconnected,
}

/// An error of [`Subscription::recv_timeout`](crate::Subscription::recv_timeout).
///
/// # Examples
///
/// ```
/// # use std::{sync::Arc, time::SystemTime};
/// # use toolmeter_events::{
/// #     Drain, Draft, Filter, Hub, Moment, NameTable, Rings, Timeline, ToolId,
/// # };
/// # let rings = Arc::new(Rings::new(1, 1_024)?);
/// # let mut drain = Drain::new(&rings, 0);
/// # let hub = Hub::new(16, 16)?;
/// # let shell = ToolId::new(1);
/// # let names = Arc::new(NameTable::new([(shell, "shell")]));
/// # let moment = Moment::new(SystemTime::UNIX_EPOCH, 1_000);
/// # let timeline = Arc::new(Timeline::new(moment));
/// use std::time::Duration;
/// use toolmeter_events::RecvTimeoutError;
///
/// let subscription = hub.subscribe(&rings, Filter::new(), None)?;
/// let error = subscription.recv_timeout(Duration::ZERO).unwrap_err();
/// assert_eq!(error, RecvTimeoutError::Timeout);
/// hub.close().wake();
/// let error = subscription.recv_timeout(Duration::ZERO).unwrap_err();
/// assert_eq!(error, RecvTimeoutError::Disconnected);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecvTimeoutError {
    /// No batch came in time.
    #[error("no batch of events came in time")]
    Timeout,
    /// The hub is closed, and every batch was received.
    #[error("no more events: the registry is closed and every batch was received")]
    Disconnected,
}
