//! The switch between arc-swap and its stand-in for models, as `toolmeter_core::sync` is for
//! the primitives below it.

#[cfg(not(toolmeter_loom))]
pub(crate) use arc_swap::{ArcSwap, ArcSwapOption};
#[cfg(toolmeter_loom)]
pub(crate) use toolmeter_core::stand_in::{ArcSwap, ArcSwapOption};
