//! Standard error, whose reader may have stopped reading.
//!
//! A full pipe makes its writer wait, for ever if no process reads it. So each text is written by a
//! thread of its own, and the others wait for it only as long as standard error takes bytes.
//!
//! # Invariant
//!
//! A text is written as a whole before the next one: its thread holds the lock of standard error.
//! At most one text of [`say`] waits for a reader after its caller has given up.
//!
//! # Orderings
//!
//! | what | ordering |
//! | --- | --- |
//! | [`TAKEN`] | relaxed: it is only compared with its own earlier value |
//! | [`LEFT`] | a lock, held while a text is waited for |
//! | the end of a thread | that of its channel |

use std::convert::Infallible;
use std::fmt::Display;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// The time without a byte taken until a thread is no longer waited for.
const PATIENCE: Duration = Duration::from_millis(300);

/// The most bytes of one write, so that a slow reader is told from one that has stopped.
const PART: usize = 4 << 10;

/// The most characters of a line, before they are escaped.
const LONGEST: usize = 1_000;

/// The number of bytes that standard error has taken.
static TAKEN: AtomicU64 = AtomicU64::new(0);

/// The thread whose text was not taken in time.
static LEFT: Mutex<Option<Writer>> = Mutex::new(None);

/// A thread that writes to standard error.
pub(crate) struct Writer(Receiver<Infallible>);

impl Writer {
    /// Starts a thread.
    pub(crate) fn start(work: impl FnOnce() + Send + 'static) -> Self {
        let (running, ended) = mpsc::channel();
        thread::spawn(move || {
            let _until_the_end = running;
            work();
        });
        Self(ended)
    }

    /// Waits until the thread has ended, or standard error takes no bytes.
    pub(crate) fn wait(&self) {
        let mut before = TAKEN.load(Ordering::Relaxed);
        while self.0.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            let taken = TAKEN.load(Ordering::Relaxed);
            // If it takes bytes, the thread has only not run yet.
            if taken == before && is_full() {
                return;
            }
            before = taken;
        }
    }

    fn has_ended(&self) -> bool {
        self.0.try_recv() == Err(TryRecvError::Disconnected)
    }
}

/// Waits until standard error takes bytes or is closed, or until the limit. Returns whether it takes
/// them.
#[cfg(unix)]
fn wait_until_ready(limit: Option<&rustix::event::Timespec>) -> io::Result<bool> {
    use rustix::event::{PollFd, PollFlags, poll};
    let stderr = io::stderr();
    let mut ends = [PollFd::new(&stderr, PollFlags::OUT)];
    Ok(poll(&mut ends, limit)? > 0)
}

/// Returns whether standard error takes no bytes now.
#[cfg(unix)]
fn is_full() -> bool {
    let now = rustix::event::Timespec::default();
    wait_until_ready(Some(&now)).is_ok_and(|is_ready| !is_ready)
}

/// Waits until standard error takes bytes or is closed.
#[cfg(unix)]
fn wait_for_room() -> io::Result<()> {
    match wait_until_ready(None) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        waited => waited.map(|_| ()),
    }
}

/// Waits a while for standard error to take bytes.
#[cfg(not(unix))]
fn wait_for_room() -> io::Result<()> {
    thread::sleep(Duration::from_millis(1));
    Ok(())
}

/// Returns whether standard error takes no bytes, which cannot be told.
#[cfg(not(unix))]
fn is_full() -> bool {
    true
}

/// Writes bytes, however long this takes.
///
/// # Errors
///
/// If standard error is closed.
pub(crate) fn write(bytes: &[u8]) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    let mut rest = bytes;
    while !rest.is_empty() {
        match stderr.write(&rest[..rest.len().min(PART)]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(taken) => {
                TAKEN.fetch_add(taken as u64, Ordering::Relaxed);
                rest = &rest[taken..];
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A program that shares standard error may have made it return when it is full.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait_for_room()?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes a text. It is dropped if standard error is closed, or has not taken the text before.
pub(crate) fn say(text: String) {
    let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
    if left.as_ref().is_some_and(|writer| !writer.has_ended()) {
        return;
    }
    let writer = Writer::start(move || {
        let _closed = write(text.as_bytes());
    });
    writer.wait();
    *left = Some(writer);
}

/// Writes a line, made [`visible`].
pub(crate) fn say_line(line: impl Display) {
    let mut line = visible(line);
    line.push('\n');
    say(line);
}

/// Returns the text as one line: what cannot be seen is escaped, and what is too long is cut.
pub(crate) fn visible(text: impl Display) -> String {
    let text = text.to_string();
    let mut line = String::new();
    let mut rest = text.chars();
    for character in rest.by_ref().take(LONGEST) {
        match character {
            '"' | '\'' | '\\' => line.push(character),
            _ => line.extend(character.escape_debug()),
        }
    }
    if rest.next().is_some() {
        line.push('…');
    }
    line
}
