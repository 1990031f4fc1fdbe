//! The counts of one subscription.
//!
//! Invariant: `drained = delivered + filtered + lost`. The counts of a round are added together
//! under a lock, so no reader sees half of a round.
//!
//! # Orderings
//!
//! None: the counts are behind a lock.

use crate::sync::{Mutex, lock};
use std::{fmt, sync::Arc};

/// The counts of one subscription, over the events drained while it existed.
///
/// Counted in events. At every moment, `drained = delivered + filtered + lost`.
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
/// use toolmeter_events::EventKind;
///
/// let failures = Filter::new().kinds([EventKind::Failed]);
/// let subscription = hub.subscribe(&rings, failures, None)?;
/// rings.offer(0, Draft::started(shell, 1, 500, None), None);
/// hub.fan_out(drain.round(|| 1_000), &names, &timeline, moment).wake();
/// let stats = subscription.stats();
/// assert_eq!((stats.drained, stats.filtered), (1, 1));
/// assert_eq!(stats.drained, stats.delivered + stats.filtered + stats.lost);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriptionStats {
    /// Events that were drained from the rings while the subscription existed.
    pub drained: u64,
    /// Of these, the events put into its queue, whether or not they have been received.
    pub delivered: u64,
    /// Of these, the events that its filter did not want, or that were offered before it began.
    pub filtered: u64,
    /// Of these, the events lost because its queue was full.
    pub lost: u64,
    /// Of those delivered, the events older than the newest event of an earlier round.
    pub late: u64,
}

/// A handle that reads the [`SubscriptionStats`] of a subscription, even after it was dropped.
///
/// Returned by [`Subscription::stats_handle`](crate::Subscription::stats_handle).
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
/// let subscription = hub.subscribe(&rings, Filter::new(), None)?;
/// let stats = subscription.stats_handle();
/// rings.offer(0, Draft::started(shell, 1, 500, None), None);
/// hub.fan_out(drain.round(|| 1_000), &names, &timeline, moment).wake();
/// drop(subscription);
/// assert_eq!(stats.read().delivered, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct StatsHandle(Arc<Mutex<SubscriptionStats>>);

impl StatsHandle {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(SubscriptionStats::default())))
    }

    /// Returns the counts as of the last round that was handed out.
    #[must_use]
    pub fn read(&self) -> SubscriptionStats {
        *lock(&self.0)
    }

    /// Adds the counts of one round.
    pub(crate) fn add(&self, counts: SubscriptionStats) {
        let mut stats = lock(&self.0);
        stats.drained += counts.drained;
        stats.delivered += counts.delivered;
        stats.filtered += counts.filtered;
        stats.lost += counts.lost;
        stats.late += counts.late;
    }
}

impl fmt::Debug for StatsHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StatsHandle").field(&self.read()).finish()
    }
}
