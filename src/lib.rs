//! Counters, latency histograms and events of the tool calls of an agent host.
//!
//! An agent host runs a loop: a model answers with tool calls, the host runs them and returns the
//! results. With this crate, the host sees which tools fail, how slow they are, whether retries
//! help, which calls are running, and what the last error was.
//!
//! ```
//! use toolmeter::Registry;
//!
//! let registry = Registry::new();
//! let read = registry.register("read_file")?;
//!
//! let text = read.run(|| std::fs::read_to_string("Cargo.toml"));
//! let call = read.start();
//! call.succeed();
//!
//! let metrics = registry.metrics();
//! assert_eq!(metrics.tools["read_file"].finished(), 2);
//! println!("{metrics}");
//! # Ok::<(), toolmeter::RegisterError>(())
//! ```
//!
//! # Metering
//!
//! Register each tool once and keep its [`ToolHandle`]:
//!
//! * [`ToolHandle::run`] and [`run_async`](ToolHandle::run_async) run a closure or a future. Its
//!   result is judged through [`Classify`].
//! * [`ToolHandle::call`] does the same with an attempt, a context, a time limit, or a rule of the
//!   host's own.
//! * [`ToolHandle::start`] and [`start_owned`](ToolHandle::start_owned) return a guard. Dropping it
//!   counts the call as cancelled.
//! * [`Registry::tool`] looks a tool up by name and borrows it for one call.
//! * [`Registry::invoke`] calls a [`Tool`] by name, for hosts that dispatch what the model asked for.
//! * `AutoRun` runs the whole loop, with turns, concurrency, time limits, retries and approval.
//!
//! # Reading
//!
//! * [`Registry::metrics`] returns a fresh [`Snapshot`]. [`Registry::published`] borrows the last
//!   published one, at next to no cost.
//! * [`Registry::intervals`] reads only what is new since the last reading, and
//!   [`Registry::reset_metrics`] starts from zero. Neither loses or doubles a call.
//! * [`Registry::subscribe`] delivers an [`Event`] for each start and each end, in ordered batches.
//! * [`RegistryBuilder::instrument`] sets a hook that is called around each call, for spans.
//!
//! # Cost of a call
//!
//! Without a subscription or a hook, a call through a handle costs two reads of the clock and a few
//! additions to memory that no other thread writes, up to one thread per stripe. It takes no lock,
//! allocates nothing and makes no system call. [`design`] explains how, and names the exceptions.
//!
//! # Features
//!
//! | feature | content | default |
//! | --- | --- | --- |
//! | `tokio` | time limits, and tools that block on the runtime's threads | on |
//! | `auto_run` | `AutoRun`; depends on backon and tokio-util | on |
//! | `serde` | snapshots to JSON and back, events to JSON | on |
//! | `table` | the table of a snapshot, as `Display` | on |
//! | `hdrhistogram` | `LatencyStats::to_hdr` | on |
//! | `stream` | `ToolHandle::run_stream`, `Subscription::into_stream` | off |
//!
//! Everything else needs no runtime: futures run on any.

#![cfg_attr(docsrs, feature(doc_cfg))]

// The files, from the top down. A file uses only files of its own row and of the rows below.
//
// | file | content |
// | --- | --- |
// | `auto_run` | the loop of an agent host |
// | `registry` | the methods of a registry, and how it is built |
// | `registration` | registering and deregistering tools |
// | `invoke` | calls by name: the look-up, the tool in the caller's future or on a thread, the answer |
// | `owner`, `pump_thread` | the end of a registry, and of its background thread |
// | `running_calls`, `intervals`, `published`, `event_accounting` | the values that a registry returns to readers |
// | `pump_worker` | the rounds: drain, deliver, publish, free |
// | `publisher`, `call_list` | what a round updates: the published snapshot, the lists of running calls |
// | `builder` | the settings of a registry |
// | `registry_state` | the state that all parts of a registry share |
// | `totals`, `origin` | totals, baselines, and the snapshot of their difference |
// | `reclaim`, `event_names` | the slots and the names of tools that are gone |
// | `tool_ref`, `tool_map` | borrowing a tool by name; all tools by name |
// | `handle` | the methods of a handle |
// | `call_builder`, `metered`, `stream`, `judging` | running a closure, a future or a stream as a call |
// | `call`, `rejection`, `end_message` | the guard of a call; calls that are rejected; the message of an end |
// | `tool_state`, `tool_slot`, `boxed_tool` | what a handle points to |
// | `call_env`, `call_options`, `hook`, `instrument` | what the calls of a registry use; the host's hook |
// | `tool`, `classify`, `known_errors`, `error` | tools; the judging of their results |
// | `snapshot` | stats as values: JSON, table, merging |
// | `slab`, `stripe`, `last_error` | the memory of slots; the stripe of a thread; the texts of failures |
// | `clock`, `wall_clock`, `text`, `contain`, `pump`, `live_registries`, `process`, `sync`, `swap` | used by all of these |

mod boxed_tool;
mod builder;
mod call;
mod call_builder;
mod call_env;
mod call_list;
mod call_options;
pub mod classify;
mod clock;
mod contain;
mod end_message;
mod error;
mod event_accounting;
mod event_names;
mod handle;
mod hook;
mod instrument;
mod intervals;
mod invoke;
mod judging;
mod known_errors;
mod last_error;
mod live_registries;
mod metered;
mod origin;
mod owner;
mod process;
mod published;
mod publisher;
mod pump;
mod pump_thread;
mod pump_worker;
mod reclaim;
mod registration;
mod registry;
mod registry_state;
mod rejection;
mod running_calls;
mod slab;
mod snapshot;
#[cfg(feature = "stream")]
mod stream;
mod stripe;
mod swap;
mod sync;
mod text;
mod tool;
mod tool_map;
mod tool_ref;
mod tool_slot;
mod tool_state;
mod totals;
mod unknown_call;
mod wall_clock;

#[cfg(feature = "auto_run")]
pub mod auto_run;

#[doc = include_str!("../docs/design.md")]
pub mod design {}

// The code of this page needs the libraries that a host comes from: `tools/pages` compiles it.
#[cfg(all(doc, not(doctest)))]
#[doc = include_str!("../docs/migrating.md")]
pub mod migrating {}

#[doc = include_str!("../docs/fleet.md")]
pub mod fleet {}

#[doc = include_str!("../docs/embedded.md")]
pub mod embedded {}

#[cfg(feature = "auto_run")]
#[doc(inline)]
pub use auto_run::AutoRun;
pub use builder::{BuildError, RegistryBuilder};
pub use call::{Call, CallGuard, OwnedCall};
pub use call_builder::CallBuilder;
#[cfg(feature = "tokio")]
pub use call_builder::LimitedCall;
#[doc(inline)]
pub use classify::{Classify, Verdict, classify_mcp, nested};
pub use clock::{ClockSource, HostClock};
#[cfg(feature = "tokio")]
pub use error::TimeLimitExceeded;
pub use error::{InvokeError, ToolError};
pub use event_accounting::EventAccounting;
pub use instrument::{CallBegin, CallEnd, Instrument, Scope};
pub use intervals::Intervals;
pub use invoke::{ByTool, Invoke, Invoking, JudgeAnswer};
pub use published::Published;
pub use pump::Pump;
pub use registration::{NotRegistered, RegisterError};
pub use registry::{Registry, WeakRegistry};
pub use running_calls::{Running, RunningCall, RunningCalls};
pub use snapshot::{
    BoundsError, LastCall, LastError, LatencyBounds, LatencyByOutcome, LatencyStats, NamelessTools,
    OUTCOMES, Snapshot, ToolStats, error_type,
};
#[cfg(feature = "stream")]
pub use stream::MeteredStream;
pub use text::{DEFAULT_MESSAGE_BYTES, NameError};
pub use tool::{Invocation, Tool, ToolFuture, ToolSpec, async_tool, sync_tool};
pub use tool_ref::ToolRef;
pub use tool_state::ToolHandle;
pub use toolmeter_core::{
    Clock, ErrorKind, ManualClock, Outcome, OutcomeClass, StripesError, UnknownErrorKind,
};
#[cfg(feature = "stream")]
pub use toolmeter_events::BatchStream;
pub use toolmeter_events::{
    Batch, CallContext, CallId, Event, EventKind, EventNumber, Filter, NameTable, RecvError,
    RecvTimeoutError, StatsHandle, SubscribeError, Subscription, SubscriptionStats, ToolId,
    TryRecvError,
};
pub use unknown_call::UnknownCall;

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
