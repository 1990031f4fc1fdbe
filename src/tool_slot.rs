//! [`ToolSlot`]: the counters of a tool, with its name, its id and its last errors.
//!
//! A slot outlives the registration: it stays visible as long as a handle counts into it. `holders`
//! is 0 when no handle is left.
//!
//! # Orderings
//!
//! `holders` is ordered with what its handles counted: see `reclaim.rs`, which reads it. `enabled`
//! is relaxed and orders nothing; `retired` and `in_queue` are changed under the registration lock.

use crate::last_error::{ErrorRecords, KeptErrors};
use crate::slab::SlotMemory;
use crate::sync::{AtomicBool, AtomicUsize, Ordering};
use crossbeam_utils::CachePadded;
use std::sync::Arc;
use std::time::SystemTime;
use toolmeter_core::Reading;
use toolmeter_core::reading::BucketCount;
use toolmeter_events::ToolId;

/// A reading as the facade keeps it.
pub(crate) type ToolReading = Reading<Vec<BucketCount>>;

/// The counters and the identity of one tool.
///
/// It is kept as long as a handle counts into it or a reader reads it. It has cache lines of its
/// own (see `tool_state.rs`).
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct ToolSlot {
    pub(crate) id: ToolId,
    pub(crate) name: Arc<str>,
    /// The time when the name was registered for the first time.
    pub(crate) registered_at: SystemTime,
    pub(crate) memory: SlotMemory,
    /// The counts of the name from before it got this memory.
    before: Option<Arc<ToolReading>>,
    /// Padded, since failures write it and calls read what lies beside it.
    pub(crate) errors: CachePadded<KeptErrors>,
    /// True if calls by name are enabled.
    enabled: AtomicBool,
    /// The number of registrations that count into it and still have a handle.
    holders: AtomicUsize,
    /// True if the tool is retired. Changed under the registration lock.
    pub(crate) retired: AtomicBool,
    /// True if the tool is in the queue of retired tools. Changed under the registration lock.
    pub(crate) in_queue: AtomicBool,
}

impl ToolSlot {
    /// Creates the slot of a name that was never registered.
    pub(crate) fn new(
        id: ToolId,
        name: Arc<str>,
        registered_at: SystemTime,
        memory: SlotMemory,
    ) -> Self {
        Self::continuing(id, name, registered_at, memory, None, None)
    }

    /// Creates the slot of a name under which calls were counted before.
    pub(crate) fn continuing(
        id: ToolId,
        name: Arc<str>,
        registered_at: SystemTime,
        memory: SlotMemory,
        before: Option<Arc<ToolReading>>,
        errors: Option<Arc<ErrorRecords>>,
    ) -> Self {
        Self {
            id,
            name,
            registered_at,
            memory,
            before,
            errors: CachePadded::new(KeptErrors::new(errors)),
            enabled: AtomicBool::new(true),
            holders: AtomicUsize::new(0),
            retired: AtomicBool::new(false),
            in_queue: AtomicBool::new(false),
        }
    }

    /// Reads all that was ever counted under the name.
    pub(crate) fn total(&self) -> ToolReading {
        let mut reading = ToolReading::default();
        // A Vec is never full.
        let _ = self.memory.slot().read(&mut reading);
        match &self.before {
            None => reading,
            Some(before) => {
                // In this order: of two failures, or two ends, of the same time the slot's is the
                // later one.
                let mut total = ToolReading::clone(before);
                let _ = total.add(&reading);
                total
            }
        }
    }

    /// Returns the number of calls that were started or rejected under the name.
    ///
    /// This reads no other counter. If it has not changed since a reading that found no call in
    /// flight, nothing was counted since.
    pub(crate) fn entered(&self) -> u64 {
        let before = self
            .before
            .as_ref()
            .map_or(0, |before| before.started().wrapping_add(before.rejected()));
        before.wrapping_add(self.memory.slot().entered())
    }

    /// Returns whether no handle is left.
    ///
    /// Nothing is counted then unless the tool is registered again, and the caller sees all that
    /// was counted.
    pub(crate) fn is_released(&self) -> bool {
        self.holders.load(Ordering::Acquire) == 0
    }

    /// Adds a registration. The caller holds the registration lock.
    pub(crate) fn hold(&self) {
        self.holders.fetch_add(1, Ordering::Relaxed);
        self.enabled.store(true, Ordering::Relaxed);
        self.retired.store(false, Ordering::Relaxed);
    }

    /// Removes a registration whose last handle is gone.
    pub(crate) fn release(&self) {
        self.holders.fetch_sub(1, Ordering::Release);
    }

    pub(crate) fn set_enabled(&self, enabled: bool) {
        self.enabled.store(enabled, Ordering::Relaxed);
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Relaxed)
    }
}
