//! [`Intervals`], cursors over what is new, and the reset.
//!
//! Both keep the last totals of every tool as a baseline (`totals.rs`), and report what was counted
//! since. So each call is on exactly one side of a baseline. Since totals only grow, cursors affect
//! neither each other nor a reset, nor the calls that run meanwhile. The sum of all intervals of a
//! cursor is what happened since it was made, whatever tools came and went.
//!
//! An interval that is read while a call ends may have the call's latency in its sum, while the next
//! interval has its count. Such an interval may have a sum without a count, and then it has no mean.

use crate::registry_state::RegistryState;
use crate::snapshot::Snapshot;
use crate::totals::Baselines;
use std::mem;
use std::sync::Arc;

/// A cursor that reads what is new since its last reading; see
/// [`Registry::intervals`](crate::Registry::intervals).
///
/// A cursor may outlive the registry, and then reads what the remaining handles count. The calls of
/// a tool that is gone are in the next interval, however late that is read. A cursor that is never
/// read costs only its own memory.
///
/// # Examples
///
/// ```
/// use toolmeter::Registry;
///
/// let registry = Registry::new();
/// let shell = registry.register("shell")?;
/// let (mut often, mut seldom) = (registry.intervals(), registry.intervals());
/// shell.start().succeed();
/// assert_eq!(often.read().tools["shell"].success(), 1);
/// shell.start().succeed();
/// assert_eq!(often.read().tools["shell"].success(), 1);
/// assert_eq!(seldom.read().tools["shell"].success(), 2);
/// # Ok::<(), toolmeter::RegisterError>(())
/// ```
#[derive(Debug)]
pub struct Intervals {
    registry: Arc<RegistryState>,
    baselines: Baselines,
}

impl Intervals {
    /// Creates a cursor whose first interval begins now.
    pub(crate) fn new(registry: Arc<RegistryState>) -> Self {
        let baselines = registry.totals().baselines();
        Self {
            registry,
            baselines,
        }
    }

    /// Returns what is new since the last reading, or since the cursor was made.
    ///
    /// `in_flight` is the number of all calls in flight now. The last error and the last latency
    /// are present only if they are new.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{ErrorKind, Registry};
    ///
    /// let registry = Registry::new();
    /// let shell = registry.register("shell")?;
    /// let mut intervals = registry.intervals();
    /// shell.start().fail(ErrorKind::Timeout, "killed");
    /// let running = shell.start();
    /// assert!(intervals.read().tools["shell"].last_error.is_some());
    ///
    /// let quiet = intervals.read();
    /// assert!(quiet.tools["shell"].last_error.is_none());
    /// assert_eq!(quiet.tools["shell"].in_flight, 1);
    /// running.succeed();
    /// # Ok::<(), toolmeter::RegisterError>(())
    /// ```
    #[must_use = "what it returns is not new any more"]
    pub fn read(&mut self) -> Snapshot {
        let totals = self.registry.totals();
        let next = totals.baselines();
        let before = mem::replace(&mut self.baselines, next);
        self.registry.snapshot_since(totals, &before)
    }
}

/// Replaces the baselines of a registry by its totals, and returns what was counted until now.
pub(crate) fn reset(registry: &RegistryState) -> Snapshot {
    loop {
        let before = registry.baselines.load_full();
        let totals = registry.totals();
        let next = Arc::new(totals.baselines());
        let replaced = registry.baselines.compare_and_swap(&before, next);
        if Arc::ptr_eq(&replaced, &before) {
            return registry.snapshot_since(totals, &before);
        }
        // Another thread has reset them meanwhile, and returned what was counted until then.
    }
}
