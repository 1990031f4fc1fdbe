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
//! use toolmeter::{Registry, ToolSpec};
//!
//! let registry = Registry::new();
//! let read = registry.register(ToolSpec::new("read_file"))?;
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
//!   result tells how the call ended, through [`Classify`], or through a classifier of yours.
//! * [`ToolHandle::start`], [`start_owned`](ToolHandle::start_owned): a guard; dropping it
//!   counts the call as cancelled.
//! * [`Registry::invoke`]: a [`Tool`] by name, for hosts that dispatch what the model asked for.
//! * [`AutoRun`]: the whole loop, with turns, concurrency, time limits, retries and approval.
//!
//! # Reading
//!
//! * [`Registry::metrics`]: a fresh [`Snapshot`]. [`Registry::published`]: the one that was
//!   published last, for next to nothing.
//! * [`Registry::intervals`]: only what is new since the last reading.
//!   [`Registry::reset_metrics`]: start from zero. Neither ever loses or doubles a call.
//! * [`Registry::subscribe`]: an [`Event`] for each start and each end, in ordered batches.
//!
//! # What a call costs
//!
//! With nobody subscribed, two reads of the clock and a few additions to memory that no other
//! thread writes: no look-up, no lock, no allocation, no system call. See the
//! [`design`] for how.
//!
//! # Features
//!
//! `tokio` (on by default): [`AutoRun`] and time limits. Everything else needs no runtime;
//! futures run on any.

mod builder;
mod call;
mod classify;
mod clock;
mod handle;
mod interval;
mod invoke;
mod publish;
mod pump;
mod registry;
mod roster;
mod shared;
mod slab;
mod snapshot;
mod stripe;
mod swap;
mod text;
mod tool;

#[cfg(feature = "tokio")]
pub mod auto_run;

#[doc = include_str!("../docs/design.md")]
pub mod design {}

#[cfg(feature = "tokio")]
#[doc(inline)]
pub use auto_run::AutoRun;
pub use builder::{BuildError, RegistryBuilder};
pub use call::{Call, CallGuard, CallOptions, OwnedCall};
pub use classify::{Classify, Verdict, classify_mcp};
pub use clock::{ClockSource, HostClock};
pub use handle::ToolHandle;
pub use interval::Intervals;
#[cfg(feature = "tokio")]
pub use invoke::TimeLimitExceeded;
pub use invoke::{CallBuilder, InvokeError};
pub use publish::Published;
pub use pump::Pump;
pub use registry::{EventsAccounting, NotRegistered, RegisterError, Registry};
pub use snapshot::{LastCall, LastError, LatencyByOutcome, LatencyStats, Snapshot, ToolStats};
pub use text::{MAX_MESSAGE_BYTES, NameError};
pub use tool::{Invocation, Tool, ToolError, ToolFuture, ToolSpec, async_tool, sync_tool};
pub use toolmeter_core::{Clock, ErrorKind, ManualClock, Outcome};
pub use toolmeter_events::{
    Batch, CallContext, CallId, Event, EventKind, EventNumber, Filter, HubError, RecvError,
    RecvTimeoutError, StatsHandle, Subscription, SubscriptionStats, ToolId, TryRecvError,
};

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
