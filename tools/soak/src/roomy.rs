//! Hosts beside the one under load, whose rings have room for everything.
//!
//! A host's callers wait for its pump and for its one subscriber before a ring could be full. So no
//! event is lost, and what was received must equal the expected counts of each tool and each kind.

use crate::calls::{Caller, call_in_bursts};
use crate::counts::Counts;
use crate::crossing::{crossing, end_calls};
use crate::host::Host;
use crate::listeners::{Heard, Listener};
use std::error::Error;
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};
use toolmeter::{EventAccounting, RegistryBuilder};

/// More events than callers let wait, even if all of them were in one ring.
const RING_CAPACITY: usize = 16_384;
/// The number of threads that call.
const CALLERS: u64 = 2;
/// The number of calls between two checks of how much waits.
const BURST: u32 = 32;

/// The host at work.
pub(crate) struct Roomy {
    /// Shared by its threads.
    pub(crate) host: Arc<Host>,
    before: EventAccounting,
    threads: Vec<JoinHandle<Counts>>,
    listener: JoinHandle<Heard>,
}

/// The counts of this host, at rest.
#[derive(Debug)]
pub(crate) struct Counted {
    /// The calls of the load since the subscription.
    pub(crate) counts: Counts,
    /// The metrics since then, with what resets returned.
    pub(crate) metrics: Counts,
    /// The events that the subscriber received.
    pub(crate) heard: Heard,
    /// The registry's account of the events since then.
    pub(crate) events: EventAccounting,
}

/// The counts of other threads on the same host.
#[derive(Debug, Default)]
pub(crate) struct Others {
    /// The expected counts of their calls.
    pub(crate) counts: Counts,
    /// The sum of what their resets returned.
    pub(crate) resets: Counts,
}

/// A host that is warm, and has counted nothing since. It is made before threads of other hosts
/// call, so that those of its warm-up touch every stripe.
pub(crate) struct Warm {
    /// The host.
    pub(crate) host: Arc<Host>,
    /// The registry's account of the events of the warm-up.
    before: EventAccounting,
}

impl Warm {
    /// Warms a host up.
    ///
    /// # Errors
    ///
    /// If it cannot be set up.
    pub(crate) fn up(builder: RegistryBuilder) -> Result<Self, Box<dyn Error>> {
        let host = Host::new(builder.ring_capacity(RING_CAPACITY))?;
        host.warm_up()?;
        let before = host.fill_rings(RING_CAPACITY)?;
        host.registry.reset_metrics();
        Ok(Self { host, before })
    }
}

impl Roomy {
    /// Starts to load a host.
    ///
    /// # Errors
    ///
    /// If it cannot be set up.
    pub(crate) fn start(warm: Warm) -> Result<Self, Box<dyn Error>> {
        let Warm { host, before } = warm;
        let subscription = Listener::Fast.subscribe(&host)?;
        let received = Listener::Fast.follow(&host, &subscription);
        let listening = Arc::clone(&host);
        let listener = thread::spawn(move || {
            // Nothing is lost here, so no event must follow to report a loss.
            let bell = Barrier::new(1);
            Listener::Fast.listen(&listening, &subscription, received.as_ref(), &bell)
        });
        let (finisher, handed) = crossing();
        let mut threads = vec![thread::spawn(move || end_calls(&handed))];
        for step in 0..CALLERS {
            let caller = Caller::new(&host, &finisher, step);
            threads.push(thread::spawn(move || call_in_bursts(caller, BURST)));
        }
        Ok(Self {
            host,
            before,
            threads,
            listener,
        })
    }

    /// Ends the load, and `others` that use the same host. What is in the rings is delivered, and
    /// the subscriber ends after the last event.
    ///
    /// # Errors
    ///
    /// If one of its threads panicked.
    pub(crate) fn end(
        self,
        others: impl FnOnce(&Host) -> Result<Others, Box<dyn Error>>,
    ) -> Result<Counted, Box<dyn Error>> {
        self.host.end();
        let mut counts = Counts::default();
        for thread in self.threads {
            counts.add(&thread.join().map_err(|_| "a thread of the load panicked")?);
        }
        let others = others(&self.host)?;
        counts.add(&others.counts);
        let registry = &self.host.registry;
        registry.shutdown();
        let heard = self.listener.join();
        let mut metrics = others.resets;
        metrics.add_snapshot(&registry.metrics());
        let mut events = registry.event_accounting();
        events.offered -= self.before.offered;
        events.lost_in_rings -= self.before.lost_in_rings;
        events.drained -= self.before.drained;
        events.late -= self.before.late;
        Ok(Counted {
            counts,
            metrics,
            heard: heard.map_err(|_| "a subscriber panicked")?,
            events,
        })
    }
}
