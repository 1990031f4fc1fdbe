//! A guard that nobody keeps ends its call at once, so the compiler tells of it.
#![deny(unused_must_use)]

use toolmeter::{Registry, ToolSpec};

fn main() {
    let shell = Registry::new().register(ToolSpec::new("shell")).unwrap();
    shell.start();
}
