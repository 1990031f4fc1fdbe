//! The wakeups after a round, and after the hub was closed, to be done once no lock is held.
//!
//! # Orderings
//!
//! None.

use crate::{async_receivers::AsyncReceivers, waker_threads::WakerThreads};
use std::{fmt, mem, sync::Arc};

/// The async receivers to be woken after a round, or after the hub was closed.
///
/// Returned by [`Hub::fan_out`](crate::Hub::fan_out) and [`Hub::close`](crate::Hub::close). Call
/// [`wake`](Self::wake) once no lock is held that a waker might take. Dropping it wakes them too.
///
/// # Examples
///
/// ```
/// # use std::sync::{Arc, Mutex};
/// # use toolmeter_events::Hub;
/// let state = Mutex::new(0);
/// let hub = Hub::new(16, 16)?;
/// let guard = state.lock();
/// let wakeups = hub.close();
/// drop(guard);
/// wakeups.wake();
/// # Ok::<(), toolmeter_events::HubError>(())
/// ```
#[must_use = "receivers are woken when this is dropped, maybe under a lock that a waker wants"]
pub struct Wakeups {
    receivers: Vec<Arc<AsyncReceivers>>,
    /// Set if the hub was closed, so that these are the last.
    at_close: bool,
    waker_threads: Arc<WakerThreads>,
}

impl Wakeups {
    /// Creates the wakeups of a round.
    pub(crate) const fn new(
        receivers: Vec<Arc<AsyncReceivers>>,
        waker_threads: Arc<WakerThreads>,
    ) -> Self {
        Self {
            receivers,
            at_close: false,
            waker_threads,
        }
    }

    /// Creates the wakeups of a hub that was closed.
    pub(crate) const fn at_close(
        receivers: Vec<Arc<AsyncReceivers>>,
        waker_threads: Arc<WakerThreads>,
    ) -> Self {
        Self {
            receivers,
            at_close: true,
            waker_threads,
        }
    }

    /// Wakes the receivers.
    ///
    /// Does not wait for the wakers: they are called on threads of their own. (If no thread can be
    /// started, they are called here.)
    pub fn wake(self) {
        drop(self);
    }
}

impl Drop for Wakeups {
    fn drop(&mut self) {
        if self.at_close || !self.receivers.is_empty() {
            self.waker_threads
                .wake(mem::take(&mut self.receivers), self.at_close);
        }
    }
}

impl fmt::Debug for Wakeups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wakeups")
            .field("subscriptions", &self.receivers.len())
            .finish_non_exhaustive()
    }
}
