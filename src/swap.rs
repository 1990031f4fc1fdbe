//! The switch between arc-swap and its stand-in for models, as `sync` is for the primitives below it.

#[cfg(toolmeter_loom)]
mod stand_in;

#[cfg(not(toolmeter_loom))]
pub(crate) use arc_swap::{ArcSwap, ArcSwapOption, Guard};
#[cfg(toolmeter_loom)]
pub(crate) use stand_in::{ArcSwap, ArcSwapOption, Guard};
