//! The server's process, and the order in which the directions and the process end.
//!
//! | event | reaction |
//! | --- | --- |
//! | the client closes its end | the server's standard input is closed; after [`GRACE`], calls in flight are cancelled and the table is written |
//! | the server closes its standard output | calls in flight end, and the client's end is closed |
//! | the client reads no more | calls in flight are cancelled, and the server's end is closed |
//! | the server reads no more | the client's end is closed |
//! | SIGTERM, SIGINT, SIGHUP, SIGQUIT | it is passed on; after [`GRACE`], calls in flight are cancelled and the table is written; later calls are followed |
//! | SIGUSR1, SIGUSR2 | it is passed on |
//! | the server has ended, and its output has been passed on, or one of the first four signals arrives | the snapshot, the events and the table are written, and the proxy ends with the server's status |
//! | the server has ended, the client has left, and after [`GRACE`] the server's output is still open in another process, but nothing is on its way | the same |
//!
//! # Orderings
//!
//! A request is followed before the server has it as a whole, and an answer before the client has
//! it. So each call that a side knows of has been counted, and no end is seen before its start.

use crate::args::Args;
use crate::follow::{Follower, From, Session};
use crate::forward::{End, forward};
use crate::output::{SnapshotFile, write_events};
use crate::signals::is_ignored;
use crate::stderr::{self, say, say_line};
use crate::summary::summary;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::{Duration, Instant};
use toolmeter::{Registry, Snapshot};

/// The longest time that the server may run on after its client has left until the table is written.
/// It is less than the two seconds after which clients kill a server.
const GRACE: Duration = Duration::from_secs(1);

/// The time between two looks at whether anything is on its way from a server that has ended.
const LOOK_EVERY: Duration = Duration::from_millis(100);

const SNAPSHOT_EVERY: Duration = Duration::from_secs(1);

/// The signals that ask for the end.
const ENDING: [i32; 4] = [SIGTERM, SIGINT, SIGHUP, SIGQUIT];

/// The signals that a server may have a meaning of its own for.
const OTHERS: [i32; 2] = [SIGUSR1, SIGUSR2];

/// A message to the thread that waits.
enum News {
    /// The client sends no more.
    ClientLeft,
    /// The server's output has ended, or the client reads it no more.
    ServerDone,
    Exited(io::Result<ExitStatus>),
    Signal(i32),
}

/// The state that the threads share.
struct Shared {
    session: Session,
    /// Set if the client left before the server did. Relaxed ordering suffices for this flag and the
    /// next: the threads that read them also take the session's lock, or only write the table.
    client_left: AtomicBool,
    /// Set from a signal that asks for the end until the server has survived it.
    is_ending: AtomicBool,
    /// The server's standard output, while it is read.
    output: OnceLock<Weak<ChildStdout>>,
}

impl Shared {
    /// Returns whether the calls in flight are the client's to cancel, should the server end now.
    fn has_left(&self) -> bool {
        self.client_left.load(Ordering::Relaxed) || self.is_ending.load(Ordering::Relaxed)
    }

    /// Returns whether nothing is on its way from the server to the client. It is not exact for
    /// bytes that were read and are not yet being written.
    fn is_idle(&self) -> bool {
        let Some(output) = self.output.get().and_then(Weak::upgrade) else {
            return true;
        };
        let client = rustix::stdio::stdout();
        let mut ends = [
            PollFd::new(&*output, PollFlags::IN),
            PollFd::new(&client, PollFlags::OUT),
        ];
        if poll(&mut ends, Some(&Timespec::default())).is_err() {
            return false;
        }
        let [source, sink] = ends.map(|end| end.revents());
        // Something to read, or the end of it. Where nothing can be written, a thread may be waiting.
        source.is_empty() && !sink.is_empty()
    }
}

/// Runs the server, and returns the exit status of the proxy.
///
/// # Errors
///
/// A message of one line, if the server cannot be started.
pub(crate) fn run(args: &Args) -> Result<i32, String> {
    let registry = Registry::new();
    let mut file = args.snapshot.as_deref().map(SnapshotFile::new);
    if let Some(file) = &mut file {
        file.write(&registry.totals())?;
    }
    let command = args.command[0].to_string_lossy().into_owned();
    let watched = ENDING.into_iter().chain(OTHERS);
    let signals = Signals::new(watched.filter(|&signal| !is_ignored(signal)))
        .map_err(|error| format!("cannot watch for signals: {error}"))?;
    let server = Command::new(&args.command[0])
        .args(&args.command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start {command}: {error}"))?;
    let events = args.events.then(|| {
        let subscription = registry.subscribe();
        stderr::Writer::start(move || write_events(&subscription))
    });
    let shared = Arc::new(Shared {
        session: Session::new(Follower::new(registry.clone(), args.events)),
        client_left: AtomicBool::new(false),
        is_ending: AtomicBool::new(false),
        output: OnceLock::new(),
    });
    let pid = Pid::from_child(&server);
    let news = start(server, signals, &shared)?;
    let mut watch = Watch {
        shared,
        registry,
        file,
        command,
        written: None,
    };
    let status = watch.until_it_ends(&news, pid);
    watch.registry.shutdown();
    // First, because the rest may wait for a reader of standard error.
    watch.write_snapshot(SnapshotFile::write_anew);
    if let Some(events) = events {
        // All of them are written before the table.
        events.wait();
    }
    watch.write_summary(status);
    Ok(status.map_or(0, |status| {
        let signal = status.signal().map(|signal| 128 + signal);
        status.code().or(signal).unwrap_or(1)
    }))
}

/// Starts the threads.
fn start(
    mut server: Child,
    mut signals: Signals,
    shared: &Arc<Shared>,
) -> Result<Receiver<News>, String> {
    let (tell, news) = mpsc::channel();
    let (Some(input), Some(output)) = (server.stdin.take(), server.stdout.take()) else {
        return Err("the server has no standard input or output".into());
    };
    // `/dev/null` takes the place of standard input or output when it is closed.
    let null = || File::options().read(true).write(true).open("/dev/null");
    let ends = null().and_then(|first| Ok((first, null()?)));
    let (no_input, no_output) = ends.map_err(|error| format!("cannot open /dev/null: {error}"))?;
    let client = (Arc::clone(shared), tell.clone());
    thread::spawn(move || {
        let (shared, tell): (Arc<Shared>, Sender<News>) = client;
        let mut direction = shared.session.direction(From::Client);
        let end = forward(rustix::stdio::stdin(), &input, |bytes| direction.see(bytes));
        direction.finish();
        match end {
            End::Source => {
                shared.client_left.store(true, Ordering::Relaxed);
                drop(input);
                let _gone = tell.send(News::ClientLeft);
            }
            End::Sink => {
                let _kept = rustix::stdio::dup2_stdin(&no_input);
            }
        }
    });
    let output = Arc::new(output);
    // No other thread sets it.
    let _set = shared.output.set(Arc::downgrade(&output));
    let from_server = (Arc::clone(shared), tell.clone());
    thread::spawn(move || {
        let (shared, tell) = from_server;
        let mut direction = shared.session.direction(From::Server);
        let end = forward(&*output, rustix::stdio::stdout(), |bytes| {
            direction.see(bytes);
        });
        direction.finish();
        match end {
            End::Source => {
                shared.session.lock().server_gone(shared.has_left());
                let _kept = rustix::stdio::dup2_stdout(&no_output);
            }
            End::Sink => {
                shared.session.lock().client_gone();
                drop(output);
            }
        }
        let _gone = tell.send(News::ServerDone);
    });
    let exited = tell.clone();
    thread::spawn(move || {
        let _gone = exited.send(News::Exited(server.wait()));
    });
    thread::spawn(move || {
        for signal in signals.forever() {
            if tell.send(News::Signal(signal)).is_err() {
                return;
            }
        }
    });
    Ok(news)
}

/// The thread that waits for the end, and writes the snapshots and the table.
struct Watch {
    shared: Arc<Shared>,
    registry: Registry,
    file: Option<SnapshotFile>,
    command: String,
    /// The table that was written last, without the state of the server.
    written: Option<String>,
}

impl Watch {
    /// Waits for the end, and returns the server's status; `None` if it is unknown.
    fn until_it_ends(&mut self, news: &Receiver<News>, pid: Pid) -> Option<ExitStatus> {
        let mut status = None;
        let (mut is_done, mut has_exited) = (false, false);
        let mut was_idle = false;
        let (mut grace_ends, mut look_at) = (None, None);
        let mut snapshot_at = self.file.as_ref().map(|_| Instant::now() + SNAPSHOT_EVERY);
        while !(is_done && has_exited) {
            let next = [snapshot_at, grace_ends, look_at].into_iter().flatten();
            let arrived = match next.min() {
                Some(at) => news.recv_timeout(at.saturating_duration_since(Instant::now())),
                None => news.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match arrived {
                Ok(News::ClientLeft) => grace_ends = Some(Instant::now() + GRACE),
                Ok(News::ServerDone) => is_done = true,
                Ok(News::Exited(result)) => {
                    has_exited = true;
                    status = result.ok();
                }
                Ok(News::Signal(signal)) => {
                    let is_end = ENDING.contains(&signal);
                    // The server's output may stay open in another process.
                    if has_exited && is_end {
                        break;
                    }
                    if let Some(signal) = Signal::from_named_raw(signal)
                        && !has_exited
                    {
                        let _gone = kill_process(pid, signal);
                    }
                    if is_end {
                        self.shared.is_ending.store(true, Ordering::Relaxed);
                        grace_ends = Some(Instant::now() + GRACE);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let now = Instant::now();
            if grace_ends.is_some_and(|end| end <= now) {
                grace_ends = None;
                self.shared.session.lock().cancel_all();
                if !has_exited {
                    // It need not end at a signal, and the client may go on.
                    self.shared.is_ending.store(false, Ordering::Relaxed);
                }
                self.write_snapshot(SnapshotFile::write_anew);
                self.write_summary(status);
            }
            if has_exited && grace_ends.is_none() && self.shared.has_left() {
                if look_at.is_some_and(|at| at <= now) {
                    let is_idle = self.shared.is_idle();
                    if was_idle && is_idle {
                        break;
                    }
                    (was_idle, look_at) = (is_idle, None);
                }
                look_at.get_or_insert(now + LOOK_EVERY);
            } else {
                look_at = None;
            }
            if snapshot_at.is_some_and(|at| at <= now) {
                snapshot_at = Some(now + SNAPSHOT_EVERY);
                self.write_snapshot(SnapshotFile::write);
            }
        }
        let has_left = self.shared.has_left();
        self.shared.session.lock().server_gone(has_left);
        status
    }

    fn write_snapshot(&mut self, write: fn(&mut SnapshotFile, &Snapshot) -> Result<(), String>) {
        if let Some(file) = &mut self.file
            && let Err(error) = write(file, &self.registry.totals())
        {
            // It is not fatal: passing on is more important than counting.
            say_line(format_args!("mcp_proxy: {error}"));
        }
    }

    /// Writes the table unless it is the same as the last one.
    fn write_summary(&mut self, status: Option<ExitStatus>) {
        let snapshot = self.registry.totals();
        let tally = self.shared.session.lock().tally();
        let counts = format!(
            "{tally:?} {:?}",
            snapshot.totals().map(|tool| tool.finished())
        );
        if self.written.as_ref() == Some(&counts) {
            return;
        }
        let state = match status {
            Some(status) => status.to_string(),
            None => "still running".into(),
        };
        say(summary(&self.command, &state, &snapshot, &tally));
        self.written = Some(counts);
    }
}
