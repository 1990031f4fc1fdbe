//! The example programs, as files.

use std::path::PathBuf;

/// Returns the path of an example of this crate, which cargo builds with the tests.
pub(crate) fn program(name: &str) -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.join("examples").join(name)
}
