//! [`EventAccounting`]: the counts of a registry's events.

use crate::registry_state::RegistryState;
use crate::sync::Ordering;

/// The counts of a registry's events since it was built; see
/// [`Registry::event_accounting`](crate::Registry::event_accounting).
///
/// # Examples
///
/// ```
/// use toolmeter::Registry;
///
/// let registry = Registry::new();
/// let shell = registry.register("shell")?;
/// let _events = registry.subscribe();
/// shell.start().succeed();
/// registry.shutdown();
/// let events = registry.event_accounting();
/// assert_eq!((events.offered, events.lost_in_rings, events.drained), (2, 0, 2));
/// # Ok::<(), toolmeter::RegisterError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventAccounting {
    /// Events that calls offered to the rings.
    pub offered: u64,
    /// Events that found no room in their ring, or came after the registry was shut down.
    pub lost_in_rings: u64,
    /// Events taken out of the rings. The stats of each subscription show how many were delivered.
    pub drained: u64,
    /// Events that were delivered after younger ones, because their thread was held up.
    pub late: u64,
    /// Wakers of async receivers that panicked. No event is lost, but the receiver may not have
    /// been woken.
    pub waker_panics: u64,
    /// Wakers of async receivers that did not return within 100 ms while others waited. The wakers
    /// after them are called on other threads, of which there are 8 at most.
    pub stuck_wakers: u64,
    /// Rounds of the pump's thread that panicked. Anything but 0 is an error in toolmeter: please
    /// report it. The pump goes on, but the events of such a round may be lost.
    pub pump_panics: u64,
}

impl EventAccounting {
    pub(crate) fn of(registry: &RegistryState) -> Self {
        let late = registry.late.load(Ordering::Relaxed);
        let rings = registry.env.rings.accounting();
        Self {
            offered: rings.offered,
            lost_in_rings: rings.lost,
            drained: rings.drained,
            late,
            waker_panics: registry.hub.waker_panics(),
            stuck_wakers: registry.hub.stuck_wakers(),
            pump_panics: registry.pump_panics.load(Ordering::Relaxed),
        }
    }
}
