//! The set-up that the tests of this crate share.
#![allow(dead_code, reason = "not every test needs all of it")]

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use toolmeter::{ClockSource, ManualClock, Pump, Registry, RegistryBuilder};

/// A registry whose clock stands still and whose pump is driven by hand.
pub(crate) fn builder() -> RegistryBuilder {
    Registry::builder()
        .clock(ClockSource::Manual(Arc::new(ManualClock::new())))
        .pump(Pump::manual())
        .stripes(2)
}

pub(crate) fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// A runtime of one thread, whose time the test sets.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}
