//! A host with hostile code and receivers. The registry runs its redactor, its wakers and the
//! bodies of its tools, and they panic, take long, or call back.
//!
//! None of it changes a count or loses an event: the expected counts equal the metrics, and a subscriber
//! that reads at once receives all. It is shut down while some wakers have not returned.

use crate::bodies::{self, Census};
use crate::counts::Counts;
use crate::did::Did;
use crate::foreign::{COMING_AND_GOING, Foreign};
use crate::halting::{Halted, Halting};
use crate::host::Host;
use crate::redactors;
use crate::roomy::{self, Others, Roomy, Warm};
use crate::wakers::{self, HOLDING, Hold, Visits};
use std::error::Error;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use toolmeter::{EventAccounting, Intervals};

/// The number of threads that receive with hostile wakers, one waker after the other.
const VISITORS: u64 = 2;
/// The longest time until the last waker is counted.
const REST: Duration = Duration::from_secs(20);

/// The host at work.
pub(crate) struct Rude {
    roomy: Roomy,
    foreign: Arc<Foreign>,
    census: Arc<Census>,
    hold: Arc<Hold>,
    cursor: Intervals,
    bodies: Vec<JoinHandle<Counts>>,
    looker: JoinHandle<u64>,
    visitors: Vec<JoinHandle<Visits>>,
    holders: Vec<JoinHandle<Visits>>,
    halting: Vec<JoinHandle<Halted>>,
}

/// The counts of this host, at rest.
#[derive(Debug)]
pub(crate) struct Counted {
    /// The counts as on any host that loses nothing.
    pub(crate) roomy: roomy::Counted,
    /// The sum of what the cursor read.
    pub(crate) cursor: Counts,
    /// The findings of receivers with hostile wakers.
    pub(crate) visits: Visits,
    /// The findings of receivers that stop half way.
    pub(crate) halted: Vec<Halted>,
    /// The registry's account of wakers.
    pub(crate) events: EventAccounting,
    /// Bodies that were made, and that were dropped.
    pub(crate) bodies: [u64; 2],
    /// Messages that did not go through the redactor.
    pub(crate) strange_messages: u64,
    /// Messages that were seen.
    pub(crate) messages: u64,
}

impl Rude {
    /// Creates the host.
    ///
    /// # Errors
    ///
    /// If it cannot be set up.
    pub(crate) fn warm() -> Result<(Warm, Arc<Foreign>), Box<dyn Error>> {
        let foreign = Arc::new(Foreign::default());
        let redacting = Arc::clone(&foreign);
        let builder = Host::builder();
        let builder = builder.redact_errors(move |text| redactors::redact(&redacting, text));
        Ok((Warm::up(builder)?, foreign))
    }

    /// Starts the load.
    ///
    /// # Errors
    ///
    /// If it cannot be set up.
    pub(crate) fn start((warm, foreign): (Warm, Arc<Foreign>)) -> Result<Self, Box<dyn Error>> {
        let host = Arc::clone(&warm.host);
        let cursor = host.registry.intervals();
        let mut halting = Vec::new();
        for who in Halting::ALL {
            let subscription = who.subscribe(&host)?;
            let received = who.follow(&host, &subscription);
            halting.push(spawn(&host, &foreign, move |host, foreign| {
                who.receive(host, foreign, &subscription, received.as_ref())
            }));
        }
        let roomy = Roomy::start(warm)?;
        foreign.begin(&host);
        let census = Arc::new(Census::default());
        let half = COMING_AND_GOING.start + COMING_AND_GOING.len() / 2;
        let bodies = [COMING_AND_GOING.start..half, half..COMING_AND_GOING.end].map(|places| {
            let census = Arc::clone(&census);
            spawn(&host, &foreign, move |host, foreign| {
                bodies::come_and_go(host, foreign, &census, places)
            })
        });
        let hold = Arc::new(Hold::default());
        let holders = [(); HOLDING].map(|()| {
            let hold = Arc::clone(&hold);
            spawn(&host, &foreign, move |host, _| wakers::hold(host, &hold))
        });
        Ok(Self {
            cursor,
            bodies: bodies.into(),
            looker: spawn(&host, &foreign, |host, foreign| {
                redactors::look(host, foreign)
            }),
            visitors: (0..VISITORS)
                .map(|first| {
                    spawn(&host, &foreign, move |host, foreign| {
                        wakers::visit(host, foreign, first)
                    })
                })
                .collect(),
            holders: holders.into(),
            halting,
            roomy,
            foreign,
            census,
            hold,
        })
    }

    /// Returns the host.
    #[cfg(unix)]
    pub(crate) fn host(&self) -> &Arc<Host> {
        &self.roomy.host
    }

    /// Ends the ramp of the load.
    pub(crate) fn calm_down(&self) {
        self.roomy.host.calm_down();
    }

    /// Ends the load and collects the counts.
    ///
    /// # Errors
    ///
    /// If one of its threads panicked.
    pub(crate) fn end(self) -> Result<Counted, Box<dyn Error>> {
        let Self {
            roomy,
            foreign,
            census,
            hold,
            mut cursor,
            ..
        } = self;
        let host = Arc::clone(&roomy.host);
        let mut visits = Visits::default();
        let (mut bodies, mut messages) = ([0; 2], 0);
        let mut counted = roomy.end(|_| {
            let mut others = Others::default();
            for thread in self.bodies {
                others.counts.add(&joined(thread)?);
            }
            for thread in self.visitors {
                visits.add(&joined(thread)?);
            }
            messages = joined(self.looker)?;
            bodies = census.at_rest();
            drop(foreign.keep(None));
            let ledger = foreign.take_ledger();
            others.counts.add(&ledger.counts);
            others.resets = ledger.resets;
            Ok(others)
        })?;
        hold.end();
        for thread in self.holders {
            visits.add(&joined(thread)?);
        }
        counted.counts.add(&visits.guests.counts);
        let mut halted = Vec::new();
        for thread in self.halting {
            halted.push(joined(thread)?);
        }
        let mut read = Counts::default();
        read.add_snapshot(&cursor.read());
        let panics = counted.counts.times(Did::WakerPanicked);
        let began = Instant::now();
        while host.registry.event_accounting().waker_panics < panics && began.elapsed() < REST {
            thread::sleep(Duration::from_millis(1));
        }
        let events = host.registry.event_accounting();
        Ok(Counted {
            roomy: counted,
            cursor: read,
            visits,
            halted,
            events,
            bodies,
            strange_messages: foreign.strange_messages(),
            messages,
        })
    }
}

fn spawn<T: Send + 'static>(
    host: &Arc<Host>,
    foreign: &Arc<Foreign>,
    work: impl FnOnce(&Arc<Host>, &Arc<Foreign>) -> T + Send + 'static,
) -> JoinHandle<T> {
    let (host, foreign) = (Arc::clone(host), Arc::clone(foreign));
    thread::spawn(move || work(&host, &foreign))
}

fn joined<T>(thread: JoinHandle<T>) -> Result<T, &'static str> {
    thread
        .join()
        .map_err(|_| "a thread of the rude host panicked")
}
