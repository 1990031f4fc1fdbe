//! Subscribers that live for the whole run: the events that each received, counted as they came.
//!
//! | who | wants | reads | so |
//! | --- | --- | --- | --- |
//! | fast | all | at once, from a long queue | loses nothing; all others are compared with it |
//! | failures | failures | at once, from a long queue | loses nothing |
//! | retries | retries | now and then, from a short queue | loses much |
//! | slow | all | now and then, from a short queue | loses much |
//! | dead | all | never while the load lasts | loses nearly all |
//!
//! A subscriber learns what it lost with the next batch. So once all is at rest and the queues are empty, one
//! more call, the bell, makes every account complete.

use crate::host::{Host, Received};
use crate::tools::{self, TOOLS};
use crate::window::{CallWindow, Order};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;
use toolmeter::{Batch, ErrorKind, EventKind, Filter, RecvTimeoutError, StatsHandle};
use toolmeter::{SubscribeError, Subscription};

/// As long as a queue can be: several seconds of batches.
const LONG_QUEUE: usize = 65_536;
/// Room for the events of the bell, in two batches at most.
const SHORT_QUEUE: usize = 2;

/// The number of events out of order that are shown, of each subscriber.
const MOST_TOLD: u64 = 3;

/// The ways in which a subscriber receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    /// Reads everything at once.
    Fast,
    /// Reads failures at once.
    Failures,
    /// Reads retries now and then.
    Retries,
    /// Reads now and then.
    Slow,
    /// Never reads while the load lasts.
    Dead,
}

impl Listener {
    /// All variants.
    pub(crate) const ALL: [Self; 5] = [
        Self::Fast,
        Self::Failures,
        Self::Retries,
        Self::Slow,
        Self::Dead,
    ];

    /// Returns its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Failures => "failures",
            Self::Retries => "retries",
            Self::Slow => "slow",
            Self::Dead => "dead",
        }
    }

    /// Subscribes.
    ///
    /// # Errors
    ///
    /// None, as the queues are within their limits.
    pub(crate) fn subscribe(self, host: &Host) -> Result<Subscription, SubscribeError> {
        let filter = match self {
            Self::Failures => Filter::new().kinds([EventKind::Failed]),
            Self::Retries => Filter::new().retries_only(),
            Self::Fast | Self::Slow | Self::Dead => Filter::new(),
        };
        let queue = match self {
            Self::Fast | Self::Failures => LONG_QUEUE,
            Self::Retries | Self::Slow | Self::Dead => SHORT_QUEUE,
        };
        host.registry.subscribe_with(filter, Some(queue))
    }

    /// Makes callers wait for this subscriber, if it must not lose anything.
    pub(crate) fn follow(self, host: &Host, subscription: &Subscription) -> Option<Received> {
        let is_followed = matches!(self, Self::Fast | Self::Failures);
        is_followed.then(|| host.follow(subscription.stats_handle()))
    }

    /// Receives until there is nothing more. At `bell` it waits once, with an empty queue, for
    /// all others and for the bell.
    pub(crate) fn listen(
        self,
        host: &Host,
        subscription: &Subscription,
        received: Option<&Received>,
        bell: &Barrier,
    ) -> Heard {
        let mut heard = Heard::new(self, subscription.stats_handle());
        let mut has_waited = false;
        if self == Self::Dead {
            while !host.is_quiet() {
                thread::sleep(Duration::from_millis(5));
            }
        }
        loop {
            // This is read first: if no event comes afterwards, none of the load is left.
            let is_quiet = host.is_quiet();
            match subscription.recv_timeout(Duration::from_millis(20)) {
                Ok(batch) => {
                    heard.take(&batch);
                    if let Some(received) = received {
                        received.set(heard.events());
                    }
                }
                Err(RecvTimeoutError::Timeout) if is_quiet && !has_waited => {
                    bell.wait();
                    has_waited = true;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(_) => return heard,
            }
            if matches!(self, Self::Retries | Self::Slow) && !is_quiet {
                thread::sleep(Duration::from_millis(3));
            }
        }
    }
}

/// The events that one subscriber received.
#[derive(Debug)]
pub(crate) struct Heard {
    /// The subscriber.
    pub(crate) listener: Listener,
    /// The statistics of its subscription.
    pub(crate) stats: StatsHandle,
    /// Events of each tool and kind.
    pub(crate) kinds: [[u64; EventKind::ALL.len()]; TOOLS],
    /// Failures of each tool and kind.
    pub(crate) errors: [[u64; ErrorKind::COUNT]; TOOLS],
    /// Events of retries.
    pub(crate) retries: u64,
    /// The events that were reported to it as lost.
    pub(crate) told_lost: u64,
    /// Events older than the newest of an earlier batch.
    pub(crate) late: u64,
    /// Events whose batch had no name for their tool.
    pub(crate) unnamed: u64,
    /// Second starts, second ends, and starts after the end.
    pub(crate) out_of_order: u64,
    /// Events of calls so old that their order was not checked.
    pub(crate) forgotten: u64,
    newest_ns: u64,
    window: CallWindow,
}

impl Heard {
    fn new(listener: Listener, stats: StatsHandle) -> Self {
        Self {
            listener,
            stats,
            kinds: [[0; EventKind::ALL.len()]; TOOLS],
            errors: [[0; ErrorKind::COUNT]; TOOLS],
            retries: 0,
            told_lost: 0,
            late: 0,
            unnamed: 0,
            out_of_order: 0,
            forgotten: 0,
            newest_ns: 0,
            window: CallWindow::new(),
        }
    }

    /// Returns the number of events received.
    pub(crate) fn events(&self) -> u64 {
        self.kinds.as_flattened().iter().sum::<u64>() + self.unnamed
    }

    /// Returns the number of events of this kind.
    pub(crate) fn of_kind(&self, kind: EventKind) -> u64 {
        self.kinds.iter().map(|tool| tool[kind as usize]).sum()
    }

    fn take(&mut self, batch: &Batch) {
        self.told_lost += batch.lost_before();
        let newest_before = self.newest_ns;
        for event in batch {
            self.late += u64::from(event.time_ns() < newest_before);
            self.newest_ns = self.newest_ns.max(event.time_ns());
            self.retries += u64::from(event.is_retry());
            match self.window.see(event) {
                Order::Right => {}
                Order::Wrong(what) => {
                    self.out_of_order += 1;
                    if self.out_of_order <= MOST_TOLD {
                        eprintln!("soak: {}: {what}: {event:?}", self.listener.name());
                    }
                }
                Order::Forgotten => self.forgotten += 1,
            }
            let Some(tool) = batch.name(event.tool()).and_then(tools::place) else {
                self.unnamed += 1;
                continue;
            };
            self.kinds[tool][event.kind() as usize] += 1;
            if let Some(kind) = event.error_kind() {
                self.errors[tool][kind.index()] += 1;
            }
        }
    }
}
