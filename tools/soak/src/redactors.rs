//! A redactor that panics, is slow, lengthens, shortens or calls back, and the check that each
//! message that is shown went through it.

use crate::foreign::{Deed, Foreign, MARK, MESSAGE_BYTES, Whose};
use crate::host::Host;
use std::borrow::Cow;
use std::thread;
use std::time::Duration;

/// The time that the redactor takes when it is slow.
const SLOW: Duration = Duration::from_micros(100);

/// Redacts a text. The way it does so depends on the number of texts before.
pub(crate) fn redact<'a>(foreign: &Foreign, text: &'a str) -> Cow<'a, str> {
    let step = foreign.next();
    match step % 6 {
        0 => thread::sleep(SLOW),
        1 => return format!("{MARK}{}", text.repeat(MESSAGE_BYTES)).into(),
        2 => return "".into(),
        3 => return MARK.into(),
        // A panic in a tenth of these.
        _ => foreign.act(Whose::Redactor, Deed::of(step / 6)),
    }
    format!("{MARK} {text}").into()
}

/// Checks the messages of metrics and published snapshots until the load is over. Returns their
/// number.
pub(crate) fn look(host: &Host, foreign: &Foreign) -> u64 {
    let mut seen = 0;
    while !host.is_over() {
        let metrics = host.registry.metrics();
        let published = host.registry.published();
        for stats in metrics.tools.values().chain(published.tools.values()) {
            let error = stats.last_error.as_ref();
            if let Some(message) = error.and_then(|error| error.message.as_deref()) {
                foreign.judge(message);
                seen += 1;
            }
        }
        drop(published);
        host.rest(Duration::from_millis(5));
    }
    seen
}
