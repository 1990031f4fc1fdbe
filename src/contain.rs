//! Containment of panics: code of the host and of its tools is run, polled and dropped here.
//!
//! [`contained`] runs a closure and [`Contained`] polls a future; both return a panic as a value, a
//! [`Panicked`]. Futures and payloads of panics are dropped here, too, so that a panic of their
//! destructors changes no count and does not unwind. [`discard`] drops any other value in the same
//! way.
//!
//! Foreign code runs between two statements of ours, so a panic leaves no state of toolmeter half
//! changed. Its own state is left as it would be without metering.

use pin_project_lite::pin_project;
use std::any::Any;
use std::fmt;
use std::future::Future;
use std::mem::{self, ManuallyDrop};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

/// The payload of a panic.
pub(crate) struct Panicked {
    // In a lock only so that errors which hold one are `Sync`; it is never contended.
    payload: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Panicked {
    fn new(payload: Box<dyn Any + Send>) -> Self {
        Self {
            payload: Mutex::new(Some(payload)),
        }
    }

    fn take(&mut self) -> Option<Box<dyn Any + Send>> {
        let payload = self.payload.get_mut();
        payload.unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns the text of the panic.
    pub(crate) fn text(&self) -> String {
        const NOT_TEXT: &str = "the tool panicked with something other than text";
        let payload = self.payload.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(payload) = &*payload else {
            return NOT_TEXT.to_owned();
        };
        if let Some(text) = payload.downcast_ref::<&'static str>() {
            (*text).to_owned()
        } else if let Some(text) = payload.downcast_ref::<String>() {
            text.clone()
        } else {
            NOT_TEXT.to_owned()
        }
    }

    /// Resumes the panic.
    pub(crate) fn resume(mut self) -> ! {
        match self.take() {
            Some(payload) => resume_unwind(payload),
            None => unreachable!("only this and the destructor take the payload"),
        }
    }
}

impl Drop for Panicked {
    fn drop(&mut self) {
        discard(self.take());
    }
}

impl fmt::Debug for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Panicked").field(&self.text()).finish()
    }
}

/// Runs `code` and returns its value.
///
/// # Errors
///
/// Returns [`Panicked`] if it panics.
#[inline]
pub(crate) fn contained<R>(code: impl FnOnce() -> R) -> Result<R, Panicked> {
    catch_unwind(AssertUnwindSafe(code)).map_err(Panicked::new)
}

/// Drops a value whose destructor may panic.
///
/// The payload of such a panic is dropped, too. If that panics as well, the payload of the second
/// panic is leaked, so that this ends.
#[inline]
pub(crate) fn discard<T>(value: T) {
    if mem::needs_drop::<T>() {
        drop_contained(value);
    }
}

fn drop_contained<T>(value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        let payload = ManuallyDrop::new(payload);
        if let Err(second) = catch_unwind(AssertUnwindSafe(|| {
            drop(ManuallyDrop::into_inner(payload));
        })) {
            mem::forget(second);
        }
    }
}

pin_project! {
    /// A future that returns its panic as a value, and whose destructor does not unwind.
    pub(crate) struct Contained<F> {
        #[pin]
        future: Option<F>,
    }

    impl<F> PinnedDrop for Contained<F> {
        fn drop(this: Pin<&mut Self>) {
            this.discard();
        }
    }
}

impl<F> Contained<F> {
    pub(crate) fn new(future: F) -> Self {
        Self {
            future: Some(future),
        }
    }

    /// Returns the future, unless it was discarded.
    #[cfg(feature = "stream")]
    pub(crate) fn get(self: Pin<&mut Self>) -> Option<Pin<&mut F>> {
        self.project().future.as_pin_mut()
    }

    /// Returns a reference to the future, unless it was discarded.
    #[cfg(feature = "stream")]
    pub(crate) fn peek(&self) -> Option<&F> {
        self.future.as_ref()
    }

    /// Drops the future, unless it was discarded before.
    #[inline]
    pub(crate) fn discard(self: Pin<&mut Self>) {
        let mut future = self.project().future;
        if !mem::needs_drop::<F>() {
            future.set(None);
        } else if future.is_some() {
            let dropped = contained(|| future.set(None));
            drop(dropped);
        }
    }
}

impl<F: Future> Future for Contained<F> {
    type Output = Result<F::Output, Panicked>;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let future = self.project().future.as_pin_mut();
        let Some(future) = future else {
            panic!("a future was polled after it was dropped");
        };
        match contained(|| future.poll(context)) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panicked) => Poll::Ready(Err(panicked)),
        }
    }
}

#[cfg(all(test, not(toolmeter_loom)))]
pub(crate) mod testing;
#[cfg(all(test, not(toolmeter_loom)))]
mod tests;
