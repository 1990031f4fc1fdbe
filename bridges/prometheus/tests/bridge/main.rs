//! The collector, through the encoders of prometheus-client, other implementations' readers, and the
//! engines that scrape.

mod crowd;
mod disconnect;
mod fleet;
#[cfg(feature = "native")]
mod native;
mod page;
mod real;
mod support;

#[path = "../../examples/fleet/child.rs"]
mod child;
#[path = "../../examples/fleet/engine.rs"]
mod engine;
#[path = "../../examples/fleet/series.rs"]
mod series;
