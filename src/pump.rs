//! [`Pump`]: the choice of the thread that makes the rounds of the pump (`pump_worker.rs`).

/// The choice of the thread that drains the events and publishes snapshots.
///
/// # Examples
///
/// ```
/// use toolmeter::Pump;
///
/// assert_eq!(Pump::default(), Pump::background());
/// assert_ne!(Pump::background(), Pump::manual());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pump {
    pub(crate) is_background: bool,
}

impl Pump {
    /// Returns the choice of a background thread, which delivers events within some milliseconds.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{Pump, Registry};
    ///
    /// let registry = Registry::builder().pump(Pump::background()).build()?;
    /// let events = registry.subscribe();
    /// registry.register("shell")?.start().succeed();
    /// assert!(!events.recv()?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn background() -> Self {
        Self {
            is_background: true,
        }
    }

    /// Returns the choice of the host's own threads. Events are delivered and snapshots published
    /// only when the host calls [`Registry::pump`](crate::Registry::pump).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use toolmeter::{ClockSource, ManualClock, Pump, Registry};
    ///
    /// let clock = ClockSource::Manual(Arc::new(ManualClock::new()));
    /// let registry = Registry::builder().clock(clock).pump(Pump::manual()).build()?;
    /// let events = registry.subscribe();
    /// registry.register("shell")?.start().succeed();
    /// assert!(events.try_recv().is_err());
    /// assert_eq!(registry.pump(), 2);
    /// assert_eq!(events.try_recv()?.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn manual() -> Self {
        Self {
            is_background: false,
        }
    }
}

impl Default for Pump {
    fn default() -> Self {
        Self::background()
    }
}
