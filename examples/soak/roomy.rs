//! A second host beside the one under load, whose rings have room for everything.
//!
//! Its callers wait for its pump and for its one subscriber before a ring could be full. So no
//! event is lost, and what was received must equal the books of each tool and each kind.

use crate::books::Books;
use crate::calls::{Caller, call_in_bursts};
use crate::crossing::{crossing, end_calls};
use crate::host::Host;
use crate::listeners::{Heard, Listener};
use std::error::Error;
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};
use toolmeter::EventAccounting;

/// Above what callers let wait, even if all of it were in one ring.
const RING_CAPACITY: usize = 16_384;
/// Threads that call.
const CALLERS: u64 = 2;
/// Calls between two looks at how much waits.
const BURST: u32 = 32;

/// The host at work.
pub(crate) struct Roomy {
    /// Shared by its threads.
    pub(crate) host: Arc<Host>,
    threads: Vec<JoinHandle<Books>>,
    listener: JoinHandle<Heard>,
}

/// What was counted there, at rest.
#[derive(Debug)]
pub(crate) struct Counted {
    /// What the load did since somebody subscribed.
    pub(crate) books: Books,
    /// The metrics since then.
    pub(crate) metrics: Books,
    /// What the subscriber received.
    pub(crate) heard: Heard,
    /// What became of the events.
    pub(crate) events: EventAccounting,
}

impl Roomy {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// If it cannot be set up.
    pub(crate) fn start() -> Result<Self, Box<dyn Error>> {
        let host = Host::new(RING_CAPACITY)?;
        host.warm_up()?;
        host.registry.reset_metrics();
        let subscription = Listener::Fast.subscribe(&host)?;
        host.follow(subscription.stats_handle());
        let listening = Arc::clone(&host);
        let listener = thread::spawn(move || {
            // Nobody else is waited for: nothing is lost that a bell would have to tell.
            let bell = Barrier::new(1);
            Listener::Fast.listen(&listening, &subscription, &bell)
        });
        let (finisher, handed) = crossing();
        let mut threads = vec![thread::spawn(move || end_calls(&handed))];
        for step in 0..CALLERS {
            let caller = Caller::new(&host, &finisher, step);
            threads.push(thread::spawn(move || call_in_bursts(caller, BURST)));
        }
        Ok(Self {
            host,
            threads,
            listener,
        })
    }

    /// Ends it: what is in the rings is delivered, then its subscriber is told that this is all.
    ///
    /// # Errors
    ///
    /// If one of its threads panicked, which it has said by then.
    pub(crate) fn end(self) -> Result<Counted, Box<dyn Error>> {
        self.host.end();
        let mut books = Books::default();
        for thread in self.threads {
            books.add(&thread.join().map_err(|_| "a thread of the load panicked")?);
        }
        let registry = &self.host.registry;
        registry.shutdown();
        let heard = self.listener.join();
        let mut metrics = Books::default();
        metrics.add_snapshot(&registry.metrics());
        Ok(Counted {
            books,
            metrics,
            heard: heard.map_err(|_| "a subscriber panicked")?,
            events: registry.event_accounting(),
        })
    }
}
