use super::testing::PanicsOnDrop;
use super::*;
use std::pin::pin;
use std::task::Waker;

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn the_text_of_a_panic_is_what_it_said() {
    let text = |code: fn()| contained(code).unwrap_err().text();
    assert_eq!(text(|| panic!("as it is")), "as it is");
    assert_eq!(text(|| panic!("with {}", 1)), "with 1");
    assert!(text(|| std::panic::panic_any(3)).contains("other than text"));
    assert_eq!(contained(|| 3).unwrap(), 3);
}

#[test]
fn what_panics_when_dropped_unwinds_nowhere() {
    for depth in 0..4 {
        discard(PanicsOnDrop(depth));
        drop(contained(|| std::panic::panic_any(PanicsOnDrop(depth))));
    }
}

#[test]
fn a_panic_goes_on_with_its_payload() {
    let panicked = contained(|| std::panic::panic_any(7_u8)).unwrap_err();
    let again = contained(|| panicked.resume()).unwrap_err();
    let again = contained(|| again.resume()).unwrap_err();
    assert!(again.text().contains("other than text"));
}

#[test]
fn a_future_whose_destructor_panics_unwinds_nowhere() {
    /// Done at once; its destructor panics.
    struct Done(#[allow(dead_code, reason = "dropped with it")] PanicsOnDrop);
    impl Future for Done {
        type Output = u8;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u8> {
            Poll::Ready(5)
        }
    }
    let mut done = Box::pin(Contained::new(Done(PanicsOnDrop(2))));
    assert!(matches!(poll(done.as_mut()), Poll::Ready(Ok(5))));
    drop(done);

    let bomb = PanicsOnDrop(1);
    let mut hangs = pin!(Contained::new(async move {
        let _bomb = &bomb;
        std::future::pending::<()>().await;
    }));
    assert!(poll(hangs.as_mut()).is_pending());
    hangs.discard();

    let mut panics = pin!(Contained::new(async { panic!("inside") }));
    let Poll::Ready(Err::<(), _>(panicked)) = poll(panics.as_mut()) else {
        panic!("it panicked");
    };
    assert_eq!(panicked.text(), "inside");
}

#[test]
fn a_future_that_is_dropped_half_way_unwinds_nowhere() {
    let bomb = PanicsOnDrop(1);
    let mut hangs = Box::pin(Contained::new(async move {
        let _bomb = &bomb;
        std::future::pending::<()>().await;
    }));
    assert!(poll(hangs.as_mut()).is_pending());
    drop(hangs);
}
