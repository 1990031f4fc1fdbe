//! The switch between arc-swap and its stand-in for loom's models.

#[cfg(toolmeter_loom)]
mod model;

#[cfg(not(toolmeter_loom))]
pub(crate) use arc_swap::{ArcSwap, ArcSwapOption, Guard};
#[cfg(toolmeter_loom)]
pub(crate) use model::{ArcSwap, ArcSwapOption, Guard};
