//! The containment of a handler's panics.

use futures_util::FutureExt;
use pin_project_lite::pin_project;
use std::any::Any;
use std::future::Future;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// The payload of a panic. Dropping it never unwinds.
pub(crate) struct Panicked(Option<Box<dyn Any + Send>>);

impl Panicked {
    /// Returns the message of the panic.
    pub(crate) fn text(&self) -> &str {
        let payload = self.0.as_deref();
        payload
            .and_then(|payload| {
                let text = payload.downcast_ref::<&'static str>().copied();
                text.or_else(|| payload.downcast_ref::<String>().map(|text| &**text))
            })
            .unwrap_or("the handler panicked with something other than text")
    }
}

impl Drop for Panicked {
    fn drop(&mut self) {
        discard(self.0.take());
    }
}

/// Runs `code`.
///
/// # Errors
///
/// [`Panicked`] if it panicked.
pub(crate) fn contained<R>(code: impl FnOnce() -> R) -> Result<R, Panicked> {
    catch_unwind(AssertUnwindSafe(code)).map_err(|payload| Panicked(Some(payload)))
}

/// Drops a value whose destructor may panic.
fn discard<T>(value: T) {
    let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) else {
        return;
    };
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(second);
    }
}

pin_project! {
    /// A future that returns its panic as a value, and whose destructor never unwinds.
    pub(crate) struct Contained<F> {
        #[pin]
        future: Option<F>,
    }

    impl<F> PinnedDrop for Contained<F> {
        fn drop(this: Pin<&mut Self>) {
            this.leave();
        }
    }
}

impl<F> Contained<F> {
    pub(crate) fn new(future: F) -> Self {
        Self {
            future: Some(future),
        }
    }

    /// Drops the future.
    pub(crate) fn leave(self: Pin<&mut Self>) {
        let mut future = self.project().future;
        if future.is_some() {
            let left = catch_unwind(AssertUnwindSafe(|| future.set(None)));
            if let Err(payload) = left {
                drop(Panicked(Some(payload)));
            }
        }
    }
}

impl<F: Future> Future for Contained<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().future.as_pin_mut() {
            None => Poll::Pending,
            Some(future) => AssertUnwindSafe(future)
                .catch_unwind()
                .poll_unpin(context)
                .map(|given| given.map_err(|payload| Panicked(Some(payload)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use std::pin::pin;

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::panic_any(Bomb);
        }
    }

    #[test]
    fn nothing_that_is_left_behind_unwinds() {
        let bomb = Bomb;
        let mut future = pin!(Contained::new(async move {
            let _bomb = bomb;
            pending::<()>().await;
        }));
        assert!(future.as_mut().now_or_never().is_none());
        future.as_mut().leave();
        let panicked = contained(|| std::panic::panic_any(Bomb)).err();
        assert!(panicked.is_some_and(|panicked| panicked.text().contains("other than text")));
    }

    #[test]
    fn a_panic_is_a_value() {
        let said = Contained::new(async { panic!("no {}", 3) }).now_or_never();
        let said: Result<(), Panicked> = said.unwrap_or(Ok(()));
        assert_eq!(
            said.err()
                .map(|panicked| panicked.text().to_owned())
                .as_deref(),
            Some("no 3")
        );
    }
}
