//! [`Published`]: the snapshot that the pump published last, borrowed.
//!
//! A reader borrows it from an arc-swap cell and waits for no thread. What it borrowed stays as it
//! is while newer snapshots are published.

use crate::snapshot::Snapshot;
use crate::swap::Guard;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// The snapshot that was published last; see [`Registry::published`](crate::Registry::published).
///
/// It borrows the snapshot: hold it for one report only. To keep the snapshot longer, call
/// [`into_arc`](Self::into_arc).
///
/// # Examples
///
/// ```
/// use toolmeter::{Pump, Registry};
///
/// let registry = Registry::builder().pump(Pump::manual()).build()?;
/// registry.register("shell")?;
/// registry.publish();
/// let published = registry.published();
/// assert!(published.tools.contains_key("shell"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Published(pub(crate) Guard<Arc<Snapshot>>);

impl Published {
    /// Returns the snapshot, to keep it.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{Pump, Registry};
    ///
    /// let registry = Registry::builder().pump(Pump::manual()).build()?;
    /// let shell = registry.register("shell")?;
    /// registry.publish();
    /// let kept = registry.published().into_arc();
    /// shell.start().succeed();
    /// registry.publish();
    /// assert_eq!(kept.tools["shell"].success(), 0);
    /// assert_eq!(registry.published().tools["shell"].success(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn into_arc(self) -> Arc<Snapshot> {
        Guard::into_inner(self.0)
    }
}

impl Deref for Published {
    type Target = Snapshot;

    #[inline]
    fn deref(&self) -> &Snapshot {
        &self.0
    }
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
