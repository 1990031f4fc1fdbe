//! Events of metered tool calls: bounded rings, an ordered drain, and subscriptions.
//!
//! This crate is internal to [`toolmeter`](https://docs.rs/toolmeter). Hosts should depend on that
//! instead: it re-exports the types that a host needs, and adds the registry, the clock and the
//! thread (the pump) that drains the rings. The rest of this page is for contributors.
//!
//! # Example
//!
//! The way of one event from a call to a subscription:
//!
//! ```
//! use std::{sync::Arc, time::SystemTime};
//! use toolmeter_events::{
//!     Drain, Draft, EventKind, Filter, Hub, Moment, NameTable, Rings, Timeline, ToolId,
//! };
//!
//! // What a registry owns: a ring for each of 2 stripes, and a hub.
//! let rings = Arc::new(Rings::new(2, 4_096)?);
//! let hub = Hub::new(Hub::DEFAULT_QUEUE_CAPACITY, Hub::DEFAULT_BATCH_SIZE)?;
//! let shell = ToolId::new(1);
//!
//! let subscription = hub.subscribe(&rings, Filter::new(), None)?;
//!
//! // A call offers an event, with a time in nanoseconds of the registry's clock.
//! rings.offer(0, Draft::started(shell, 1, 500, None), None);
//!
//! // The pump does a round: it drains the rings and hands the events out.
//! let mut drain = Drain::new(&rings, 0);
//! let round = drain.round(|| 1_000);
//! let now = Moment::new(SystemTime::now(), 1_000);
//! let names = Arc::new(NameTable::new([(shell, "shell")]));
//! let timeline = Arc::new(Timeline::new(now));
//! hub.fan_out(round, &names, &timeline, now).wake();
//!
//! // The host receives a batch.
//! let batch = subscription.recv()?;
//! assert_eq!(batch[0].kind(), EventKind::Started);
//! assert_eq!(batch.name(batch[0].tool()), Some("shell"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where a lost event is counted
//!
//! - In the rings, `offered = lost + drained` ([`RingsAccounting`]).
//! - For each subscription, `drained = delivered + filtered + lost` ([`SubscriptionStats`]).
//!
//! # Files
//!
//! In the order in which an event travels:
//!
//! | file | contents |
//! | --- | --- |
//! | [`id`] | ids of tools and calls, and numbers of events |
//! | [`context`] | the host's own names for a call |
//! | [`event`](mod@event) | one event, in 56 bytes |
//! | [`ring`] | the rings, to which calls offer events without waiting, and their counts |
//! | [`pump_waker`] | waking a sleeping pump from an offer |
//! | [`drain`] | taking events out of all rings, and ordering them |
//! | [`moment`], [`timeline`] | converting times of the registry's clock to the wall clock |
//! | [`name_table`] | the names of tools by their ids |
//! | [`batch`] | the batches that a subscription receives |
//! | [`filter`] | the events that a subscription wants |
//! | [`delivery`] | one round on its way to all subscriptions |
//! | [`subscriber`] | the pump's side of a subscription |
//! | [`channel`] | the channel between both sides |
//! | [`subscription`], [`recv_error`] | the receiver's side of a subscription |
//! | [`subscription_stats`] | the counts of a subscription |
//! | [`membership`] | leaving the hub, also in a forked child |
//! | `batch_stream` | a subscription as a `Stream` (feature `stream`) |
//! | [`async_receivers`] | the async receivers of a subscription |
//! | [`wakeups`], [`waker_threads`] | waking async receivers, on threads of their own |
//! | [`hub`] | subscribing, and handing rounds to all subscriptions |
//!
//! In addition, `sync` switches between the primitives of std and of loom, `contain` catches the
//! panics of wakers, and `serialize` is the feature `serde`. Both features are off by default.
#![cfg_attr(docsrs, feature(doc_cfg))]
// The table links to the files, which are private; a reader of the source can follow the links.
#![allow(rustdoc::private_intra_doc_links)]

mod async_receivers;
mod batch;
#[cfg(feature = "stream")]
mod batch_stream;
mod channel;
mod contain;
mod context;
mod delivery;
mod drain;
mod event;
mod filter;
mod hub;
mod id;
mod membership;
mod moment;
mod name_table;
mod pump_waker;
mod recv_error;
mod ring;
#[cfg(feature = "serde")]
mod serialize;
mod subscriber;
mod subscription;
mod subscription_stats;
mod sync;
mod timeline;
mod waker_threads;
mod wakeups;

pub use batch::Batch;
#[cfg(feature = "stream")]
pub use batch_stream::BatchStream;
pub use context::CallContext;
pub use drain::{Drain, Round};
pub use event::{Draft, ErrorMessage, Event};
pub use filter::Filter;
pub use hub::{Hub, HubError, SubscribeError};
pub use id::{CallId, EventNumber, ToolId};
pub use moment::Moment;
pub use name_table::NameTable;
pub use recv_error::{RecvError, RecvTimeoutError, TryRecvError};
pub use ring::{Rings, RingsAccounting, RingsError};
pub use subscription::Subscription;
pub use subscription_stats::{StatsHandle, SubscriptionStats};
pub use timeline::Timeline;
pub use toolmeter_core::{EventKind, RingAccounting};
pub use wakeups::Wakeups;
