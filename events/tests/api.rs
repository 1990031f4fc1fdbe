//! The public types of this crate and the traits that they implement, checked when this file is
//! compiled: all may be sent to other threads, shared between them, and used after a caught panic.
#![cfg(not(toolmeter_loom))]

use std::error::Error;
use std::fmt::Debug;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use toolmeter_events::{
    Batch, CallContext, CallId, Draft, Drain, ErrorMessage, Event, EventKind, EventNumber, Filter,
    Hub, HubError, Moment, NameTable, RecvError, RecvTimeoutError, RingAccounting, Rings,
    RingsAccounting, RingsError, Round, StatsHandle, SubscribeError, Subscription,
    SubscriptionStats, Timeline, ToolId, TryRecvError, Wakeups,
};

const fn shared<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + Debug + 'static>() {}
const fn cloned<T: Clone>() {}
const fn copied<T: Copy>() {}
const fn an_error<T: Error>() {}

const _: () = {
    shared::<Batch>();
    shared::<CallContext>();
    shared::<CallId>();
    shared::<Draft>();
    shared::<Drain>();
    shared::<ErrorMessage>();
    shared::<Event>();
    shared::<EventKind>();
    shared::<EventNumber>();
    shared::<Filter>();
    shared::<Hub>();
    shared::<HubError>();
    shared::<Moment>();
    shared::<NameTable>();
    shared::<RecvError>();
    shared::<RecvTimeoutError>();
    shared::<Rings>();
    shared::<RingsAccounting>();
    shared::<RingsError>();
    shared::<Round>();
    shared::<StatsHandle>();
    shared::<RingAccounting>();
    shared::<Subscription>();
    shared::<SubscribeError>();
    shared::<SubscriptionStats>();
    shared::<Timeline>();
    shared::<ToolId>();
    shared::<TryRecvError>();
    shared::<Wakeups>();
    cloned::<Batch>();
    cloned::<Event>();
    cloned::<Filter>();
    cloned::<CallContext>();
    cloned::<Hub>();
    cloned::<NameTable>();
    cloned::<StatsHandle>();
    cloned::<Timeline>();
    copied::<CallId>();
    copied::<EventKind>();
    copied::<EventNumber>();
    copied::<Moment>();
    copied::<SubscriptionStats>();
    copied::<ToolId>();
    an_error::<HubError>();
    an_error::<RecvError>();
    an_error::<RecvTimeoutError>();
    an_error::<RingsError>();
    an_error::<SubscribeError>();
    an_error::<TryRecvError>();
};

#[test]
fn an_offer_catches_the_panic_of_the_pumps_waker() {
    let tool = ToolId::new(0);
    let rings = Arc::new(Rings::new(1, 8).unwrap());
    rings.allocate();
    let mut drain = Drain::new(&rings, 0);
    assert!(rings.set_waker(|| panic!("the waker's own")));
    assert!(drain.fall_asleep());
    let started = || Draft::started(tool, 1, 5, None);
    rings.offer(0, started(), None);

    // The pump is marked awake now, so its waker is not called again. The event is in the ring.
    rings.offer(0, started(), None);
    assert_eq!(drain.round(|| 5).events.len(), 2);
    let accounting = rings.accounting();
    assert_eq!(
        (accounting.offered, accounting.drained, accounting.lost),
        (2, 2, 0)
    );
    assert!(drain.fall_asleep());
}
