//! The message of a call's end, which is kept if the call failed.

use crate::last_error::ErrorRecord;
use crate::text::Excerpt;
use crate::tool_state::ToolState;
use std::fmt::Display;
use toolmeter_core::{Finish, Outcome};
use toolmeter_events::ErrorMessage;

/// The message of a call's end, as its caller gives it.
#[derive(Clone, Copy)]
pub(crate) enum EndMessage<'a> {
    Shown(&'a dyn Display),
    Excerpt(&'a Excerpt),
}

/// Keeps the text of a failure beside the slot, and returns the message of the end for its event
/// and the hook.
///
/// The message is formatted only if it is kept or `is_reported`.
pub(crate) fn keep_message(
    state: &ToolState,
    finish: Finish,
    is_reported: bool,
    message: Option<EndMessage<'_>>,
) -> Option<ErrorMessage> {
    let kind = finish.outcome.error_kind();
    if finish.outcome == Outcome::Success || (kind.is_none() && !is_reported) {
        return None;
    }
    let text = &state.env.text;
    let message = match message? {
        EndMessage::Shown(shown) => text.message_of(shown),
        EndMessage::Excerpt(excerpt) => text.message(excerpt),
    }?;
    if let Some(kind) = kind {
        state.slot.errors.keep(ErrorRecord {
            kind,
            attempt: finish.attempt,
            at_ns: finish.finished_at_ns,
            message: message.clone(),
        });
    }
    Some(message)
}
