//! Lines on stdout.

use crate::common::stderr::visible;
use std::fmt::Display;
use std::io::{self, Write};

/// Writes a line, made visible whatever a server or a file put into it. A stream that is closed is no
/// error.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(io::stdout().lock(), "{}", visible(line));
}
