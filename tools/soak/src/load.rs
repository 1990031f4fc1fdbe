//! One run: the start and end of all threads, and the collection of their counts.
//!
//! ```text
//! cursors -> warm-up, without a subscription -> subscribers -> load -> rest -> bell -> departures
//!                                                                            -> shutdown
//! ```

use crate::counts::Counts;
use crate::crossing::{crossing, end_calls};
use crate::crowd::{self, Crowd};
use crate::did::Did;
#[cfg(unix)]
use crate::forks::{self, Forks};
use crate::guests::{Guests, join_and_leave, listen_and_leave};
use crate::host::{Host, STRIPES};
use crate::listeners::{Heard, Listener};
use crate::memory::{Memory, least_bytes_in_use};
use crate::remains;
use crate::roomy::{self, Others, Roomy, Warm};
use crate::rude::{self, Rude};
use crate::stepping::{self, Stepping};
use crate::tools::{BELL, FIXED, TIMED, TOOLS};
use crate::{agents, calls, churn, readers, tasks, threads};
use std::error::Error;
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use toolmeter::{ErrorKind, EventAccounting, Intervals, Outcome, StatsHandle};

/// The capacity of a ring: less than the events of a burst of calls.
const RING_CAPACITY: usize = 128;
/// The time between two readings of each cursor that lives for the whole run.
const CURSORS: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(61)];
/// The number of calls that begin before the first subscription and end after.
const EARLY: u64 = 5;
/// The number of calls that begin before the shutdown and end after.
const LATE: u64 = 3;
/// The number of tasks that call.
const TASKS: u64 = 12;
/// The number of agents at once.
const AGENTS: usize = 2;
/// The longest time until every event that was offered is delivered.
const REST: Duration = Duration::from_secs(20);

/// All counts, at rest.
#[derive(Debug)]
pub(crate) struct Run {
    /// The expected counts of the load.
    pub(crate) counts: Counts,
    /// Events that were not offered because there was no subscription yet.
    pub(crate) unheard: u64,
    /// Events that were offered all the same.
    pub(crate) overheard: u64,
    /// All intervals of each cursor.
    pub(crate) cursors: [Counts; 2],
    /// The sum of what resets cleared, and the metrics since the last.
    pub(crate) resets: Counts,
    /// The totals since the registry was built.
    pub(crate) totals: Counts,
    /// Metrics at rest, and the snapshot that was published then.
    pub(crate) published: [Counts; 2],
    /// Calls in flight, according to the metrics.
    pub(crate) in_flight: u64,
    /// Tools that were visible once only those that stay were held and resets had returned all
    /// counts of the others.
    pub(crate) visible: usize,
    /// The events that each subscriber received.
    pub(crate) heard: Vec<Heard>,
    /// The findings of subscribers that came and left.
    pub(crate) guests: Guests,
    /// Events lost because they came after the shutdown, as expected and as counted.
    pub(crate) lost_after: [u64; 2],
    /// The registry's account of all events.
    pub(crate) events: EventAccounting,
    /// The counts of the host whose rings have room for everything.
    pub(crate) roomy: roomy::Counted,
    /// The counts of the host whose own code is hostile.
    pub(crate) rude: rude::Counted,
    /// The counts of the host whose clocks step.
    pub(crate) stepping: stepping::Counted,
    /// The counts of forked children.
    #[cfg(unix)]
    pub(crate) forks: forks::Counted,
    /// Threads of toolmeter that are left when every registry is shut down, where that is known.
    pub(crate) threads_left: Option<u64>,
    /// The counts of the registry where more names come and go than are remembered.
    pub(crate) crowd: crowd::Counted,
    /// The memory of the process.
    pub(crate) memory: Memory,
}

impl Run {
    /// Returns the number of calls, on all hosts.
    pub(crate) fn calls(&self) -> u64 {
        let hosts = [&self.roomy, &self.rude.roomy, &self.stepping.roomy];
        let elsewhere: u64 = hosts.iter().map(|host| host.counts.calls()).sum();
        self.counts.calls() + elsewhere + self.crowd.counts.calls()
    }

    /// Returns the number of times that this was done, by any thread.
    pub(crate) fn done(&self, did: Did) -> u64 {
        let readers = [&self.cursors[0], &self.cursors[1], &self.resets];
        let by_readers: u64 = readers.iter().map(|counts| counts.times(did)).sum();
        let elsewhere = [&self.rude.roomy, &self.stepping.roomy];
        let elsewhere: u64 = elsewhere.iter().map(|host| host.counts.times(did)).sum();
        let halted = self.rude.halted.iter().map(|halted| &halted.counts);
        let by_halted: u64 = halted.map(|counts| counts.times(did)).sum();
        #[cfg(unix)]
        let by_forks = self.forks.counts.times(did);
        #[cfg(not(unix))]
        let by_forks = 0;
        self.counts.times(did) + by_readers + elsewhere + by_halted + by_forks
    }
}

/// Loads the registries for this time.
///
/// # Errors
///
/// If something cannot be set up, or a thread of the load panicked.
pub(crate) fn run(load: Duration, with_forks: bool) -> Result<Run, Box<dyn Error>> {
    let roomy = Warm::up(Host::builder())?;
    let rude = Rude::warm()?;
    let stepping = Stepping::warm()?;
    let host = Host::new(Host::builder().ring_capacity(RING_CAPACITY))?;
    let registry = &host.registry;
    let cursors = CURSORS.map(|_| registry.intervals());
    let mut counts = host.warm_up()?;
    let tool = host.tool(TIMED);
    let early = [(); EARLY as usize].map(|()| (counts.begin(TIMED, 1), tool.start()));
    let unheard = counts.sum(0..TOOLS).events() - EARLY;
    let overheard = registry.event_accounting().offered;

    let bell = Arc::new(Barrier::new(Listener::ALL.len() + 1));
    let mut stats = Vec::new();
    let mut listeners = Vec::new();
    for listener in Listener::ALL {
        let subscription = listener.subscribe(&host)?;
        stats.push(subscription.stats_handle());
        let received = listener.follow(&host, &subscription);
        let (host, bell) = (Arc::clone(&host), Arc::clone(&bell));
        listeners.push(thread::spawn(move || {
            listener.listen(&host, &subscription, received.as_ref(), &bell)
        }));
    }
    for (open, call) in early {
        counts.end_after(open, Outcome::Success, call.succeed());
    }

    let team = Team::start(&host, cursors)?;
    let roomy = Roomy::start(roomy)?;
    let crowd = Crowd::start()?;
    let rude = Rude::start(rude)?;
    let stepping = Stepping::start(stepping)?;
    #[cfg(unix)]
    let forks = Forks::start([Arc::clone(&host), Arc::clone(rude.host())], with_forks)?;
    #[cfg(not(unix))]
    let _ = with_forks;
    thread::sleep(load / 4);
    host.calm_down();
    roomy.host.calm_down();
    rude.calm_down();
    stepping.calm_down();
    let after_a_third = least_bytes_in_use(load / 12);
    thread::sleep(load / 12 * 7);
    let at_the_end = least_bytes_in_use(load / 12);
    host.end();
    // The process is forked until here, while the other hosts are still under load.
    #[cfg(unix)]
    let forks = forks.end()?;
    let mut team = team.join(&mut counts)?;
    let roomy = roomy.end(|_| Ok(Others::default()))?;
    let crowd = crowd.end()?;
    let rude = rude.end()?;
    let stepping = stepping.end()?;

    come_to_rest(&host, &mut team, &stats);
    host.be_quiet();
    bell.wait();
    // A retry that fails: every filter lets it through.
    let call = host.tool(BELL).call().attempt(2).start();
    call.fail(ErrorKind::Other, "the bell");
    let outcome = Outcome::Failure(ErrorKind::Other);
    counts.whole(BELL, 2, outcome);
    registry.publish();
    let mut published = [Counts::default(), Counts::default()];
    published[0].add_snapshot(&registry.metrics());
    published[1].add_snapshot(&registry.published());
    let visible = let_depart(&host, &mut team);

    let late = [(); LATE as usize].map(|()| (counts.begin(TIMED, 1), tool.start()));
    registry.shutdown();
    let lost = registry.event_accounting().lost_in_rings;
    for (open, call) in late {
        counts.end_after(open, Outcome::Success, call.succeed());
    }
    let events = registry.event_accounting();
    let mut heard = Vec::new();
    for listener in listeners {
        heard.push(listener.join().map_err(|_| "a subscriber panicked")?);
    }
    team.read_cursors();
    let metrics = registry.metrics();
    team.resets.add_snapshot(&metrics);
    let mut totals = Counts::default();
    totals.add_snapshot(&registry.totals());
    Ok(Run {
        counts,
        unheard,
        overheard,
        cursors: team.cursors.map(|(counts, _)| counts),
        resets: team.resets,
        totals,
        published,
        in_flight: metrics.tools.values().map(|tool| tool.in_flight).sum(),
        visible,
        heard,
        guests: team.guests,
        lost_after: [LATE, events.lost_in_rings - lost],
        events,
        roomy,
        rude,
        stepping,
        #[cfg(unix)]
        forks,
        threads_left: remains::threads_left(REST),
        crowd,
        memory: Memory {
            after_a_third,
            at_the_end,
        },
    })
}

/// Waits until all events are handed out, at most for [`REST`].
fn come_to_rest(host: &Host, team: &mut Ended, stats: &[StatsHandle]) {
    let registry = &host.registry;
    let began = Instant::now();
    loop {
        team.read_cursors();
        registry.pump();
        let events = registry.event_accounting();
        let is_drained = events.offered == events.lost_in_rings + events.drained;
        let is_handed_out = stats
            .iter()
            .all(|stats| stats.read().drained == events.drained);
        if (is_drained && is_handed_out) || began.elapsed() > REST {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until the tools that were deregistered have departed, and a reset has returned what they
/// counted: then they are no longer visible. Returns the number of visible tools.
fn let_depart(host: &Host, team: &mut Ended) -> usize {
    let registry = &host.registry;
    let began = Instant::now();
    loop {
        team.resets.add_snapshot(&registry.reset_metrics());
        registry.pump();
        let visible = registry.metrics().tools.len();
        if visible == FIXED || began.elapsed() > REST {
            return visible;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// The threads at work.
struct Team {
    runtime: Runtime,
    tasks: Vec<tokio::task::JoinHandle<Counts>>,
    guest_task: tokio::task::JoinHandle<Guests>,
    threads: Vec<JoinHandle<Counts>>,
    watcher: JoinHandle<()>,
    guests: Vec<JoinHandle<Guests>>,
    cursors: [JoinHandle<(Counts, Intervals)>; 2],
    resetter: JoinHandle<Counts>,
}

/// The counts of the readers of a team.
struct Ended {
    guests: Guests,
    cursors: [(Counts, Intervals); 2],
    resets: Counts,
}

impl Team {
    fn start(host: &Arc<Host>, cursors: [Intervals; 2]) -> Result<Self, Box<dyn Error>> {
        let cores = thread::available_parallelism().map_or(2, usize::from);
        let mut threads: Vec<JoinHandle<Counts>> = Vec::new();
        let mut finishers = Vec::new();
        for _ in 0..2 {
            let (finisher, handed) = crossing();
            finishers.push(finisher);
            threads.push(thread::spawn(move || end_calls(&handed)));
        }
        for caller in 0..cores.max(STRIPES) + 2 {
            let finisher = &finishers[caller % 2];
            let burst = 16 << (caller % 5);
            let caller = calls::Caller::new(host, finisher, caller as u64);
            threads.push(thread::spawn(move || calls::call_in_bursts(caller, burst)));
        }
        for finisher in finishers {
            threads.push(spawn(host, move |host| {
                threads::come_and_go(host, &finisher)
            }));
        }
        let half = FIXED + (TOOLS - FIXED) / 2;
        for names in [FIXED..half, half..TOOLS] {
            threads.push(spawn(host, move |host| churn::churn(host, names)));
        }
        threads.push(spawn(host, |host| readers::come_and_go(host)));
        let mut places = CURSORS.into_iter();
        let cursors = cursors.map(|cursor| {
            let every = places.next().unwrap_or_default();
            spawn(host, move |host| {
                readers::read_intervals(host, cursor, every)
            })
        });

        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(STRIPES)
            .max_blocking_threads(STRIPES)
            .enable_time()
            .build()?;
        let mut tasks = Vec::new();
        for task in 0..TASKS {
            tasks.push(runtime.spawn(tasks::call(Arc::clone(host), task)));
        }
        for _ in 0..AGENTS {
            tasks.push(runtime.spawn(agents::run(Arc::clone(host))));
        }
        Ok(Self {
            guest_task: runtime.spawn(listen_and_leave(Arc::clone(host))),
            runtime,
            tasks,
            threads,
            watcher: spawn(host, |host| readers::watch(host)),
            guests: [(); 2]
                .map(|()| spawn(host, |host| join_and_leave(host)))
                .into(),
            cursors,
            resetter: spawn(host, |host| readers::reset(host)),
        })
    }

    /// Waits for all and adds their counts.
    fn join(self, counts: &mut Counts) -> Result<Ended, Box<dyn Error>> {
        for thread in self.threads {
            counts.add(&joined(thread)?);
        }
        let mut guests = Guests::default();
        for guest in self.guests {
            guests.add(&joined(guest)?);
        }
        joined(self.watcher)?;
        self.runtime.block_on(async {
            for task in self.tasks {
                counts.add(&task.await?);
            }
            guests.add(&self.guest_task.await?);
            Ok::<_, tokio::task::JoinError>(())
        })?;
        counts.add(&guests.counts);
        let [often, seldom] = self.cursors.map(joined);
        Ok(Ended {
            guests,
            cursors: [often?, seldom?],
            resets: joined(self.resetter)?,
        })
    }
}

impl Ended {
    fn read_cursors(&mut self) {
        for (counts, cursor) in &mut self.cursors {
            counts.add_snapshot(&cursor.read());
        }
    }
}

fn spawn<T: Send + 'static>(
    host: &Arc<Host>,
    work: impl FnOnce(&Arc<Host>) -> T + Send + 'static,
) -> JoinHandle<T> {
    let host = Arc::clone(host);
    thread::spawn(move || work(&host))
}

fn joined<T>(thread: JoinHandle<T>) -> Result<T, &'static str> {
    thread.join().map_err(|_| "a thread of the load panicked")
}
