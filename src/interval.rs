//! Reading only what is new: interval cursors, and the reset.
//!
//! Both keep the last totals of every tool as a baseline and report what is beyond them. A call
//! is therefore counted on exactly one side of each baseline, and as totals only grow, cursors
//! disturb neither each other nor a reset, nor the calls that run meanwhile. All intervals of a
//! cursor added up are what happened since it was made, whichever tools came and went.
//!
//! While calls finish, an interval may hold the latency of a call, in its sum, whose count the
//! next one holds: such an interval can have a sum and no count, and then it has no mean.

use crate::registry::Registry;
use crate::registry_state::{Baselines, RegistryState};
use crate::snapshot::Snapshot;
use std::sync::Arc;

/// A cursor that reads what is new since its last reading; see [`Registry::intervals`].
///
/// It may outlive the registry, and then reads what the handles that are left count. No tool
/// waits for it: the interval in which a tool's last call ended shows it, however late it is read,
/// and a cursor that is never read costs nothing but its own memory.
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
    shared: Arc<RegistryState>,
    baselines: Baselines,
}

impl Registry {
    /// Creates a cursor whose first interval begins now.
    ///
    /// Any number of cursors read independently of each other and of
    /// [`reset_metrics`](Self::reset_metrics).
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::Registry;
    ///
    /// let registry = Registry::new();
    /// let shell = registry.register("shell")?;
    /// shell.start().succeed();
    /// let mut intervals = registry.intervals();
    /// shell.start().succeed();
    /// shell.start().succeed();
    /// assert_eq!(intervals.read().tools["shell"].success(), 2);
    /// assert_eq!(intervals.read().tools["shell"].success(), 0);
    /// assert_eq!(registry.metrics().tools["shell"].success(), 3);
    /// # Ok::<(), toolmeter::RegisterError>(())
    /// ```
    #[must_use]
    pub fn intervals(&self) -> Intervals {
        let shared = Arc::clone(self.shared());
        let baselines = shared.totals().baselines();
        Intervals { shared, baselines }
    }

    /// Starts counting from zero, and hands back what was counted until now.
    ///
    /// Every call is counted either in what this returns or in what
    /// [`metrics`](Self::metrics) shows from now on, never in both. Calls in flight stay in
    /// flight and are counted when they end. All tools are reset at once: no snapshot sees some
    /// of them reset and others not.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::Registry;
    ///
    /// let registry = Registry::new();
    /// let shell = registry.register("shell")?;
    /// shell.start().succeed();
    /// let running = shell.start();
    /// let cleared = registry.reset_metrics();
    /// assert_eq!(cleared.tools["shell"].success(), 1);
    /// assert_eq!(registry.metrics().tools["shell"].in_flight, 1);
    /// running.succeed();
    /// assert_eq!(registry.metrics().tools["shell"].success(), 1);
    /// # Ok::<(), toolmeter::RegisterError>(())
    /// ```
    #[allow(
        clippy::must_use_candidate,
        reason = "many callers only want to start from zero"
    )]
    pub fn reset_metrics(&self) -> Snapshot {
        let shared = self.shared();
        loop {
            let before = shared.baselines.load_full();
            let totals = shared.totals();
            let next = Arc::new(totals.baselines());
            let replaced = shared.baselines.compare_and_swap(&before, next);
            if Arc::ptr_eq(&replaced, &before) {
                return shared.difference(totals, &before);
            }
            // Another thread has reset them meanwhile, and handed back what was counted until then.
        }
    }
}

impl Intervals {
    /// Returns what is new since the last reading, or since the cursor was made.
    ///
    /// Calls in flight are all that are in flight now. The last error and the last latency show
    /// only if they are new.
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
        let totals = self.shared.totals();
        let next = totals.baselines();
        let before = std::mem::replace(&mut self.baselines, next);
        self.shared.difference(totals, &before)
    }
}
