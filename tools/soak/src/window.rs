//! A check that the events of each call come once and in order. Its memory does not grow.
//!
//! A call is identified by a stripe and a ticket of that stripe. Tickets only grow. So it is enough
//! to remember two bits for each of the last [`CALLS`] tickets of a stripe: whether the start and
//! whether the end of that call was seen.

use crate::host::STRIPES;
use toolmeter::{Event, EventKind};

/// The number of calls of a stripe that are remembered.
const CALLS: u64 = 1 << 18;
/// The calls in a word of bits.
const WORD: u64 = 64;

/// The finding about the order of a call's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// It is the start, and nothing of its call came before; or the end, and none came before.
    Right,
    /// A second start, a second end, or a start after the end.
    Wrong(&'static str),
    /// The call is too old to be remembered.
    Forgotten,
}

/// The calls seen lately.
#[derive(Debug)]
pub(crate) struct CallWindow([Lane; STRIPES]);

#[derive(Debug)]
struct Lane {
    /// One above the highest ticket seen.
    end: u64,
    started: Box<[u64]>,
    ended: Box<[u64]>,
}

impl CallWindow {
    /// Creates an empty window. The bits are cleared as tickets enter. They are set at first, so
    /// that their memory is resident from the start.
    pub(crate) fn new() -> Self {
        let bits = || vec![u64::MAX; (CALLS / WORD) as usize].into_boxed_slice();
        Self([(); STRIPES].map(|()| Lane {
            end: 0,
            started: bits(),
            ended: bits(),
        }))
    }

    /// Remembers an event.
    pub(crate) fn see(&mut self, event: &Event) -> Order {
        let (stripe, ticket) = (event.call().stripe(), event.call().ticket());
        self.0[stripe].see(ticket, event.kind() == EventKind::Started)
    }
}

impl Lane {
    fn see(&mut self, ticket: u64, is_start: bool) -> Order {
        for entering in self.end.max((ticket + 1).saturating_sub(CALLS))..=ticket {
            let (word, bit) = place(entering);
            self.started[word] &= !bit;
            self.ended[word] &= !bit;
        }
        self.end = self.end.max(ticket + 1);
        if ticket + CALLS < self.end {
            return Order::Forgotten;
        }
        let (word, bit) = place(ticket);
        let (started, ended) = (self.started[word] & bit != 0, self.ended[word] & bit != 0);
        match (is_start, started, ended) {
            (true, true, _) => return Order::Wrong("a second start"),
            (true, _, true) => return Order::Wrong("a start after its end"),
            (false, _, true) => return Order::Wrong("a second end"),
            _ => {}
        }
        if is_start {
            self.started[word] |= bit;
        } else {
            self.ended[word] |= bit;
        }
        Order::Right
    }
}

const fn place(ticket: u64) -> (usize, u64) {
    let place = ticket % CALLS;
    ((place / WORD) as usize, 1 << (place % WORD))
}
