//! The public names and what the compiler promises of them.
//!
//! Each re-export of the crate is named once, so that none can vanish or change its kind
//! unseen. The bounds are checked when this file is compiled.
#![cfg(not(toolmeter_loom))]

use std::error::Error;
use std::fmt::{Debug, Display};
use std::panic::{RefUnwindSafe, UnwindSafe};

const fn plain_data<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + Debug + 'static>() {}
const fn shared_between_threads<T: Send + Sync + Unpin + Debug + 'static>() {}
const fn an_error<T: Error + Send + Sync + 'static>() {}
const fn copied<T: Copy>() {}
const fn cloned<T: Clone>() {}
const fn displayed<T: Display>() {}

const _: () = {
    plain_data::<toolmeter::EventsAccounting>();
    plain_data::<toolmeter::ErrorKind>();
    plain_data::<toolmeter::EventKind>();
    plain_data::<toolmeter::EventNumber>();
    plain_data::<toolmeter::CallContext>();
    plain_data::<toolmeter::CallId>();
    plain_data::<toolmeter::CallOptions>();
    plain_data::<toolmeter::Batch>();
    plain_data::<toolmeter::Event>();
    plain_data::<toolmeter::Filter>();
    plain_data::<toolmeter::Invocation>();
    plain_data::<toolmeter::LastCall>();
    plain_data::<toolmeter::LastError>();
    plain_data::<toolmeter::LatencyByOutcome>();
    plain_data::<toolmeter::LatencyStats>();
    plain_data::<toolmeter::ManualClock>();
    plain_data::<toolmeter::Outcome>();
    plain_data::<toolmeter::Pump>();
    plain_data::<toolmeter::Snapshot>();
    plain_data::<toolmeter::SubscriptionStats>();
    plain_data::<toolmeter::ToolId>();
    plain_data::<toolmeter::ToolSpec>();
    plain_data::<toolmeter::ToolStats>();
    // Behind a lock that nobody poisons.
    plain_data::<toolmeter::StatsHandle>();
};

const _: () = {
    shared_between_threads::<toolmeter::Call<'static>>();
    shared_between_threads::<toolmeter::CallBuilder<'static>>();
    shared_between_threads::<toolmeter::CallGuard<toolmeter::ToolHandle>>();
    shared_between_threads::<toolmeter::ClockSource>();
    shared_between_threads::<toolmeter::HostClock>();
    shared_between_threads::<toolmeter::Intervals>();
    shared_between_threads::<toolmeter::OwnedCall>();
    shared_between_threads::<toolmeter::Registry>();
    shared_between_threads::<toolmeter::RegistryBuilder>();
    shared_between_threads::<toolmeter::Subscription>();
    shared_between_threads::<toolmeter::ToolHandle>();
};

const _: () = {
    an_error::<toolmeter::BuildError>();
    an_error::<toolmeter::HubError>();
    an_error::<toolmeter::InvokeError>();
    an_error::<toolmeter::NameError>();
    an_error::<toolmeter::NotRegistered>();
    an_error::<toolmeter::RecvError>();
    an_error::<toolmeter::RecvTimeoutError>();
    an_error::<toolmeter::RegisterError>();
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
    cloned::<toolmeter::Registry>();
    cloned::<toolmeter::Snapshot>();
    cloned::<toolmeter::StatsHandle>();
    cloned::<toolmeter::ToolHandle>();
    displayed::<toolmeter::ErrorKind>();
    displayed::<toolmeter::Snapshot>();
};

#[cfg(feature = "tokio")]
const _: () = {
    use toolmeter::auto_run;
    an_error::<toolmeter::TimeLimitExceeded>();
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

#[cfg(feature = "tokio")]
#[expect(dead_code, reason = "it is compiled, which is the test")]
fn the_traits_of_auto_run<M, B>()
where
    M: toolmeter::auto_run::Model,
    B: toolmeter::auto_run::BackoffBuilder,
{
}

/// The futures enter spawned tasks if what they run may.
#[test]
fn futures_of_calls_can_be_sent() {
    fn sent<F: Future + Send>(future: F) -> F {
        future
    }
    use toolmeter::{CallOptions, Pump, Registry};
    let registry = Registry::builder().pump(Pump::manual()).build().unwrap();
    let tool = registry.register("tool".into()).unwrap();
    let events = registry.subscribe();
    drop(sent(tool.run_async(async {})));
    drop(sent(registry.invoke("tool", 0.into(), CallOptions::new())));
    drop(sent(events.recv_async()));
    #[cfg(feature = "tokio")]
    {
        let limit = std::time::Duration::from_secs(1);
        drop(sent(tool.run_async_within(limit, async {})));
        let call = registry.invoke_within(limit, "tool", 0.into(), CallOptions::new());
        drop(sent(call));
    }
    assert_eq!(registry.metrics().tools["tool"].finished(), 0);
}

/// The names that are no types: functions, traits and constants.
#[test]
fn functions_traits_and_constants_are_there() {
    use serde_json::json;
    use toolmeter::{
        Classify, Clock, ManualClock, Published, Pump, Registry, Tool, ToolFuture, Verdict,
        async_tool, classify_mcp, sync_tool,
    };
    fn judged(result: &impl Classify) -> toolmeter::Outcome {
        let verdict: Verdict<'_> = result.classify();
        verdict.outcome()
    }
    assert_eq!(judged(&Ok::<_, String>(1)), toolmeter::Outcome::Success);
    assert_eq!(judged(&()), classify_mcp(&json!(1)).outcome());
    assert_eq!(toolmeter::MAX_MESSAGE_BYTES, 256);

    let clock: &dyn Fn() -> u64 = &|| Clock::now_ns(&ManualClock::new());
    assert_eq!(clock(), 0);
    let waiting = async_tool("waiting", |call| async move { Ok(call.args) });
    let blocking = sync_tool("blocking", |call| Ok(call.args));
    let future: ToolFuture<'_> = blocking.call(toolmeter::Invocation::new(json!(1)));
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
    assert_eq!(size_of::<toolmeter::Event>(), 56);
}
