//! [`PumpThread`]: the background thread of a registry's pump.

use crate::pump_worker::PumpWorker;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The background thread of the pump.
#[derive(Debug)]
pub(crate) struct PumpThread {
    thread: JoinHandle<()>,
    /// Disconnected after the thread has dropped all that it holds of the registry.
    ended: Receiver<()>,
}

/// The longest time that the end of a registry waits for the thread of its pump.
const MAX_JOIN: Duration = Duration::from_secs(1);

impl PumpThread {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The error of the operating system if it cannot start a thread.
    pub(crate) fn start(worker: Arc<PumpWorker>) -> io::Result<Self> {
        let (ends, ended) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("toolmeter-pump".into())
            .spawn(move || {
                // The worker is dropped first, and then the sender.
                let _ends: Sender<()> = ends;
                let worker = worker;
                worker.run();
            })?;
        Ok(Self { thread, ended })
    }

    /// Returns a closure that wakes the thread up.
    pub(crate) fn waker(&self) -> impl Fn() + Send + Sync + 'static {
        let thread = self.thread.thread().clone();
        move || thread.unpark()
    }

    /// Wakes the thread up and waits for its end. The caller has stopped its worker.
    ///
    /// This waits for a second at most, since the host's source of the time of day may not return. It
    /// does not wait if the calling thread is this one.
    pub(crate) fn end(self) {
        let thread = self.thread.thread();
        thread.unpark();
        // The pump runs code of the host, which may drop the last clone of the registry.
        if thread.id() == thread::current().id() {
            return;
        }

        if self.ended.recv_timeout(MAX_JOIN) == Err(RecvTimeoutError::Disconnected) {
            // The result is not used: the caller finishes what the pump left, if it panicked.
            let _ = self.thread.join();
        }
    }
}
