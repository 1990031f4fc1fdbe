//! Code of the host that toolmeter runs or drops (redactors, wakers, the bodies of tools): its
//! behaviours and their counts.
//!
//! Each run does the next of the [`Deed`]s. It may be on any thread, so the counts are behind a
//! lock, which is never held during a call of the registry.

use crate::calls::count_answer;
use crate::counts::Counts;
use crate::crossing::poll_once;
use crate::did::Did;
use crate::host::Host;
use crate::tools::{ALONE, BY_NAME, FIXED, NAMES, PLAIN, TOOLS, ask};
use std::future::IntoFuture;
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::Poll;
use toolmeter::{Filter, Outcome, Subscription};

/// The name that foreign code registers and deregisters, and no thread of the load.
const INNER: usize = TOOLS - 1;
/// The tools that come and go on a host with foreign code.
pub(crate) const COMING_AND_GOING: std::ops::Range<usize> = FIXED..INNER;
/// The beginning of each text that a redactor returned, unless it is empty.
pub(crate) const MARK: &str = "[redacted]";
/// The longest message that is kept, in bytes: the default.
pub(crate) const MESSAGE_BYTES: usize = 512;

/// The behaviours of foreign code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Panics, with a payload that panics when it is dropped.
    Panic,
    /// Reads the account of the events.
    Account,
    /// Reads metrics, totals and the published snapshot.
    Read,
    /// Resets the metrics.
    Reset,
    /// Publishes a snapshot.
    Publish,
    /// Makes a round of the pump.
    Pump,
    /// Subscribes, and drops the subscription that was made so before.
    Subscribe,
    /// Calls a tool by its handle.
    Call,
    /// Calls a tool by its name.
    Invoke,
    /// Registers a tool, calls it and deregisters it.
    Register,
}

impl Deed {
    /// Returns the deed of this step.
    pub(crate) fn of(step: u64) -> Self {
        const ALL: [Deed; 10] = [
            Deed::Panic,
            Deed::Account,
            Deed::Read,
            Deed::Reset,
            Deed::Publish,
            Deed::Pump,
            Deed::Subscribe,
            Deed::Call,
            Deed::Invoke,
            Deed::Register,
        ];
        ALL[(step % ALL.len() as u64) as usize]
    }
}

/// The owner of foreign code.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whose {
    /// The redactor's.
    Redactor,
    /// A waker's.
    Waker,
    /// A tool's.
    Body,
}

impl Whose {
    const fn did(self, deed: Deed) -> Did {
        match (self, deed) {
            (Self::Redactor, Deed::Panic) => Did::RedactorPanicked,
            (Self::Redactor, _) => Did::RedactorCalledBack,
            (Self::Waker, Deed::Panic) => Did::WakerPanicked,
            (Self::Waker, _) => Did::WakerCalledBack,
            (Self::Body, Deed::Panic) => Did::BodyPanicked,
            (Self::Body, _) => Did::BodyCalledBack,
        }
    }
}

/// A payload that panics when it is dropped, with another of its kind.
struct Bomb(u8);

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 > 0 {
            resume_unwind(Box::new(Self(self.0 - 1)));
        }
    }
}

/// Panics with a payload that panics when it is dropped. Prints nothing, since there are thousands.
pub(crate) fn explode() -> ! {
    resume_unwind(Box::new(Bomb(2)))
}

/// The state that the foreign code of one host shares.
#[derive(Debug, Default)]
pub(crate) struct Foreign {
    host: OnceLock<Weak<Host>>,
    ledger: Mutex<Ledger>,
    kept: Mutex<Option<Subscription>>,
    steps: AtomicU64,
    /// Messages that the redactor did not return, or that are too long.
    strange_messages: AtomicU64,
    is_inner_taken: AtomicBool,
}

/// The counts of foreign code.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Its calls.
    pub(crate) counts: Counts,
    /// The sum of what its resets returned.
    pub(crate) resets: Counts,
}

impl Foreign {
    /// Sets the host that foreign code calls. Before that, the code can only panic.
    pub(crate) fn begin(&self, host: &Arc<Host>) {
        // It is set once.
        let _ = self.host.set(Arc::downgrade(host));
    }

    /// Returns the next number of a sequence that is shared by all threads.
    pub(crate) fn next(&self) -> u64 {
        self.steps.fetch_add(1, Ordering::Relaxed)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts something that was done.
    pub(crate) fn did(&self, did: Did) {
        self.ledger().counts.did(did);
    }

    /// Takes the counts so far.
    pub(crate) fn take_ledger(&self) -> Ledger {
        std::mem::take(&mut *self.ledger())
    }

    /// Keeps this subscription instead of the one before, which is returned.
    pub(crate) fn keep(&self, subscription: Option<Subscription>) -> Option<Subscription> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *kept, subscription)
    }

    /// Counts a message that toolmeter shows if it did not go through the redactor or is too long.
    pub(crate) fn judge(&self, message: &str) {
        const PANICKED: &str = "(the error's text could not be read: it panicked)";
        let is_known = message == PANICKED || message.starts_with(MARK);
        if !is_known || message.len() > MESSAGE_BYTES {
            self.strange_messages.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the number of messages that were not as expected.
    pub(crate) fn strange_messages(&self) -> u64 {
        self.strange_messages.load(Ordering::Relaxed)
    }

    /// Does the deed, and counts it.
    pub(crate) fn act(&self, whose: Whose, deed: Deed) {
        if deed == Deed::Panic {
            self.did(whose.did(deed));
            explode();
        }
        let Some(host) = self.host.get().and_then(Weak::upgrade) else {
            return;
        };
        let registry = &host.registry;
        match deed {
            Deed::Panic => {}
            Deed::Account => {
                let _ = registry.event_accounting();
            }
            Deed::Read => {
                drop(registry.metrics());
                drop(registry.totals());
                drop(registry.published());
            }
            Deed::Reset => {
                let reset = registry.reset_metrics();
                self.ledger().resets.add_snapshot(&reset);
            }
            Deed::Publish => registry.publish(),
            Deed::Pump => {
                registry.pump();
            }
            Deed::Subscribe => {
                let new = registry.subscribe_with(Filter::new(), Some(1));
                drop(self.keep(new.ok()));
            }
            Deed::Call => {
                host.tool(PLAIN).run(|| ());
                self.ledger().counts.whole(PLAIN, 1, Outcome::Success);
            }
            Deed::Invoke => self.invoke(&host),
            Deed::Register => self.register(&host),
        }
        self.did(whose.did(deed));
    }

    fn invoke(&self, host: &Host) {
        let call = host.registry.invoke(NAMES[BY_NAME], ask::ANSWER.into());
        let Poll::Ready(answer) = poll_once(pin!(call.into_future())) else {
            panic!("`{}` did not answer at once", NAMES[BY_NAME]);
        };
        count_answer(&mut self.ledger().counts, BY_NAME, 1, &answer);
    }

    /// Registers, calls and deregisters a tool, on one thread at a time. Other threads call another
    /// tool meanwhile.
    fn register(&self, host: &Host) {
        if self.is_inner_taken.swap(true, Ordering::Acquire) {
            host.tool(ALONE).start().succeed();
            self.ledger().counts.whole(ALONE, 1, Outcome::Success);
            return;
        }
        let registry = &host.registry;
        let tool = registry.register(NAMES[INNER]);
        let tool = tool.expect("no other thread registers this name");
        tool.start().succeed();
        self.ledger().counts.whole(INNER, 1, Outcome::Success);
        let ended = registry.deregister(NAMES[INNER]);
        ended.expect("no other thread deregisters this name");
        drop(tool);
        self.is_inner_taken.store(false, Ordering::Release);
    }
}
