//! Tools that come and go: the one home of what happens between a tool's registration and the use
//! of its memory by another.
//!
//! Owns the retired tools, what departed, and the memory to be used again. Nothing that was
//! counted vanishes:
//!
//! 1. A deregistered tool is *retired*: its slot stays, since a handle may still count into it.
//! 2. When its last handle is gone, its final reading moves out of the slot into the tool map, by
//!    name: the tool has *departed*. A reader of the listing before reads the slot, one of the
//!    listing after reads the departed reading, and both see the same total.
//! 3. The slot's memory is *free* once no reader holds the slot any more. It is cleared then, by
//!    the one thread that owns it, and given to the next tool that is registered.
//!
//! A name that is registered again continues its counts in a new slot, or in its own if it had
//! not departed yet. So the total of a name only grows, and a baseline of it is good for ever: no
//! reader has to be waited for, and one that never reads costs nothing.
//!
//! Departed names are bounded by the tool limit. Beyond it they are added up, in each shard, to
//! one reading without a name. That happens in the same replacement of the listing in which the
//! name goes, so a reader counts the tool on one side.
//!
//! This work is done in small parts, by the pump in its rounds and by every registration: so it
//! goes on where the pump never runs, and never takes long where thousands of tools go at once.
//!
//! # Orderings
//!
//! | field | operation | ordering | pairs with | model |
//! | --- | --- | --- | --- | --- |
//! | `holders`, of a slot | `fetch_sub` when the state of a registration is dropped | `Release` | the load | `a_departed_tool_keeps_its_counts`, `a_departure_is_between_two_readings_or_in_one`, `a_name_may_come_back_while_it_departs` |
//! | `holders`, of a slot | `load` before a tool departs | `Acquire` | the subtraction: every call of its handles is in the final reading | the same three |
//! | `holders`, of a slot | `fetch_add` | `Relaxed` | made under the lock, as is the decision that a tool departs | |
//! | `retired`, `in_line`, of a slot | all | `Relaxed` | changed under the lock | |
//! | everything in [`Reclaim`] | behind the registry's lock | the lock's | | |
//! | the memory of a slot | cleared by its only owner | `Arc::try_unwrap`'s | the drop of the last reader's `Arc` | std's own |

use crate::handle::{ToolReading, ToolSlot};
use crate::slab::{OutOfMemory, Slab, SlotMemory};
use crate::sync::{self, Ordering};
use crate::tool_map::{Departed, ToolMap};
use std::collections::VecDeque;
use std::sync::Arc;
use toolmeter_core::Layout;
use toolmeter_events::{NameTable, Rings, ToolId};

/// How many tools are looked at while another is registered.
const LOOKED_AT_WITH_ONE: usize = 4;

/// How many rounds of the pump the name of a tool that became nameless stays known: its last
/// events are delivered by then.
const ROUNDS_OF_NAMES: u64 = 256;

/// What registering and freeing tools needs; behind the registry's lock.
#[derive(Debug)]
pub(crate) struct Reclaim {
    slab: Slab,
    next_id: u32,
    limit: usize,
    /// Registered and retired tools.
    visible: usize,
    /// Departed tools that have a name.
    departed: usize,
    /// Tools that were retired, in the order in which they are looked at; some may have been
    /// registered again since.
    retired: VecDeque<Arc<ToolSlot>>,
    /// Slots of departed tools, which a reader may still hold.
    read: VecDeque<Arc<ToolSlot>>,
    /// Tools that became nameless, and in which round of the pump.
    nameless: VecDeque<(u64, ToolId)>,
}

/// The names of all tools of which events may still come.
#[derive(Debug)]
pub(crate) struct Names {
    table: Arc<NameTable>,
    /// Rounds of the pump so far.
    rounds: u64,
    rings: sync::Arc<Rings>,
}

impl Names {
    pub(crate) fn new(rings: sync::Arc<Rings>) -> Self {
        Self {
            table: Arc::default(),
            rounds: 0,
            rings,
        }
    }

    /// Of how many tools that are gone events may be on their way: none without a subscription,
    /// else twice as many as the rings have room for, in the rings and in a round.
    fn needed(&self) -> usize {
        if self.rings.is_open() {
            2 * self.rings.capacity() * self.rings.stripes()
        } else {
            0
        }
    }

    /// The names as they are now. For the pump, once a round.
    pub(crate) fn of_round(&mut self) -> Arc<NameTable> {
        self.rounds += 1;
        Arc::clone(&self.table)
    }

    /// How many rounds took the table.
    #[cfg(all(test, not(toolmeter_loom)))]
    pub(crate) fn rounds(&self) -> u64 {
        self.rounds
    }

    pub(crate) fn insert(&mut self, slot: &ToolSlot) {
        Arc::make_mut(&mut self.table).insert(slot.id, Arc::clone(&slot.name));
    }
}

/// No id is left: more than four billion tools were registered.
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
            read: VecDeque::new(),
            nameless: VecDeque::new(),
        }
    }

    /// How many tools more may be visible.
    pub(crate) fn room(&self) -> usize {
        self.limit.saturating_sub(self.visible)
    }

    /// An id that no tool has.
    pub(crate) fn take_id(&mut self) -> Result<ToolId, IdsExhausted> {
        let id = ToolId::new(self.next_id);
        self.next_id = self.next_id.checked_add(1).ok_or(IdsExhausted)?;
        Ok(id)
    }

    /// Memory for a slot, all zero.
    pub(crate) fn take_memory(&mut self) -> Result<SlotMemory, OutOfMemory> {
        self.free(LOOKED_AT_WITH_ONE);
        self.slab.take()
    }

    /// Takes memory back that was taken and not used.
    pub(crate) fn put_back(&mut self, memory: SlotMemory) {
        self.slab.put_back(memory);
    }

    /// A tool was registered that was not visible before.
    pub(crate) fn registered(&mut self, was_departed: bool) {
        self.visible += 1;
        self.departed -= usize::from(was_departed);
    }

    /// A tool was retired.
    pub(crate) fn retired(&mut self, slot: Arc<ToolSlot>) {
        slot.retired.store(true, Ordering::Relaxed);
        if !slot.in_line.swap(true, Ordering::Relaxed) {
            self.retired.push_back(slot);
        }
    }

    /// Looks at some of the retired tools, after `registered` were registered.
    pub(crate) fn depart_some(&mut self, registered: usize, map: &ToolMap, names: &mut Names) {
        self.depart(LOOKED_AT_WITH_ONE.saturating_mul(registered), map, names);
    }

    /// Looks at all retired tools.
    pub(crate) fn depart_all(&mut self, map: &ToolMap, names: &mut Names) {
        self.depart(self.retired.len(), map, names);
    }

    /// Looks at `tools` of the retired tools, and lets those depart that no handle counts into.
    /// Returns how many departed.
    pub(crate) fn depart(&mut self, tools: usize, map: &ToolMap, names: &mut Names) -> usize {
        let mut departed = 0;
        for _ in 0..tools.min(self.retired.len()) {
            let Some(slot) = self.retired.pop_front() else {
                break;
            };
            if !slot.retired.load(Ordering::Relaxed) {
                // It was registered again.
                slot.in_line.store(false, Ordering::Relaxed);
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
                let left = Arc::new(Departed {
                    id: slot.id,
                    name: Arc::clone(&slot.name),
                    registered_at: slot.registered_at,
                    reading,
                    errors: slot.errors.load(),
                });
                map.depart(left);
            } else {
                map.depart_nameless(&slot, &reading);
                self.nameless.push_back((names.rounds, slot.id));
            }
            self.read.push_back(slot);
            departed += 1;
        }
        self.forget_names(names);
        self.free(departed + LOOKED_AT_WITH_ONE);
        departed
    }

    /// Forgets the names of tools whose last events were delivered long ago, or of which no event
    /// can be on its way.
    fn forget_names(&mut self, names: &mut Names) {
        while let Some(&(round, id)) = self.nameless.front()
            && (names.rounds >= round + ROUNDS_OF_NAMES || self.nameless.len() > names.needed())
        {
            Arc::make_mut(&mut names.table).remove(id);
            self.nameless.pop_front();
        }
    }

    /// Looks at `slots` of the slots of departed tools, and frees the memory of those that no
    /// reader holds.
    fn free(&mut self, slots: usize) {
        for _ in 0..slots.min(self.read.len()) {
            let Some(slot) = self.read.pop_front() else {
                break;
            };
            match Arc::try_unwrap(slot) {
                Ok(slot) => {
                    slot.memory.slot().clear();
                    self.slab.put_back(slot.memory);
                }
                // A reader that still holds it would otherwise see the calls of its next owner.
                Err(slot) => self.read.push_back(slot),
            }
        }
    }

    /// Whether tools wait to depart, or memory to be freed.
    pub(crate) fn has_work(&self) -> bool {
        !self.retired.is_empty() || !self.read.is_empty()
    }
}

/// Both readings added up.
pub(crate) fn sum(reading: &mut ToolReading, other: &ToolReading) {
    // A Vec is never full.
    let _ = reading.add(other);
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests {
    use crate::sync::lock;
    use crate::tool_map::Entry;
    use crate::{ClockSource, ManualClock, Pump, Registry};

    /// A reader is in the middle of the listing when the tool that it reads goes for good, and
    /// another is registered and called.
    #[test]
    fn memory_that_a_reader_holds_is_not_used_again() {
        let registry = Registry::builder()
            .clock(ClockSource::Manual(ManualClock::new().into()))
            .pump(Pump::manual())
            .stripes(1)
            .build()
            .unwrap();
        let shell = registry.register("shell").unwrap();
        for _ in 0..3 {
            shell.start().succeed();
        }
        registry.deregister("shell").unwrap();
        let mut shell = Some(shell);
        let mut read = Vec::new();
        registry.shared().tools.visit(|entry| {
            let Entry::Retired(slot) = entry else {
                return;
            };
            drop(shell.take());
            registry.pump();
            registry.pump();
            let other = registry.register("other").unwrap();
            other.start().succeed();
            read.push((&*slot.name == "shell", slot.total().started()));
        });
        assert_eq!(read, [(true, 3)]);
        let has_work = || lock(&registry.shared().registration).has_work();
        assert!(has_work(), "the reader held the memory");
        registry.pump();
        assert!(!has_work(), "no reader holds it");
        let metrics = registry.metrics();
        assert_eq!(metrics.tools["shell"].success(), 3);
        assert_eq!(metrics.tools["other"].success(), 1);
    }
}
