//! toolmeter counts and times the tool calls of an agent host, from inside the process, at a
//! cost that the host does not notice.
//!
//! An agent host runs a loop: a model answers with tool calls, the host runs them and hands the
//! results back. The people who run such hosts ask which tools fail, how slow they are, whether
//! retries help, what is in flight, and what went wrong last. This crate answers that.
//!
//! # Metering
//!
//! Register each tool once and keep its [`ToolHandle`]. Run calls through it, or hold a guard
//! while they run:
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
//! * [`ToolHandle::run`], [`run_async`](ToolHandle::run_async): a closure or a future; its
//!   result tells how the call ended, through [`Classify`].
//! * [`ToolHandle::call`]: the same with an attempt, a context, a time limit, or a rule of the
//!   host's own.
//! * [`ToolHandle::start`], [`start_owned`](ToolHandle::start_owned): a guard; dropping it
//!   counts the call as cancelled.
//! * [`Registry::tool`]: a tool by name, lent for one call of the host's own code.
//! * [`Registry::invoke`]: a [`Tool`] by name, for hosts that dispatch what the model asked for.
//! * `AutoRun`: the whole loop, with turns, concurrency, time limits, retries and approval.
//!
//! # Reading
//!
//! * [`Registry::metrics`]: a fresh [`Snapshot`]. [`Registry::published`]: the one that was
//!   published last, for next to nothing.
//! * [`Registry::intervals`]: only what is new since the last reading.
//!   [`Registry::reset_metrics`]: start from zero. Neither ever loses or doubles a call.
//! * [`Registry::subscribe`]: an [`Event`] for each start and each end, in ordered batches.
//! * [`RegistryBuilder::instrument`]: a hook that is there while a tool runs, as spans need it.
//!
//! # What a call costs
//!
//! With no subscriber, two reads of the clock and a few additions to memory that no other
//! thread writes: no look-up, no lock, no allocation, no system call. See the
//! [`design`] for how.
//!
//! # Features
//!
//! | feature | gives | default |
//! | --- | --- | --- |
//! | `tokio` | time limits, and tools that block on the runtime's threads | on |
//! | `auto_run` | `AutoRun`; brings backon and tokio-util | on |
//! | `serde` | snapshots to JSON and back, events to JSON | on |
//! | `table` | the table of a snapshot, as `Display` | on |
//! | `hdrhistogram` | `LatencyStats::to_hdr` | on |
//! | `stream` | `ToolHandle::run_stream`, `Subscription::into_stream` | off |
//!
//! Everything else needs no runtime; futures run on any.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod builder;
mod call;
pub mod classify;
mod clock;
mod contain;
mod error;
mod handle;
mod instrument;
mod interval;
mod invoke;
mod known_errors;
mod last_error;
mod live_registries;
mod process;
mod publish;
mod pump;
mod reclaim;
mod registry;
mod registry_state;
mod run;
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

#[cfg(feature = "auto_run")]
#[doc(inline)]
pub use auto_run::AutoRun;
pub use builder::{BuildError, RegistryBuilder};
pub use call::{Call, CallGuard, OwnedCall};
#[doc(inline)]
pub use classify::{Classify, Verdict, classify_mcp, nested};
pub use clock::{ClockSource, HostClock};
#[cfg(feature = "tokio")]
pub use error::TimeLimitExceeded;
pub use error::{InvokeError, ToolError};
pub use handle::ToolHandle;
pub use instrument::{CallBegin, CallEnd, Instrument, Scope};
pub use interval::Intervals;
pub use invoke::{ByTool, Invoke, Invoking, JudgeAnswer};
pub use publish::Published;
pub use pump::Pump;
pub use registry::{EventAccounting, NotRegistered, RegisterError, Registry, WeakRegistry};
pub use run::CallBuilder;
#[cfg(feature = "tokio")]
pub use run::LimitedCall;
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

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
