//! [`Owner`]: the parts of a registry that its clones share, and its end.
//!
//! All clones of a registry share one owner. When the last clone is dropped, the pump delivers what
//! is in the rings, ends every subscription and stops.

use crate::live_registries::{LiveRegistries, RegistryId};
use crate::pump::Pump;
use crate::pump_thread::PumpThread;
use crate::pump_worker::PumpWorker;
use crate::registry_state::RegistryState;
use crate::sync::{Mutex, lock};
use std::io;
use std::mem;
use std::sync::Arc;

/// The registries of this process, by id.
static LIVE: LiveRegistries<Owner> = LiveRegistries::new();

/// The parts of a registry that its clones share.
///
/// It has cache lines of its own, as has all that a look-up reads.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Owner {
    pub(crate) state: Arc<RegistryState>,
    pub(crate) worker: Arc<PumpWorker>,
    thread: Mutex<Option<PumpThread>>,
    pub(crate) id: RegistryId,
}

impl Owner {
    /// Starts the pump's thread, if there is to be one.
    ///
    /// # Errors
    ///
    /// The error of the operating system if it cannot start a thread.
    pub(crate) fn start(
        state: Arc<RegistryState>,
        worker: Arc<PumpWorker>,
        pump: Pump,
    ) -> io::Result<Arc<Self>> {
        let thread = if pump.is_background {
            let thread = PumpThread::start(Arc::clone(&worker))?;
            state.env.rings.set_waker(thread.waker());
            Some(thread)
        } else {
            None
        };
        Ok(Arc::new_cyclic(|owner| Self {
            state,
            worker,
            thread: Mutex::new(thread),
            id: LIVE.insert(owner),
        }))
    }

    /// Returns the owner of this id, unless it is gone.
    pub(crate) fn find(id: RegistryId) -> Option<Arc<Self>> {
        LIVE.find(id)?.upgrade()
    }

    /// Ends the pump's thread and makes the last round, unless that was done before.
    pub(crate) fn shutdown(&self) {
        if self.state.process.is_forked() {
            // The pump's thread is not in this process, and what it had locked stays locked. So only
            // the rings are closed.
            self.state.env.rings.close();
            return;
        }
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            self.worker.stop();
            thread.end();
        }
        self.worker.finish();
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        LIVE.remove(self.id);
        self.shutdown();
        if self.state.process.is_forked() {
            // The pump may have been changing these when the process was forked, so they are leaked.
            mem::forget((Arc::clone(&self.state), Arc::clone(&self.worker)));
        }
    }
}
