//! A host that builds its registry and then forks, as a daemon or a pre-forking server does.
//!
//! In the child, calls are still counted and read. Shutting the registry down and dropping
//! everything neither hangs nor panics there, whatever the pump and other threads were doing when
//! the process forked. The parent keeps working.
//!
//! The program exits with 0 if all of this holds. Otherwise it exits with 1 and prints what does
//! not. A child that takes longer than [`LIMIT`] is reported as hung and killed. Unix only.

use futures_core::Stream;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};
use toolmeter::{
    BatchStream, ErrorKind, Intervals, Pump, Registry, RegistryBuilder, RunningCalls, Subscription,
    ToolHandle,
};

/// The longest time that a child may take.
const LIMIT: Duration = Duration::from_secs(10);
/// The number of different tasks of a child under load.
const KINDS: u64 = 5;
/// The number of forks under load: 200 for each task.
const FORKS: u64 = 200 * KINDS;

/// The end of a child.
#[derive(Debug, PartialEq)]
enum Ended {
    Right,
    Panicked,
    Hung,
    Otherwise(WaitStatus),
}

/// Runs `child` in a forked child.
fn in_child(child: impl FnOnce()) -> Ended {
    // SAFETY: the child runs ordinary code, which is sound here. This program shows that it does
    // not wait for a lock that no thread will ever release. glibc makes its allocator usable in the
    // child.
    let pid = match unsafe { fork() }.expect("the process forks") {
        ForkResult::Child => {
            let ended = catch_unwind(AssertUnwindSafe(child));
            // SAFETY: `_exit` ends the process at once, without running the exit handlers of the
            // parent.
            unsafe { nix::libc::_exit(i32::from(ended.is_err())) }
        }
        ForkResult::Parent { child } => child,
    };
    let began = Instant::now();
    loop {
        match waitpid(pid, Some(WaitPidFlag::WNOHANG)).expect("it is our child") {
            WaitStatus::StillAlive if began.elapsed() < LIMIT => {
                thread::sleep(Duration::from_micros(500));
            }
            WaitStatus::StillAlive => {
                kill(pid, Signal::SIGKILL).expect("it is our child");
                waitpid(pid, None).expect("it is our child");
                return Ended::Hung;
            }
            WaitStatus::Exited(_, 0) => return Ended::Right,
            WaitStatus::Exited(_, 1) => return Ended::Panicked,
            other => return Ended::Otherwise(other),
        }
    }
}

/// A host: its registry, and a handle or reader of each kind.
struct Host {
    registry: Registry,
    tool: ToolHandle,
    intervals: Intervals,
    events: Subscription,
    batches: BatchStream,
    running: RunningCalls,
}

impl Host {
    fn new(builder: RegistryBuilder) -> Self {
        let registry = builder.build().expect("the settings are in range");
        let tool = registry.register("shell").expect("the name is free");
        tool.start().succeed();
        Self {
            intervals: registry.intervals(),
            events: registry.subscribe(),
            batches: registry.subscribe().into_stream(),
            running: registry.running_calls(),
            registry,
            tool,
        }
    }

    /// Polls the stream until it is pending, which leaves a waker there.
    fn wait_for_batches(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        while Pin::new(&mut self.batches)
            .poll_next(&mut context)
            .is_ready()
        {}
    }

    /// Makes calls of each outcome and checks their counts. In the child, no other thread calls the
    /// tool.
    fn count_and_read(&mut self) {
        let stats = |registry: &Registry| Arc::clone(&registry.metrics().tools["shell"]);
        let before = stats(&self.registry);
        for _ in 0..100 {
            self.tool.start().succeed();
            let _: Result<(), &str> = self.tool.run(|| Err("no such file"));
            drop(self.tool.start());
            self.tool.call().reject("denied");
        }
        let found = self.registry.get("shell").expect("it is registered");
        found
            .call()
            .attempt(2)
            .start()
            .fail(ErrorKind::Network, "reset");
        let after = stats(&self.registry);
        let counts = |stats: &toolmeter::ToolStats| {
            [
                stats.success(),
                stats.failure(),
                stats.cancelled(),
                stats.rejected,
            ]
        };
        let new: Vec<_> = counts(&after)
            .into_iter()
            .zip(counts(&before))
            .map(|(after, before)| after - before)
            .collect();
        assert_eq!(new, [100, 101, 100, 100]);
        let error = after.last_error.as_ref().expect("one call failed");
        assert_eq!(error.message.as_deref(), Some("reset"));
        assert!(self.registry.totals().tools["shell"].failure() >= 101);
        assert!(self.intervals.read().tools["shell"].failure() >= 101);
        assert!(self.registry.intervals().read().tools["shell"].failure() == 0);
        // It was published before the fork.
        let _ = self.registry.published().tools.len();
        self.registry.publish();
        self.registry.pump();
        let _ = self.registry.event_accounting();
    }

    /// Resets the counts and checks that they start from zero. The parent may have been resetting
    /// when it forked.
    fn reset(&self) {
        self.tool.start().succeed();
        assert!(self.registry.reset_metrics().tools["shell"].success() > 0);
        assert_eq!(self.registry.metrics().tools["shell"].success(), 0);
        self.tool.start().succeed();
        assert_eq!(self.registry.metrics().tools["shell"].success(), 1);
    }

    /// Shuts down, checks that calls are still counted, and drops everything.
    fn end(self) {
        self.registry.shutdown();
        self.registry.shutdown();
        let before = self.registry.metrics().tools["shell"].success();
        self.tool.start().succeed();
        let after = self.registry.metrics().tools["shell"].success();
        assert_eq!(after, before + 1);
        let weak = self.registry.downgrade();
        let call = self.tool.start_owned();
        drop(self.running);
        drop(self.events);
        drop(self.batches);
        drop(self.registry);
        drop(weak.upgrade());
        drop(self.tool);
        call.succeed();
        drop(self.intervals);
    }
}

/// The failures found so far.
#[derive(Default)]
struct Faults(u32);

impl Faults {
    fn check(&mut self, what: &str, ended: &Ended) {
        if *ended == Ended::Right {
            println!("ok: {what}");
        } else {
            println!("WRONG: {what}: {ended:?}");
            self.0 += 1;
        }
    }

    fn check_that(&mut self, what: &str, is_so: bool) {
        if is_so {
            println!("ok: {what}");
        } else {
            println!("WRONG: {what}");
            self.0 += 1;
        }
    }
}

/// Forks while no other thread is busy.
fn at_rest(faults: &mut Faults) {
    for (name, pump) in [
        ("background", Pump::background()),
        ("manual", Pump::manual()),
    ] {
        let host = || Host::new(Registry::builder().pump(pump));
        let mut counts = host();
        let ended = in_child(|| counts.count_and_read());
        faults.check(&format!("{name}: counts and reads"), &ended);
        let ends = host();
        let ended = in_child(move || ends.end());
        faults.check(&format!("{name}: shuts down and drops"), &ended);
        let resets = host();
        let ended = in_child(|| resets.reset());
        faults.check(&format!("{name}: resets"), &ended);
        // Without a shutdown: the last owner is dropped.
        let drops = host();
        let ended = in_child(move || drop(drops));
        faults.check(&format!("{name}: drops"), &ended);
        // A call that was in flight when the process forked can end in both processes.
        let under_way = host();
        let call = under_way.tool.start_owned();
        let ended = in_child(|| {
            under_way.tool.start().succeed();
            drop(under_way.tool.start());
            assert_eq!(under_way.registry.metrics().tools["shell"].in_flight, 1);
        });
        faults.check(&format!("{name}: sees what is in flight"), &ended);
        let ended = in_child(move || {
            call.succeed();
        });
        faults.check(&format!("{name}: ends a call that was under way"), &ended);
        // A subscription does not wait forever for a pump that does not exist.
        let hears = host();
        let ended = in_child(|| {
            hears.tool.start().succeed();
            hears.registry.shutdown();
            while hears.events.recv_timeout(Duration::from_secs(1)).is_ok() {}
            let _ = hears.events.try_recv();
            let _ = hears.events.stats();
        });
        faults.check(&format!("{name}: a subscription may be asked"), &ended);
        // A child of the child.
        let mut again = host();
        let ended = in_child(|| {
            assert_eq!(in_child(|| again.count_and_read()), Ended::Right);
        });
        faults.check(&format!("{name}: a grandchild counts"), &ended);
    }
    // A registry that the child builds itself works as usual.
    let parents = Host::new(Registry::builder());
    let ended = in_child(|| {
        let own = Registry::new();
        let events = own.subscribe();
        own.register("own")
            .expect("the name is free")
            .start()
            .succeed();
        own.shutdown();
        assert_eq!(events.iter().map(|batch| batch.len()).sum::<usize>(), 2);
    });
    drop(parents);
    faults.check("the child builds a registry of its own", &ended);
}

/// Threads that are busy until a flag stops them.
struct Load {
    stop: Arc<AtomicBool>,
    heard: Arc<AtomicU64>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Load {
    /// Starts threads that make calls and receive their events. If `churns`, others register and
    /// deregister tools, subscribe, read, publish and reset.
    fn new(registry: &Registry, churns: bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let heard = Arc::new(AtomicU64::new(0));
        let mut threads = Vec::new();
        let mut spawn = |mut work: Box<dyn FnMut() + Send>| {
            let stop = Arc::clone(&stop);
            threads.push(thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    work();
                }
            }));
        };
        for name in ["busy_0", "busy_1"] {
            let tool = registry.register(name).expect("the name is free");
            spawn(Box::new(move || {
                for _ in 0..20 {
                    tool.start().succeed();
                    tool.start().fail(ErrorKind::ToolError, "no such file");
                }
                thread::yield_now();
            }));
        }
        let events = registry.subscribe();
        let hears = Arc::clone(&heard);
        spawn(Box::new(move || {
            if let Ok(batch) = events.recv_timeout(Duration::from_millis(10)) {
                hears.fetch_add(batch.len() as u64, Ordering::Relaxed);
            }
        }));
        if churns {
            let tool = registry.register("short_lived").expect("the name is free");
            spawn(Box::new(move || {
                let tool = tool.clone();
                let thread = thread::spawn(move || tool.start().succeed());
                thread.join().expect("it succeeds");
            }));
            let host = registry.clone();
            let mut number = 0_u64;
            spawn(Box::new(move || {
                number += 1;
                let name = format!("tool_{number}");
                let tool = host.register(name.clone()).expect("the name is free");
                tool.start().fail(ErrorKind::ToolError, "once");
                drop(tool);
                host.deregister(&name).expect("it is registered");
                host.publish();
                let _ = host.subscribe();
                let _ = host.metrics();
                let _ = host.intervals().read();
            }));
            let host = registry.clone();
            spawn(Box::new(move || {
                host.reset_metrics();
            }));
        }
        Self {
            stop,
            heard,
            threads,
        }
    }

    fn end(self) -> bool {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().all(|thread| thread.join().is_ok())
    }
}

/// Forks while the pump and other threads are busy.
fn under_load(faults: &mut Faults, churns: bool) {
    let name = if churns {
        "under load, with churn"
    } else {
        "under load"
    };
    let mut host = Host::new(
        Registry::builder()
            .tool_limit(500)
            .publish_every(Duration::ZERO),
    );
    let load = Load::new(&host.registry, churns);
    let heard_before = load.heard.load(Ordering::Relaxed);
    // The task of a child, the number of children that ended well, and each that did not. All of
    // them are printed.
    let mut told = [
        "counts and reads",
        "resets",
        "shuts down and drops",
        "drops",
        "counts in a thread's first call",
    ]
    .map(|child| (child, 0_u64, Vec::new()));
    for number in 0..FORKS {
        let kind = (number % KINDS) as usize;
        host.wait_for_batches();
        // Hung children take long: three failures of a task are enough.
        if told[kind].2.len() >= 3 {
            continue;
        }
        let ended = match kind {
            0 => in_child(|| host.count_and_read()),
            1 => in_child(|| host.reset()),
            2 => in_child(|| {
                // The child's copy is dropped in the child; the parent's lives on. SAFETY: the
                // child exits by `_exit` and never uses `host` again.
                unsafe { std::ptr::read(&raw const host) }.end();
            }),
            3 => in_child(|| {
                // SAFETY: as above.
                drop(unsafe { std::ptr::read(&raw const host) });
            }),
            _ => thread::scope(|scope| {
                let thread = scope.spawn(|| {
                    in_child(|| {
                        host.tool.start().succeed();
                    })
                });
                thread.join().expect("it waits for its child")
            }),
        };
        match ended {
            Ended::Right => told[kind].1 += 1,
            wrong => told[kind].2.push((number, wrong)),
        }
    }
    for (child, right, wrong) in told {
        for (number, ended) in &wrong {
            println!("  {name}, {child}, fork {number}: {ended:?}");
        }
        let what = format!("{name}: {child} ({right} of {} forks)", FORKS / KINDS);
        faults.check_that(&what, wrong.is_empty() && right == FORKS / KINDS);
    }

    // The parent goes on.
    host.tool.start().succeed();
    let calls = host.registry.totals().tools["busy_0"].finished();
    let began = Instant::now();
    let goes_on = || {
        let now = host.registry.totals().tools["busy_0"].finished();
        now > calls && load.heard.load(Ordering::Relaxed) > heard_before
    };
    while !goes_on() && began.elapsed() < LIMIT {
        thread::sleep(Duration::from_millis(1));
    }
    faults.check_that(&format!("{name}: the parent goes on"), goes_on());
    faults.check_that(&format!("{name}: its threads end well"), load.end());
    let totals = host.registry.totals();
    let busy = &totals.tools["busy_1"];
    faults.check_that(
        &format!("{name}: and nothing is in flight"),
        busy.in_flight == 0 && busy.finished() > 0,
    );
    host.registry.shutdown();
}

fn main() -> ExitCode {
    let mut faults = Faults::default();
    at_rest(&mut faults);
    under_load(&mut faults, false);
    under_load(&mut faults, true);
    println!("{} wrong", faults.0);
    ExitCode::from(u8::from(faults.0 > 0))
}
