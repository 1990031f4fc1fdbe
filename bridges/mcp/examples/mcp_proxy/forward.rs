//! Bytes on their way: what is read is passed on, and nothing is kept.
//!
//! Promises:
//!
//! - At most [`BUFFER`] bytes are held in a direction. While they cannot be written no more are read,
//!   so that the pressure of a slow reader reaches the writer as it would without a proxy.
//! - A line is seen as a whole before its newline passes, so that its reader cannot act on it before.

use memchr::memchr;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd};

/// As much as a pipe holds.
const BUFFER: usize = 64 << 10;

/// From this many bytes on, the reader gets what it may have before the rest is seen, and copies it
/// meanwhile. One more system call costs less.
const LARGE: usize = 8 << 10;

/// Why no more bytes pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// There is nothing more to read.
    Source,
    /// The bytes that were read can no longer be written.
    Sink,
}

/// Passes on what `source` gives until one of them ends, and shows all of it to `see`.
pub(crate) fn forward(source: impl AsFd, sink: impl AsFd, mut see: impl FnMut(&[u8])) -> End {
    let (source, sink) = (source.as_fd(), sink.as_fd());
    let mut buffer = vec![0; BUFFER];
    loop {
        // A pipe that cannot be read gives no more, whatever the reason.
        let bytes = match read(source, &mut buffer) {
            Ok(length @ 1..) => &buffer[..length],
            Ok(0) | Err(_) => return End::Source,
        };
        let early = match bytes.len() {
            0..LARGE => 0,
            _ => memchr(b'\n', bytes).unwrap_or(bytes.len()),
        };
        let (early, late) = bytes.split_at(early);
        let is_passed = write_all(sink, early);
        see(bytes);
        if is_passed.and_then(|()| write_all(sink, late)).is_err() {
            return End::Sink;
        }
    }
}

fn read(source: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        match rustix::io::read(source, &mut *buffer) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait(source, PollFlags::IN)?,
            done => return done,
        }
    }
}

fn write_all(sink: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(sink, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait(sink, PollFlags::OUT)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Waits for an end that its owner made non-blocking.
fn wait(end: BorrowedFd<'_>, flags: PollFlags) -> Result<(), Errno> {
    match poll(&mut [PollFd::new(&end, flags)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error),
    }
}
