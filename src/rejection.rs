//! Rejected calls: those that an approver, a policy or the state of the tool denied before they
//! started.

use crate::call_options::CallOptions;
use crate::clock::HostClock;
use crate::end_message::{EndMessage, keep_message};
#[cfg(feature = "tokio")]
use crate::hook::CallScope;
use crate::instrument::CallBegin;
use crate::stripe;
use crate::tool_state::ToolHandle;
use serde_json::Value;
use std::fmt::Display;
use toolmeter_core::{Finish, Outcome};
use toolmeter_events::Draft;

/// The part of a rejected call that was reported to the hook before.
#[derive(Clone, Copy)]
pub(crate) enum Reported<'a> {
    /// Nothing yet. Holds the arguments of a call by name.
    Nothing(Option<&'a Value>),
    /// That the call begins. Holds the scope that the hook keeps for it.
    #[cfg(feature = "tokio")]
    Begun(&'a CallScope),
}

/// Counts a call that is rejected before it starts, offers its event if there may be a subscription,
/// and reports it to the hook if there is one.
pub(crate) fn reject(
    handle: &ToolHandle,
    options: &CallOptions,
    reported: Reported<'_>,
    message: &dyn Display,
) {
    let state = &*handle.0;
    let stripe = stripe::current();
    state.memory.stripe(stripe).reject();
    let hook = state.env.hook.as_ref();
    let is_offered = state.env.rings.is_open();
    if !is_offered && hook.is_none() {
        return;
    }
    let clock: &HostClock = &state.env.clock;
    let now_ns = clock.ns(clock.tick());
    let finish = Finish::new(Outcome::Rejected, options.attempt, now_ns, 0);
    let message = keep_message(state, finish, true, Some(EndMessage::Shown(message)));
    if is_offered {
        let (context, message) = (options.context.clone(), message.clone());
        let draft = Draft::closing(state.slot.id, finish, context, message);
        state.env.rings.offer(stripe, draft, None);
    }
    let Some(hook) = hook else {
        return;
    };
    let (outcome, message) = (Outcome::Rejected, message.as_deref());
    match reported {
        #[cfg(feature = "tokio")]
        Reported::Begun(scope) => scope.end(Some(hook), outcome, None, message, None),
        Reported::Nothing(arguments) => {
            let context = options.context.as_deref();
            let begin = CallBegin {
                name: &state.slot.name,
                tool: Some(state.slot.id),
                attempt: options.attempt,
                context,
                arguments,
            };
            hook.refused(&begin, outcome, message);
        }
    }
}
