//! [`Slab`]: the allocator of slots, which cuts them from zeroed chunks and reuses them.
//!
//! A slot takes tens of kilobytes of address space, of which a tool touches a page or two. So chunks
//! are requested zeroed, and of at least 33 MiB: the allocator then maps them from the operating
//! system, and a page that is never touched costs no memory. (Below 32 MiB, glibc may return a used
//! block and write the zeros itself, which makes every page resident.) Only the first chunk is
//! smaller: it has room for 64 tools.
//!
//! A slot is cleared before it is freed. Freed slots are used before new ones.

use std::sync::Arc;
use toolmeter_core::{Layout, Slot, Stripe, Word};

/// The number of slots in the first chunk, which is small so that a small host takes little memory.
const FIRST_SLOTS: usize = if cfg!(toolmeter_loom) { 1 } else { 64 };

/// The minimum size of all other chunks, in bytes.
const CHUNK_BYTES: usize = if cfg!(toolmeter_loom) { 1 } else { 33 << 20 };

/// The number of words in a cache line. Each slot begins a cache line.
const LINE_WORDS: usize = 8;

/// Zeroed words, from which slots are cut. It has cache lines of its own, since calls read it.
#[derive(Debug)]
#[repr(align(128))]
struct Chunk {
    words: Box<[Word]>,
}

/// The words of a slot. Its clones share them.
#[derive(Clone, Debug)]
pub(crate) struct SlotMemory {
    chunk: Arc<Chunk>,
    start: usize,
    layout: Layout,
}

impl SlotMemory {
    /// Returns the stripe of the slot for threads of this index.
    #[inline(always)]
    pub(crate) fn stripe(&self, index: usize) -> Stripe<'_> {
        let words = &self.chunk.words[self.start + self.layout.stripe_start(index)..];
        match Stripe::new(words, self.layout) {
            Ok(stripe) => stripe,
            Err(_) => unreachable!("the chunk has all words of its slots"),
        }
    }

    /// Returns the slot.
    pub(crate) fn slot(&self) -> Slot<'_> {
        let words = &self.chunk.words[self.start..self.start + self.layout.words()];
        match Slot::new(words, self.layout) {
            Ok(slot) => slot,
            Err(_) => unreachable!("the slice is as long as the layout says"),
        }
    }
}

/// The allocator of slots of one layout.
#[derive(Debug)]
pub(crate) struct Slab {
    layout: Layout,
    free: Vec<SlotMemory>,
    chunk: Option<Arc<Chunk>>,
    next: usize,
}

/// The error if the operating system gives no memory for another chunk.
#[derive(Debug)]
pub(crate) struct OutOfMemory;

impl Slab {
    pub(crate) fn new(layout: Layout) -> Self {
        Self {
            layout,
            free: Vec::new(),
            chunk: None,
            next: 0,
        }
    }

    /// Returns a slot, all zero: a freed one, or else a new one.
    pub(crate) fn take(&mut self) -> Result<SlotMemory, OutOfMemory> {
        match self.free.pop() {
            Some(memory) => Ok(memory),
            None => self.take_fresh(),
        }
    }

    /// Returns a slot that was never used.
    fn take_fresh(&mut self) -> Result<SlotMemory, OutOfMemory> {
        let words = self.layout.words();
        let chunk = match &self.chunk {
            Some(chunk) if self.next + words <= chunk.words.len() => Arc::clone(chunk),
            earlier => {
                let slots = if earlier.is_none() {
                    FIRST_SLOTS
                } else {
                    CHUNK_BYTES.div_ceil(words * size_of::<Word>())
                };
                let chunk = Arc::new(Chunk {
                    words: zeroed(slots * words + LINE_WORDS - 1)?,
                });
                self.next = to_line(&chunk.words);
                self.chunk.insert(chunk).clone()
            }
        };
        let start = self.next;
        self.next += words;
        Ok(SlotMemory {
            chunk,
            start,
            layout: self.layout,
        })
    }

    /// Frees a slot that no thread uses any more, and that was cleared.
    pub(crate) fn put_back(&mut self, memory: SlotMemory) {
        self.free.push(memory);
    }
}

/// Returns the number of words before the first one that begins a cache line.
///
/// If the allocator were asked for that alignment, std would write the zeros itself.
fn to_line(words: &[Word]) -> usize {
    words
        .as_ptr()
        .align_offset(LINE_WORDS * size_of::<Word>())
        .min(LINE_WORDS - 1)
}

#[cfg(not(any(toolmeter_loom, toolmeter_locked_word, not(target_has_atomic = "64"))))]
fn zeroed(words: usize) -> Result<Box<[Word]>, OutOfMemory> {
    bytemuck::allocation::try_zeroed_slice_box(words).map_err(|()| OutOfMemory)
}

/// Makes words one by one, since these are not plain integers.
#[cfg(any(toolmeter_loom, toolmeter_locked_word, not(target_has_atomic = "64")))]
fn zeroed(words: usize) -> Result<Box<[Word]>, OutOfMemory> {
    let mut filled = Vec::new();
    filled.try_reserve_exact(words).map_err(|_| OutOfMemory)?;
    filled.extend((0..words).map(|_| Word::new(0)));
    Ok(filled.into_boxed_slice())
}

#[cfg(all(test, not(toolmeter_loom)))]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const LAYOUT: Layout = match Layout::new(5, 48, 2) {
        Ok(layout) => layout,
        Err(_) => panic!("the layout is out of range"),
    };

    fn address(memory: &SlotMemory) -> usize {
        memory.chunk.words[memory.start..].as_ptr().addr()
    }

    #[test]
    fn slots_are_fresh_apart_and_begin_a_cache_line() {
        let mut slab = Slab::new(LAYOUT);
        let slots: Vec<_> = (0..200).map(|_| slab.take_fresh().unwrap()).collect();
        let mut starts: Vec<_> = slots.iter().map(address).collect();
        assert!(starts.iter().all(|start| start % 64 == 0));
        starts.sort_unstable();
        let bytes = LAYOUT.words() * size_of::<Word>();
        assert!(starts.windows(2).all(|pair| pair[1] - pair[0] >= bytes));
        assert!(slots.iter().all(|memory| memory.slot().entered() == 0));
    }

    #[test]
    fn later_chunks_are_mapped_by_the_operating_system() {
        let mut slab = Slab::new(LAYOUT);
        let slots: Vec<_> = (0..200).map(|_| slab.take_fresh().unwrap()).collect();
        let chunks: HashSet<_> = slots
            .iter()
            .map(|memory| memory.chunk.words.len() * size_of::<Word>())
            .collect();
        assert!(chunks.len() == 2 && chunks.iter().any(|bytes| *bytes >= CHUNK_BYTES));
    }

    #[test]
    fn a_freed_slot_is_handed_out_again_before_a_fresh_one() {
        let mut slab = Slab::new(LAYOUT);
        let memory = slab.take().unwrap();
        let start = address(&memory);
        slab.put_back(memory);
        let again = slab.take().unwrap();
        assert_eq!(address(&again), start);
        assert_ne!(address(&slab.take().unwrap()), start);
    }
}
