//! Events of metered tool calls: bounded rings, an ordered drain, subscriptions.
//!
//! The files, in the order in which an event travels:
//!
//! - [`id`]: what tools, calls and events are called.
//! - [`context`]: the host's own names for where a call belongs.
//! - [`event`](mod@event): what an event says, in 56 bytes.
//! - [`ring`]: a call offers its event to the ring of its stripe. It never waits; what finds no
//!   room is lost, and counted.
//! - [`place`]: one place of a ring, in which no thread waits.
//! - [`accounting`]: what became of the events offered.
//! - [`pump_waker`]: how an offer wakes the pump that sleeps.
//! - [`drain`]: takes events out of all rings and puts them in order.
//! - [`names`]: the names of tools by their ids.
//! - [`timeline`]: from the registry's clock to the wall clock.
//! - [`batch`]: what a subscription receives: events, tool names, wall-clock time.
//! - [`filter`]: which events a subscription wants.
//! - [`channel`]: which channel the queues are made of.
//! - [`subscriber`]: the pump's side of a subscription: its queue, and the account of it.
//! - [`subscription`]: the receiver's side.
//! - [`async_receivers`]: how async receivers hear of batches, and of the end.
//! - [`waker_threads`]: on which threads they are woken.
//! - [`hub`]: where subscriptions are made, and rounds handed to all of them.
//!
//! Beside them: `batch_stream` is the feature `stream`, a subscription as a `Stream`; `sync` switches between std's primitives and loom's, `contain` keeps the panics of
//! wakers, and `serialize` is the feature `serde`. Both features are off by default.
//!
//! Hosts use all of this through the crate `toolmeter`; this one has no clock, no registry, and no
//! thread but those that call wakers.
//!
//! Every event is accounted for: offered = lost + drained for the rings
//! ([`RingsAccounting`]), drained = delivered + filtered + lost for each subscription
//! ([`SubscriptionStats`]).
#![cfg_attr(docsrs, feature(doc_cfg))]
// The map links to the files, which are private; who reads the source can follow it.
#![allow(rustdoc::private_intra_doc_links)]

mod accounting;
mod async_receivers;
mod batch;
#[cfg(feature = "stream")]
mod batch_stream;
mod channel;
mod contain;
mod context;
mod drain;
mod event;
mod filter;
mod hub;
mod id;
mod names;
mod place;
mod pump_waker;
mod ring;
#[cfg(feature = "serde")]
mod serialize;
mod subscriber;
mod subscription;
mod sync;
mod timeline;
mod waker_threads;

pub use accounting::RingsAccounting;
pub use batch::Batch;
#[cfg(feature = "stream")]
pub use batch_stream::BatchStream;
pub use context::CallContext;
pub use drain::{Drain, Round};
pub use event::{Draft, ErrorMessage, Event};
pub use filter::Filter;
pub use hub::{Hub, HubError, SubscribeError};
pub use id::{CallId, EventNumber, ToolId};
pub use names::NameTable;
pub use ring::{Rings, RingsError};
pub use subscriber::{StatsHandle, SubscriptionStats};
pub use subscription::{RecvError, RecvTimeoutError, Subscription, TryRecvError};
pub use timeline::{Moment, Timeline};
pub use toolmeter_core::{EventKind, RingAccounting};
pub use waker_threads::Wakeups;
