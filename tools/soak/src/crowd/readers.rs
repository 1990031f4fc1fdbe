//! The threads that reset, read and listen.

use super::counts::Read;
use super::stage::Stage;
use crate::counts::Tally;
use std::collections::VecDeque;
use std::thread;
use std::time::Duration;
use toolmeter::{Intervals, Subscription};

/// The number of cursors that exist at once and are never read.
const UNREAD: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Watched {
    pub(super) went_back: u64,
    pub(super) listed: u64,
    pub(super) unread: u64,
}

#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) received: u64,
    pub(super) lost: u64,
    pub(super) unnamed: u64,
}

impl Stage {
    pub(super) fn reset(&self) -> Read {
        let mut read = Read::default();
        while !self.is_over() {
            read.add(&self.registry.reset_metrics());
            thread::sleep(Duration::from_millis(7));
        }
        read
    }

    pub(super) fn read(&self, mut cursor: Intervals) -> (Read, Intervals) {
        let mut read = Read::default();
        while !self.is_over() {
            read.add(&cursor.read());
            thread::sleep(Duration::from_millis(3));
        }
        (read, cursor)
    }

    /// Makes cursors that it never reads, and reads the totals and the running calls.
    pub(super) fn watch(&self) -> Watched {
        let mut watched = Watched::default();
        let mut cursors = VecDeque::new();
        let running = self.registry.running_calls();
        let mut before = Tally::default();
        while !self.is_over() {
            cursors.push_back(self.registry.intervals());
            if cursors.len() > UNREAD {
                cursors.pop_front();
                watched.unread += 1;
            }
            let mut totals = Read::default();
            totals.add(&self.registry.totals());
            let now = totals.sum();
            watched.went_back += before.excess(&now);
            before = now;
            watched.listed += running.list().calls.len() as u64;
            thread::sleep(Duration::from_millis(5));
        }
        watched
    }
}

impl Heard {
    pub(super) fn listen(subscription: &Subscription) -> Self {
        let mut heard = Self::default();
        for batch in subscription.iter() {
            heard.received += batch.len() as u64;
            for event in &batch {
                heard.unnamed += u64::from(batch.name(event.tool()).is_none());
            }
        }
        heard.lost = subscription.stats().lost;
        heard
    }
}
