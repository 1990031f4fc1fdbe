//! The threads of toolmeter that are left once every registry is shut down, because a pump or waker
//! is stuck.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// The prefix of the names of toolmeter's threads. The program has another name, which its unnamed
/// threads inherit.
const NAME: &str = "toolmeter-";

/// Returns the number of threads that are left, after waiting at most `patience` for the last to
/// end. Returns `None` where the threads of a process cannot be listed.
pub(crate) fn threads_left(patience: Duration) -> Option<u64> {
    let began = Instant::now();
    loop {
        let left = count()?;
        if left == 0 || began.elapsed() > patience {
            return Some(left);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn count() -> Option<u64> {
    let mut count = 0;
    for task in fs::read_dir("/proc/self/task").ok()? {
        // A thread that has just ended has no name any more.
        let name = fs::read_to_string(task.ok()?.path().join("comm"));
        count += u64::from(name.is_ok_and(|name| name.starts_with(NAME)));
    }
    Some(count)
}
