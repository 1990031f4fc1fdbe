//! A call is finished once: the guard is gone then.

use toolmeter::{ErrorKind, Registry, ToolSpec};

fn main() {
    let shell = Registry::new().register(ToolSpec::new("shell")).unwrap();
    let call = shell.start();
    call.succeed();
    call.fail(ErrorKind::Timeout, "killed after 30 s");
}
