//! A value for tests whose destructor panics.

/// A value that panics when it is dropped, with payloads that do so, too, as many times as it says.
pub(crate) struct PanicsOnDrop(pub(crate) u8);

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        if self.0 > 0 {
            std::panic::panic_any(PanicsOnDrop(self.0 - 1));
        }
        panic!("the last");
    }
}
