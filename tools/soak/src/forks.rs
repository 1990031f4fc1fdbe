//! Children that the process forks from time to time, while its other threads run.
//!
//! A child has one thread, and copies of all registries as they were at that moment. It counts and
//! reads, resets, shuts down or drops, and exits with 0. A child that does not exit in time is
//! killed and counted as a difference, as is one that panics.
//!
//! A child exits by executing `true`. An exit of the process itself takes a lock of std, which is
//! locked forever in the child if another thread was just starting or ending.
//!
//! A child uses nothing of the soak's own that other threads lock: those locks may be locked
//! forever in it. So none of its error texts goes to the redactor, which counts.

use crate::calls::count_answer;
use crate::counts::Counts;
use crate::crossing::poll_once;
use crate::did::Did;
use crate::host::Host;
use crate::tools::{BY_NAME, NAMES, PLAIN, TIMED, ask};
use fork::{ChildEvent, ProcessFork, ProcessId, Signal};
use std::error::Error;
use std::future::IntoFuture;
use std::io;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use toolmeter::{ErrorKind, Intervals, Registry, RunningCalls, Subscription, ToolHandle};

/// The longest time that a child may take.
const LIMIT: Duration = Duration::from_secs(60);
/// The pause between two forks.
const PAUSE: Duration = Duration::from_millis(50);
/// The number of the signal that ends a process at once.
const SIGKILL: i32 = 9;
/// The name of the tool of the registry that has no other owner.
const OWN: &str = "own";
/// The number of threads that call it.
const CALLERS: usize = 2;

/// The thread that forks.
pub(crate) struct Forks {
    over: Arc<AtomicBool>,
    forker: JoinHandle<io::Result<(Counted, Own)>>,
    callers: Vec<JoinHandle<u64>>,
}

/// The counts of the children by their ends.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    /// The number of forks.
    pub(crate) counts: Counts,
    /// Children that exited with 0.
    pub(crate) right: u64,
    /// Children that hung.
    pub(crate) hung: u64,
    /// Calls that the parent made of the tool whose registry has no other owner.
    pub(crate) calls: u64,
    /// The number of them that toolmeter counted.
    pub(crate) counted: u64,
}

/// A registry whose only owner is the thread that forks, so that a child can drop the last one.
struct Own {
    registry: Registry,
    tool: ToolHandle,
    intervals: Intervals,
    events: Subscription,
    running: RunningCalls,
}

impl Forks {
    /// Starts to fork, if children are wanted. They use these hosts, and a registry of their own.
    ///
    /// # Errors
    ///
    /// If the registry cannot be built.
    pub(crate) fn start(hosts: [Arc<Host>; 2], are_wanted: bool) -> Result<Self, Box<dyn Error>> {
        let registry = Registry::builder()
            .instance("forks")
            .stripes(2)
            .ring_capacity(64)
            .build()?;
        let tool = registry.register(OWN)?;
        let over = Arc::new(AtomicBool::new(false));
        let callers = [(); CALLERS].map(|()| {
            let (tool, over) = (tool.clone(), Arc::clone(&over));
            thread::spawn(move || call(&tool, &over))
        });
        let own = Own {
            intervals: registry.intervals(),
            events: registry.subscribe(),
            running: registry.running_calls(),
            registry,
            tool,
        };
        let is_over = Arc::clone(&over);
        Ok(Self {
            over,
            forker: thread::spawn(move || {
                if are_wanted {
                    fork_on(own, &hosts, &is_over)
                } else {
                    Ok((Counted::default(), own))
                }
            }),
            callers: callers.into(),
        })
    }

    /// Ends the threads and collects the counts.
    ///
    /// # Errors
    ///
    /// If the process cannot fork, or a thread panicked.
    pub(crate) fn end(self) -> Result<Counted, Box<dyn Error>> {
        self.over.store(true, Ordering::Relaxed);
        let mut calls = 0;
        for caller in self.callers {
            calls += caller
                .join()
                .map_err(|_| "a thread of the forks panicked")?;
        }
        let forker = self.forker.join();
        let (mut counted, own) = forker.map_err(|_| "the thread that forks panicked")??;
        counted.calls = calls;
        counted.counted = own.registry.totals().tools[OWN].finished();
        own.registry.shutdown();
        Ok(counted)
    }
}

/// Makes calls until the load is over. Returns their number.
fn call(tool: &ToolHandle, over: &AtomicBool) -> u64 {
    let mut calls = 0;
    while !over.load(Ordering::Relaxed) {
        for _ in 0..10 {
            tool.start().succeed();
            tool.start().fail(ErrorKind::ToolError, "no such file");
            calls += 2;
        }
        thread::sleep(Duration::from_millis(1));
    }
    calls
}

/// Forks until the load is over.
fn fork_on(own: Own, hosts: &[Arc<Host>; 2], over: &AtomicBool) -> io::Result<(Counted, Own)> {
    let mut counted = Counted::default();
    let mut number = 0_u64;
    while !over.load(Ordering::Relaxed) {
        match fork::fork_process()? {
            ProcessFork::Child => live(own, hosts, number),
            ProcessFork::Parent(child) => counted.wait_for(child)?,
        }
        while own.events.try_recv().is_ok() {}
        number += 1;
        thread::sleep(PAUSE);
    }
    Ok((counted, own))
}

impl Counted {
    /// Waits until the child ends, or kills it.
    fn wait_for(&mut self, child: ProcessId) -> io::Result<()> {
        self.counts.did(Did::Forked);
        let began = Instant::now();
        loop {
            match fork::wait_event_nohang(child)? {
                Some(ChildEvent::Exited { code, .. }) => {
                    self.right += u64::from(code == 0);
                    return Ok(());
                }
                Some(ChildEvent::Signalled { .. }) => return Ok(()),
                None if began.elapsed() > LIMIT => break,
                // It goes on, or was stopped and continued by a debugger.
                _ => thread::sleep(Duration::from_micros(500)),
            }
        }
        self.hung += 1;
        let kill = Signal::try_from(SIGKILL).map_err(io::Error::other)?;
        fork::signal_process(child, kill)?;
        while !fork::wait_event(child)?.is_terminal() {}
        Ok(())
    }
}

/// Runs a child to its end.
fn live(own: Own, hosts: &[Arc<Host>; 2], number: u64) -> ! {
    let ended = catch_unwind(AssertUnwindSafe(|| match number % 4 {
        0 => hosts.iter().for_each(|host| count_and_read(host)),
        1 => own.reset(),
        2 => {
            for host in hosts {
                host.registry.shutdown();
                count_and_read(host);
            }
            own.end();
        }
        _ => drop(own),
    }));
    let status = if ended.is_ok() { "true" } else { "false" };
    let failed = Command::new(status).exec();
    panic!("`{status}` cannot be run: {failed}")
}

/// Makes calls and checks their counts. A child has no other thread.
fn count_and_read(host: &Host) {
    let registry = &host.registry;
    let successes = |place: usize| registry.metrics().tools[NAMES[place]].success();
    let before = [PLAIN, BY_NAME].map(successes);
    for _ in 0..50 {
        host.tool(PLAIN).run(|| ());
        drop(host.tool(TIMED).start());
    }
    let call = registry.invoke(NAMES[BY_NAME], ask::ANSWER.into());
    let Poll::Ready(answer) = poll_once(pin!(call.into_future())) else {
        panic!("`{}` did not answer at once", NAMES[BY_NAME]);
    };
    let mut counts = Counts::default();
    count_answer(&mut counts, BY_NAME, 1, &answer);
    let after = [PLAIN, BY_NAME].map(successes);
    assert_eq!(after, [before[0] + 50, before[1] + 1]);
    let found = registry.get(NAMES[PLAIN]).expect("it stays registered");
    found.start().succeed();
    let totals = registry.totals();
    assert!(totals.tools[NAMES[PLAIN]].success() > after[0]);
    let mut cursor = registry.intervals();
    host.tool(PLAIN).run(|| ());
    assert_eq!(cursor.read().tools[NAMES[PLAIN]].success(), 1);
    // It may be older than these calls.
    drop(registry.published());
    registry.publish();
    registry.pump();
    let _ = registry.event_accounting();
}

impl Own {
    /// Checks that a failure keeps its text, and that a reset starts from zero.
    fn reset(mut self) {
        self.tool.start().fail(ErrorKind::Network, "reset");
        let metrics = self.registry.metrics();
        let error = metrics.tools[OWN].last_error.as_ref();
        let message = error.and_then(|error| error.message.as_deref());
        assert_eq!(message, Some("reset"));
        assert!(self.registry.reset_metrics().tools[OWN].failure() > 0);
        assert_eq!(self.registry.metrics().tools[OWN].failure(), 0);
        self.tool.start().succeed();
        assert_eq!(self.registry.metrics().tools[OWN].success(), 1);
        assert!(self.intervals.read().tools[OWN].failure() > 0);
    }

    /// Shuts down, checks that calls are still counted, and drops everything.
    fn end(self) {
        self.registry.shutdown();
        self.registry.shutdown();
        let before = self.registry.metrics().tools[OWN].success();
        self.tool.start().succeed();
        let after = self.registry.metrics().tools[OWN].success();
        assert_eq!(after, before + 1);
        let weak = self.registry.downgrade();
        let call = self.tool.start_owned();
        drop(self.running);
        drop(self.events);
        drop(self.registry);
        drop(weak.upgrade());
        drop(self.tool);
        call.succeed();
        drop(self.intervals);
    }
}
