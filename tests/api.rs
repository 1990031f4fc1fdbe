//! The public names and their auto traits.
//!
//! Each re-export of the crate is named once, so that none can vanish or change its kind unnoticed.
//! The bounds are checked when this file is compiled.
//!
//! All types may be shared between threads and may be used after a panic that was caught, except a
//! few that hold foreign code. Those are checked to have no more traits than these, so that no user
//! relies on one by chance.
#![cfg(not(toolmeter_loom))]

use std::error::Error;
use std::fmt::{Debug, Display};
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe, catch_unwind};

/// The types that may be used on several threads at once, and after a panic that was caught.
trait Shared: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + Debug {}
impl<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + Debug> Shared for T {}

const fn plain_data<T: Shared + 'static>() {}
const fn shared_between_threads<T: Shared + 'static>() {}
const fn an_error<T: Error + Shared + 'static>() {}
const fn copied<T: Copy>() {}
const fn cloned<T: Clone>() {}
const fn displayed<T: Display>() {}

const _: () = {
    plain_data::<toolmeter::EventAccounting>();
    plain_data::<toolmeter::ErrorKind>();
    plain_data::<toolmeter::EventKind>();
    plain_data::<toolmeter::EventNumber>();
    plain_data::<toolmeter::ByTool>();
    plain_data::<toolmeter::classify::ByType>();
    plain_data::<toolmeter::CallContext>();
    plain_data::<toolmeter::CallBegin<'static>>();
    plain_data::<toolmeter::CallEnd<'static>>();
    plain_data::<toolmeter::CallId>();
    plain_data::<toolmeter::Batch>();
    plain_data::<toolmeter::Event>();
    plain_data::<toolmeter::Filter>();
    plain_data::<toolmeter::Invocation>();
    plain_data::<toolmeter::LastCall>();
    plain_data::<toolmeter::LastError>();
    plain_data::<toolmeter::LatencyByOutcome>();
    plain_data::<toolmeter::LatencyStats>();
    plain_data::<toolmeter::ManualClock>();
    plain_data::<toolmeter::NamelessTools>();
    plain_data::<toolmeter::NameTable>();
    plain_data::<toolmeter::Outcome>();
    plain_data::<toolmeter::Pump>();
    plain_data::<toolmeter::Running>();
    plain_data::<toolmeter::RunningCall>();
    plain_data::<toolmeter::Snapshot>();
    plain_data::<toolmeter::SubscriptionStats>();
    plain_data::<toolmeter::ToolId>();
    plain_data::<toolmeter::ToolSpec>();
    plain_data::<toolmeter::ToolStats>();
    plain_data::<toolmeter::Verdict>();
    // Behind a lock that is never poisoned.
    plain_data::<toolmeter::StatsHandle>();
};

const _: () = {
    shared_between_threads::<toolmeter::Call<'static>>();
    shared_between_threads::<toolmeter::CallBuilder<'static>>();
    shared_between_threads::<toolmeter::CallGuard<toolmeter::ToolHandle>>();
    shared_between_threads::<toolmeter::ClockSource>();
    shared_between_threads::<toolmeter::HostClock>();
    shared_between_threads::<toolmeter::Intervals>();
    shared_between_threads::<toolmeter::Invoke<'static>>();
    shared_between_threads::<toolmeter::OwnedCall>();
    shared_between_threads::<toolmeter::Published>();
    shared_between_threads::<toolmeter::Registry>();
    shared_between_threads::<toolmeter::RegistryBuilder>();
    shared_between_threads::<toolmeter::RunningCalls>();
    shared_between_threads::<toolmeter::Subscription>();
    shared_between_threads::<toolmeter::ToolHandle>();
    shared_between_threads::<toolmeter::WeakRegistry>();
};

const _: () = {
    an_error::<toolmeter::InvokeError>();
    an_error::<toolmeter::NameError>();
    an_error::<toolmeter::NotRegistered>();
    an_error::<toolmeter::RecvError>();
    an_error::<toolmeter::RecvTimeoutError>();
    an_error::<toolmeter::RegisterError>();
    an_error::<toolmeter::StripesError>();
    an_error::<toolmeter::UnknownErrorKind>();
    an_error::<toolmeter::SubscribeError>();
    an_error::<toolmeter::ToolError>();
    an_error::<toolmeter::TryRecvError>();
};

const _: () = {
    copied::<toolmeter::CallId>();
    copied::<toolmeter::ErrorKind>();
    copied::<toolmeter::EventKind>();
    copied::<toolmeter::Outcome>();
    copied::<toolmeter::ToolId>();
    cloned::<toolmeter::Batch>();
    cloned::<toolmeter::CallBuilder<'static>>();
    cloned::<toolmeter::CallContext>();
    cloned::<toolmeter::Invoke<'static>>();
    cloned::<toolmeter::InvokeError>();
    cloned::<toolmeter::Registry>();
    cloned::<toolmeter::Snapshot>();
    cloned::<toolmeter::StatsHandle>();
    cloned::<toolmeter::ToolHandle>();
    cloned::<toolmeter::Verdict>();
    cloned::<toolmeter::WeakRegistry>();
    displayed::<toolmeter::ErrorKind>();
    displayed::<toolmeter::EventKind>();
};

#[cfg(feature = "table")]
const _: () = displayed::<toolmeter::Snapshot>();

#[cfg(feature = "serde")]
const _: () = {
    const fn written<T: serde::Serialize>() {}
    const fn read<T: serde::de::DeserializeOwned>() {}
    written::<toolmeter::Event>();
    written::<toolmeter::Snapshot>();
    read::<toolmeter::Snapshot>();
    written::<toolmeter::ErrorKind>();
    read::<toolmeter::ErrorKind>();
};

/// Constants that show whether a type has a trait: an inherent constant takes precedence over that
/// of a trait.
struct Has<T: ?Sized>(PhantomData<T>);
trait HasNot {
    const SEND: bool = false;
    const SYNC: bool = false;
    const UNWIND_SAFE: bool = false;
    const REF_UNWIND_SAFE: bool = false;
    const CLONE: bool = false;
}
impl<T: ?Sized> HasNot for Has<T> {}
impl<T: ?Sized + Send> Has<T> {
    const SEND: bool = true;
}
impl<T: ?Sized + Sync> Has<T> {
    const SYNC: bool = true;
}
impl<T: ?Sized + UnwindSafe> Has<T> {
    const UNWIND_SAFE: bool = true;
}
impl<T: ?Sized + RefUnwindSafe> Has<T> {
    const REF_UNWIND_SAFE: bool = true;
}
impl<T: Clone> Has<T> {
    const CLONE: bool = true;
}

/// Expands to two pairs: `Send` and `Sync`, then unwind safe by value and by reference.
macro_rules! facts {
    ($type:ty) => {
        (
            (Has::<$type>::SEND, Has::<$type>::SYNC),
            (Has::<$type>::UNWIND_SAFE, Has::<$type>::REF_UNWIND_SAFE),
        )
    };
}

/// The types that lack some of these traits, and the reasons.
#[test]
fn these_types_promise_less() {
    const ALL: (bool, bool) = (true, true);
    const NONE: (bool, bool) = (false, false);
    // Both answers are possible.
    assert_eq!(facts!(String), (ALL, ALL));
    assert_eq!(facts!(&mut String), (ALL, (false, true)));
    assert_eq!(facts!(std::rc::Rc<std::cell::Cell<u8>>), (NONE, NONE));

    // It holds an error of the operating system, for which std does not promise more.
    assert_eq!(facts!(toolmeter::BuildError), (ALL, NONE));
    assert_eq!(facts!(std::io::Error), (ALL, NONE));
    // These are the host's own: a tool and its future. A registry that holds tools is unwind safe
    // even so, since it catches their panics.
    assert_eq!(facts!(Box<dyn toolmeter::Tool>), (ALL, NONE));
    assert_eq!(facts!(toolmeter::ToolFuture), ((true, false), NONE));
    assert_eq!(facts!(toolmeter::Invoking<'static>), ((true, false), NONE));
    // A call ends once, and an interval is read once.
    let clones = [
        Has::<toolmeter::ToolHandle>::CLONE,
        Has::<toolmeter::Call<'static>>::CLONE,
        Has::<toolmeter::OwnedCall>::CLONE,
        Has::<toolmeter::Intervals>::CLONE,
        Has::<toolmeter::Invoking<'static>>::CLONE,
    ];
    assert_eq!(clones, [true, false, false, false, false]);
}

/// A host that catches panics around its calls needs to assert nothing.
#[test]
fn a_panic_is_caught_around_handles_registry_and_subscription() {
    use toolmeter::{ClockSource, ErrorKind, Pump, Registry};
    let registry = Registry::builder()
        .clock(ClockSource::Manual(Default::default()))
        .pump(Pump::manual())
        .build()
        .unwrap();
    let tool = registry.register("tool").unwrap();
    let events = registry.subscribe();
    let caught = catch_unwind(|| {
        let _call = tool.start();
        tool.run(|| -> () { panic!("the tool's own") });
    });
    let payload = caught.unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"the tool's own"));
    assert!(catch_unwind(|| registry.register("tool").unwrap()).is_err());
    let owned = tool.start_owned();
    let caught = catch_unwind(move || {
        let _owned = owned;
        panic!("the host's own");
    });
    let payload = caught.unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"the host's own"));

    registry.pump();
    let batch = catch_unwind(|| events.try_recv().unwrap()).unwrap();
    assert_eq!(batch.len(), 6);
    let metrics = catch_unwind(move || registry.metrics()).unwrap();
    let stats = &metrics.tools["tool"];
    let panics = stats.failures_by_kind[&ErrorKind::Panic];
    assert_eq!((panics, stats.cancelled()), (1, 2), "guards are cancelled");
    assert_eq!((stats.finished(), stats.in_flight), (3, 0));
}

#[cfg(feature = "stream")]
const _: () = shared_between_threads::<toolmeter::BatchStream>();

#[cfg(feature = "tokio")]
const _: () = {
    an_error::<toolmeter::TimeLimitExceeded>();
    shared_between_threads::<toolmeter::LimitedCall<'static>>();
};

#[cfg(feature = "auto_run")]
const _: () = {
    use toolmeter::auto_run;
    an_error::<auto_run::CallError>();
    shared_between_threads::<toolmeter::AutoRun>();
    shared_between_threads::<auto_run::AutoRun>();
    shared_between_threads::<auto_run::Approval>();
    shared_between_threads::<auto_run::CallResult>();
    shared_between_threads::<auto_run::CancellationToken>();
    shared_between_threads::<auto_run::ConstantBuilder>();
    shared_between_threads::<auto_run::ExponentialBuilder>();
    shared_between_threads::<auto_run::Report<String>>();
    shared_between_threads::<auto_run::StopReason<String>>();
    shared_between_threads::<auto_run::ToolCall>();
    shared_between_threads::<auto_run::Turn>();
};

#[cfg(feature = "auto_run")]
#[expect(dead_code, reason = "it is compiled, which is the test")]
fn the_traits_of_auto_run<M, B>()
where
    M: toolmeter::auto_run::Model,
    B: toolmeter::auto_run::BackoffBuilder,
{
}

/// The futures may be spawned as tasks if what they run may.
#[test]
fn futures_of_calls_can_be_sent() {
    fn sent<F: Future + Send>(future: F) -> F {
        future
    }
    use toolmeter::{Pump, Registry, Verdict};
    let registry = Registry::builder().pump(Pump::manual()).build().unwrap();
    let tool = registry.register("tool").unwrap();
    let events = registry.subscribe();
    drop(sent(tool.run_async(async {})));
    let judge = |_: &()| Verdict::success();
    drop(sent(tool.call().classify(judge).run_async(async {})));
    drop(sent(registry.invoke("tool", 0.into()).into_future()));
    drop(sent(events.recv_async()));
    #[cfg(feature = "tokio")]
    {
        let limit = std::time::Duration::from_secs(1);
        drop(sent(tool.call().within(limit).run_async(async {})));
        let call = registry.invoke("tool", 0.into()).within(limit);
        drop(sent(async { call.await.is_ok() }));
    }
    assert_eq!(registry.metrics().tools["tool"].finished(), 0);
}

/// The names that are not types: functions, traits and constants.
#[test]
fn functions_traits_and_constants_are_there() {
    use serde_json::json;
    use toolmeter::{
        Classify, Clock, JudgeAnswer, ManualClock, Published, Pump, Registry, Tool, ToolFuture,
        Verdict, async_tool, classify_mcp, nested, sync_tool,
    };
    fn judged<M>(result: &impl Classify<M>) -> toolmeter::Outcome {
        let verdict: Verdict = result.classify();
        verdict.outcome()
    }
    fn judges_answers<C: JudgeAnswer>(_: C) {}
    assert_eq!(judged(&Ok::<_, String>(1)), toolmeter::Outcome::Success);
    assert_eq!(judged(&()), classify_mcp(&json!(1)).outcome());
    let inner: Result<Result<u8, String>, String> = Ok(Err("inner".into()));
    assert_ne!(nested(&inner).outcome(), judged(&inner));
    judges_answers(toolmeter::ByTool);
    assert_eq!(toolmeter::DEFAULT_MESSAGE_BYTES, 512);

    let clock: &dyn Fn() -> u64 = &|| Clock::now_ns(&ManualClock::new());
    assert_eq!(clock(), 0);
    let waiting = async_tool("waiting", |call| async move { Ok(call.args) });
    let blocking = sync_tool("blocking", |call| Ok(call.args));
    let future: ToolFuture = blocking.call(toolmeter::Invocation::new(json!(1)));
    drop(future);
    let registry = Registry::builder().pump(Pump::manual()).build().unwrap();
    registry.register_tool(waiting).unwrap();
    registry.register_tool(blocking).unwrap();
    registry.publish();
    let published: Published = registry.published();
    assert_eq!(published.tools.len(), 2);
}

/// A handle is one pointer, and the guard of a call stays small enough to pass by value.
#[test]
fn what_is_held_by_the_thousands_is_small() {
    assert_eq!(size_of::<toolmeter::ToolHandle>(), size_of::<usize>());
    assert!(size_of::<toolmeter::OwnedCall>() <= 64);
    assert!(size_of::<toolmeter::Verdict>() <= 16);
    let event = if cfg!(target_pointer_width = "64") {
        56
    } else {
        48
    };
    assert!(size_of::<toolmeter::Event>() <= event);
}

/// The redactor itself is not shown, only that there is one.
#[test]
fn debug_output_of_a_builder_says_whether_errors_are_redacted() {
    let builder = toolmeter::Registry::builder();
    let printed = format!("{builder:?}");
    assert!(printed.contains("redactor: None"), "{printed}");
    let builder = builder.redact_errors(|text| text.into());
    let printed = format!("{builder:?}");
    let named = "redactor: Some(HostRedactor(..))";
    assert!(printed.contains(named), "{printed}");
}
