//! The threads that register, deregister and call.

use super::counts::Own;
use super::names::{MOVERS, OUTCOMES, RECURRING, once, place_of, recurring_name, unique_name};
use super::stage::Stage;
use crate::counts::Tally;
use std::collections::VecDeque;
use std::thread;
use std::time::Duration;
use toolmeter::{Call, Outcome, OwnedCall, ToolHandle, ToolId};

/// The number of calls that a holder has open at once.
const HELD: usize = 3;
/// The number of events that may wait before a mover waits for the pump. Subscribers know the name of a
/// forgotten tool until as many others as the limit have been forgotten. So each event has a name.
const MAX_BEHIND: u64 = 256;
/// The pause between two steps of a thread.
const PAUSE: Duration = Duration::from_micros(300);

/// The calls and names of a mover.
#[derive(Debug, Default)]
pub(super) struct Moved {
    pub(super) own: Own,
    /// Ids that were given out to its names.
    pub(super) ids: u64,
    /// The number of unique names that it used.
    pub(super) unique: u64,
    pub(super) last_ids: [Option<ToolId>; RECURRING],
}

impl Stage {
    /// Registers and deregisters recurring and unique names in turn.
    pub(super) fn move_names(&self, mover: usize) -> Moved {
        let mut moved = Moved::default();
        let mut step = 0_usize;
        while !self.is_over() {
            let recurring = step % RECURRING;
            // A handle of a recurring name, which is registered again while this is held.
            let mut held: Option<ToolHandle> = None;
            if let Some(handle) = self.register(&recurring_name(mover, recurring)) {
                if moved.last_ids[recurring].replace(handle.id()) != Some(handle.id()) {
                    moved.ids += 1;
                }
                let tally = &mut moved.own.recurring[mover * RECURRING + recurring];
                call(&handle, tally, step as u64);
                thread::sleep(PAUSE);
                self.deregister(&recurring_name(mover, recurring));
                call(&handle, tally, step as u64 + 1);
                // Every third handle is held.
                held = step.is_multiple_of(3).then_some(handle);
            }
            self.wait_for_the_pump();
            self.pass_by(mover, &mut moved);
            if let Some(handle) = &held {
                let name = recurring_name(mover, recurring);
                // Registered again while it is held: both handles count for the same tool.
                if let Some(again) = self.register(&name) {
                    assert_eq!(again.id(), handle.id(), "a tool that was held is another");
                    let tally = &mut moved.own.recurring[mover * RECURRING + recurring];
                    call(handle, tally, step as u64);
                    call(&again, tally, step as u64);
                    self.deregister(&name);
                }
            }
            step += 1;
            thread::sleep(PAUSE);
        }
        moved
    }

    fn wait_for_the_pump(&self) {
        let is_behind = || {
            let events = self.registry.event_accounting();
            events.offered - events.lost_in_rings - events.drained > MAX_BEHIND
        };
        while is_behind() && !self.is_over() {
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// Registers, calls and deregisters a tool whose name is used once.
    fn pass_by(&self, mover: usize, moved: &mut Moved) {
        let number = moved.unique;
        let name = unique_name(mover, number);
        let Some(handle) = self.register(&name) else {
            return;
        };
        moved.unique += 1;
        moved.ids += 1;
        let (before, after) = once(number);
        for outcome in before {
            make(&handle, &mut moved.own.unique, 1, *outcome);
        }
        self.deregister(&name);
        for outcome in after {
            make(&handle, &mut moved.own.unique, 1, *outcome);
        }
    }

    /// Looks recurring names up, and holds handles and calls while the names come and go.
    pub(super) fn hold(&self, holder: usize) -> Own {
        let mut own = Own::default();
        let mut calls: VecDeque<(OwnedCall, usize, Outcome)> = VecDeque::new();
        let mut handles: [Option<ToolHandle>; 2] = [None, None];
        let mut step = holder;
        while !self.is_over() {
            let place = step % (MOVERS * RECURRING);
            let name = recurring_name(place / RECURRING, place % RECURRING);
            if let Some(handle) = self.registry.get(&name) {
                call(&handle, &mut own.recurring[place], step as u64);
                own.recurring[place].begin(1);
                let outcome = OUTCOMES[step % OUTCOMES.len()];
                calls.push_back((handle.start_owned(), place, outcome));
                handles[step % 2] = Some(handle);
            }
            for handle in handles.iter().flatten() {
                let held = place_of(handle.name()).unwrap_or_default();
                call(handle, &mut own.recurring[held], step as u64);
            }
            if step % 7 == holder {
                handles = [None, None];
            }
            while calls.len() > HELD {
                end_held(&mut own, calls.pop_front());
            }
            step += 1;
            thread::sleep(PAUSE);
        }
        for call in calls {
            end_held(&mut own, Some(call));
        }
        own
    }
}

/// Ends a call that was held, and counts its end.
fn end_held(own: &mut Own, held: Option<(OwnedCall, usize, Outcome)>) {
    if let Some((call, place, outcome)) = held {
        let tally = &mut own.recurring[place];
        let latency = finish_owned(call, outcome);
        tally.end(1, outcome);
        tally.took(outcome, latency);
    }
}

/// Makes some calls of one tool.
fn call(handle: &ToolHandle, tally: &mut Tally, step: u64) {
    let attempt = 1 + (step % 3) as u16;
    make(
        handle,
        tally,
        attempt,
        OUTCOMES[step as usize % OUTCOMES.len()],
    );
    if step.is_multiple_of(4) {
        handle.call().reject("denied");
        tally.reject();
    }
}

/// Makes one call.
fn make(handle: &ToolHandle, tally: &mut Tally, attempt: u16, outcome: Outcome) {
    tally.begin(attempt);
    let latency = finish(handle.call().attempt(attempt).start(), outcome);
    tally.end(attempt, outcome);
    tally.took(outcome, latency);
}

fn finish(call: Call<'_>, outcome: Outcome) -> Duration {
    match outcome {
        Outcome::Success => call.succeed(),
        Outcome::Failure(kind) => call.fail(kind, "in the crowd"),
        Outcome::Cancelled => call.cancel(),
        Outcome::Rejected => {
            call.reject("in the crowd");
            Duration::ZERO
        }
    }
}

fn finish_owned(call: OwnedCall, outcome: Outcome) -> Duration {
    match outcome {
        Outcome::Success => call.succeed(),
        Outcome::Failure(kind) => call.fail(kind, "held"),
        Outcome::Cancelled => call.cancel(),
        Outcome::Rejected => {
            call.reject("held");
            Duration::ZERO
        }
    }
}
