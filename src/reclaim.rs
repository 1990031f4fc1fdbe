//! [`Reclaim`]: the life of a slot from a tool's deregistration until another tool uses its memory.
//!
//! Nothing that was counted is lost:
//!
//! 1. A deregistered tool is *retired*. Its slot stays, since a handle may still count into it.
//! 2. When its last handle is gone, its final reading moves out of the slot into the tool map, under
//!    its name: the tool has *departed*. A reader of the old listing reads the slot, a reader of the
//!    new one reads the departed reading, and both see the same total.
//! 3. The slot's memory is *free* when no reader holds the slot any more. The thread that owns it
//!    then clears it, and the next tool that is registered gets it.
//!
//! A name that is registered again continues its counts: in a new slot, or in its own if it had not
//! departed yet. So the total of a name only grows, and every baseline of it stays valid. No thread
//! waits for a reader, and a cursor that is never read costs nothing.
//!
//! The number of departed names is bounded by the tool limit. Beyond it, the readings of a shard are
//! added up to one without a name. One replacement of the listing removes the name and adds the
//! reading, so a reader counts the tool once.
//!
//! The work is done in small parts, in the rounds of the pump and in every registration. So it is
//! done even if the pump never runs, and in short steps even if thousands of tools are
//! deregistered.
//!
//! # Orderings
//!
//! | field | operation | ordering | pairs with | model |
//! | --- | --- | --- | --- | --- |
//! | `holders`, of a slot | `fetch_sub` when the state of a registration is dropped | `Release` | the load | `a_departed_tool_keeps_its_counts`, `a_departure_is_between_two_readings_or_in_one`, `a_name_may_come_back_while_it_departs` |
//! | `holders`, of a slot | `load` before a tool departs | `Acquire` | the subtraction: every call of its handles is in the final reading | the same three |
//! | `holders`, of a slot | `fetch_add` | `Relaxed` | made under the lock, as is the decision that a tool departs | |
//! | `retired`, `in_queue`, of a slot | all | `Relaxed` | changed under the lock | |
//! | everything in [`Reclaim`] | behind the registration lock | the lock's | | |
//! | the memory of a slot | cleared by its only owner | `Arc::try_unwrap`'s | the drop of the last reader's `Arc` | std's own |

use crate::event_names::EventNames;
use crate::slab::{OutOfMemory, Slab, SlotMemory};
use crate::sync::Ordering;
use crate::tool_map::{Departed, ToolMap};
use crate::tool_slot::ToolSlot;
use std::collections::VecDeque;
use std::sync::Arc;
use toolmeter_core::Layout;
use toolmeter_events::ToolId;

/// The number of retired tools that each registration looks at.
const LOOKED_AT_BY_ONE: usize = 4;

/// The tools that are retired, the memory to be freed, and the ids; behind the registration lock.
#[derive(Debug)]
pub(crate) struct Reclaim {
    slab: Slab,
    next_id: u32,
    limit: usize,
    /// The number of registered and retired tools.
    visible: usize,
    /// The number of departed tools that have a name.
    departed: usize,
    /// Tools that were retired, in the order in which they are looked at. Some may have been
    /// registered again since.
    retired: VecDeque<Arc<ToolSlot>>,
    /// The slots of departed tools, which a reader may still hold.
    departed_slots: VecDeque<Arc<ToolSlot>>,
}

/// The error if no id is left: more than four billion tools were registered.
#[derive(Debug)]
pub(crate) struct IdsExhausted;

impl Reclaim {
    pub(crate) fn new(layout: Layout, limit: usize) -> Self {
        Self {
            slab: Slab::new(layout),
            next_id: 0,
            limit,
            visible: 0,
            departed: 0,
            retired: VecDeque::new(),
            departed_slots: VecDeque::new(),
        }
    }

    /// Returns the number of further tools that may be visible.
    pub(crate) fn room(&self) -> usize {
        self.limit.saturating_sub(self.visible)
    }

    /// Returns an id that no tool had.
    pub(crate) fn take_id(&mut self) -> Result<ToolId, IdsExhausted> {
        let id = ToolId::new(self.next_id);
        self.next_id = self.next_id.checked_add(1).ok_or(IdsExhausted)?;
        Ok(id)
    }

    /// Returns memory for a slot, all zero.
    pub(crate) fn take_memory(&mut self) -> Result<SlotMemory, OutOfMemory> {
        self.free(LOOKED_AT_BY_ONE);
        self.slab.take()
    }

    /// Takes back memory that was taken and not used.
    pub(crate) fn put_back(&mut self, memory: SlotMemory) {
        self.slab.put_back(memory);
    }

    /// Records that a tool was registered that was not visible before.
    pub(crate) fn count_registered(&mut self, was_departed: bool) {
        self.visible += 1;
        self.departed -= usize::from(was_departed);
    }

    /// Records that a tool was retired.
    pub(crate) fn retire(&mut self, slot: Arc<ToolSlot>) {
        slot.retired.store(true, Ordering::Relaxed);
        if !slot.in_queue.swap(true, Ordering::Relaxed) {
            self.retired.push_back(slot);
        }
    }

    /// Looks at some of the retired tools, after `registered` were registered.
    pub(crate) fn depart_some(&mut self, registered: usize, map: &ToolMap, names: &mut EventNames) {
        self.depart(LOOKED_AT_BY_ONE.saturating_mul(registered), map, names);
    }

    /// Looks at all retired tools.
    pub(crate) fn depart_all(&mut self, map: &ToolMap, names: &mut EventNames) {
        self.depart(self.retired.len(), map, names);
    }

    /// Looks at `tools` of the retired tools, and makes those depart that have no handle. Returns
    /// the number that departed.
    pub(crate) fn depart(&mut self, tools: usize, map: &ToolMap, names: &mut EventNames) -> usize {
        let mut departed = 0;
        for _ in 0..tools.min(self.retired.len()) {
            let Some(slot) = self.retired.pop_front() else {
                break;
            };
            if !slot.retired.load(Ordering::Relaxed) {
                // It was registered again.
                slot.in_queue.store(false, Ordering::Relaxed);
                continue;
            }
            if !slot.is_released() {
                self.retired.push_back(slot);
                continue;
            }
            let reading = Arc::new(slot.total());
            self.visible -= 1;
            if self.departed < self.limit {
                self.departed += 1;
                map.depart(Arc::new(Departed {
                    id: slot.id,
                    name: Arc::clone(&slot.name),
                    registered_at: slot.registered_at,
                    reading,
                    errors: slot.errors.load(),
                }));
            } else {
                map.depart_nameless(&slot, &reading);
                names.forget_later(slot.id);
            }
            self.departed_slots.push_back(slot);
            departed += 1;
        }
        names.forget_old();
        self.free(departed + LOOKED_AT_BY_ONE);
        departed
    }

    /// Looks at `slots` of the slots of departed tools, and frees the memory of those that no reader
    /// holds.
    fn free(&mut self, slots: usize) {
        for _ in 0..slots.min(self.departed_slots.len()) {
            let Some(slot) = self.departed_slots.pop_front() else {
                break;
            };
            match Arc::try_unwrap(slot) {
                Ok(slot) => {
                    slot.memory.slot().clear();
                    self.slab.put_back(slot.memory);
                }
                // A reader still holds the slot, and would see the calls of the next tool.
                Err(slot) => self.departed_slots.push_back(slot),
            }
        }
    }

    /// Returns whether tools wait to depart, or memory waits to be freed.
    pub(crate) fn has_work(&self) -> bool {
        !self.retired.is_empty() || !self.departed_slots.is_empty()
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
