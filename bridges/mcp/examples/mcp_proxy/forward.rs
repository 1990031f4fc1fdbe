//! The copying of the bytes from one side to the other.
//!
//! Guarantees:
//!
//! - At most [`BUFFER`] bytes are held in a direction. While they cannot be written, no more are
//!   read, so that a slow reader slows the writer down as it would without a proxy.
//! - A line has been seen as a whole before its newline is passed on, so that its reader cannot act
//!   on it earlier.

use memchr::memchr;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd};

/// The size of the buffer: the capacity of a pipe on Linux.
const BUFFER: usize = 64 << 10;

/// The least length of a read whose first line is passed on, up to its newline, before it is seen.
/// The reader copies it meanwhile, which saves more than the additional system call costs.
const LARGE: usize = 8 << 10;

/// The reason why no more bytes are passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// There is nothing more to read.
    Source,
    /// The bytes that were read can no longer be written.
    Sink,
}

/// Passes on the bytes of `source` until one of both ends, and shows all of them to `see`.
pub(crate) fn forward(source: impl AsFd, sink: impl AsFd, mut see: impl FnMut(&[u8])) -> End {
    let (source, sink) = (source.as_fd(), sink.as_fd());
    let mut buffer = vec![0; BUFFER];
    loop {
        // An error ends the direction like the end of the pipe does.
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

/// Waits for a pipe that its owner has made non-blocking.
fn wait(end: BorrowedFd<'_>, flags: PollFlags) -> Result<(), Errno> {
    match poll(&mut [PollFd::new(&end, flags)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error),
    }
}
