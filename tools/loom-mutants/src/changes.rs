//! The handwritten changes: mistakes that could be made in the facade and in core's ring of events,
//! each with the test that must fail.
//!
//! The text of each entry occurs exactly once in its file, and its test exists; the tests below
//! check both. So an entry must be updated together with the code that it changes.

use std::fmt;

/// A possible mistake, and the test that must notice it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    /// The wrong behaviour after the change.
    pub(crate) breaks: &'static str,
    /// The file, below the root.
    pub(crate) file: &'static str,
    /// The text to replace, which is in the file exactly once.
    find: &'static str,
    /// The text that replaces it.
    replace: &'static str,
    /// The target with the test.
    pub(crate) tests: In,
    /// The test, with the modules that it is in.
    pub(crate) test: &'static str,
    /// The reason why no test can notice the change, if none can.
    pub(crate) unseen_because: Option<&'static str>,
}

/// The target with the test of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum In {
    /// Beside the code of the facade.
    Library,
    /// Beside the code of core.
    Core,
    /// In this target of `tests`.
    Tests(&'static str),
    /// In this target of `tests`, as a model that loom runs.
    Models(&'static str),
}

impl In {
    /// The package of the facade.
    pub(crate) const PACKAGE: &'static str = "toolmeter";
    /// The package of core.
    pub(crate) const CORE: &'static str = "toolmeter-core";
}

impl fmt::Display for In {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Library => f.write_str("src"),
            Self::Core => f.write_str("core/src"),
            Self::Tests(file) | Self::Models(file) => write!(f, "tests/{file}"),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.breaks)
    }
}

impl Change {
    /// Returns the file's text with the change made.
    ///
    /// # Errors
    ///
    /// If the text of the entry is not in the file exactly once.
    pub(crate) fn made_in(&self, source: &str) -> Result<String, String> {
        match source.matches(self.find).count() {
            1 => Ok(source.replacen(self.find, self.replace, 1)),
            found => Err(format!(
                "the entry \"{self}\" is stale: its text occurs {found} times in the file, \
                 and must occur once:\n{}",
                self.find
            )),
        }
    }
}

/// Returns a change that the test notices.
const fn seen(
    breaks: &'static str,
    file: &'static str,
    [find, replace]: [&'static str; 2],
    tests: In,
    test: &'static str,
) -> Change {
    Change {
        breaks,
        file,
        find,
        replace,
        tests,
        test,
        unseen_because: None,
    }
}

/// Returns a change that no test can notice.
const fn unseen(change: Change, because: &'static str) -> Change {
    Change {
        unseen_because: Some(because),
        ..change
    }
}

/// All changes.
pub(crate) const CHANGES: [Change; 64] = [
    seen(
        "an offer writes into a place that another offer holds",
        "core/src/ring/place.rs",
        ["        before == 0\n", "        before & !HELD == 0\n"],
        In::Models("loom_ring"),
        "an_offer_that_was_overtaken_disturbs_no_event",
    ),
    seen(
        "an offer writes over an event that waits in its place",
        "core/src/ring/place.rs",
        ["        before == 0\n", "        before & HELD == 0\n"],
        In::Models("loom_ring"),
        "an_offer_that_was_overtaken_disturbs_no_event",
    ),
    seen(
        "an event that finds its place taken is not counted as lost",
        "core/src/ring.rs",
        [
            "if !(ticket.is_admitted && self.put(tickets.enter(), ticket.number, facts)) {",
            "let put = ticket.is_admitted;
        if put {
            self.put(tickets.enter(), ticket.number, facts);
        }
        if !put {",
        ],
        In::Models("loom_ring"),
        "an_offer_that_was_overtaken_disturbs_no_event",
    ),
    seen(
        "a place is filled before its event is written",
        "core/src/ring.rs",
        [
            "        place.write(number, facts);
        place.fill(position);",
            "        place.fill(position);
        place.write(number, facts);",
        ],
        In::Models("loom_ring"),
        "an_event_is_drained_whole",
    ),
    seen(
        "two drains run at once",
        "core/src/ring/drain.rs",
        ["if from & DRAINING != 0 {", "if false {"],
        In::Models("loom_ring"),
        "two_drains_take_each_event_once",
    ),
    seen(
        "a drain does not go back to the event that the one before passed over",
        "core/src/ring/drain.rs",
        [
            "let passed = self.none_at.min(self.at);",
            "let passed = self.at;",
        ],
        In::Models("loom_ring"),
        "an_event_is_drained_whole",
    ),
    seen(
        "a drain does not look for events from before the last lap",
        "core/src/ring/drain.rs",
        ["has_older: from < first,", "has_older: false,"],
        In::Core,
        "ring::tests::a_start_from_before_the_last_lap_is_drained_before_its_end",
    ),
    seen(
        "of events from before the last lap, the latest is drained first",
        "core/src/ring/drain.rs",
        [
            "position < self.first).min()?;",
            "position < self.first).max()?;",
        ],
        In::Core,
        "ring::tests::events_from_before_the_last_lap_are_drained_by_position",
    ),
    seen(
        "the next drain does not look for events from before the last lap",
        "core/src/ring/drain.rs",
        [
            "let passed = if self.from < self.first {",
            "let passed = if false {",
        ],
        In::Core,
        "ring::tests::events_from_before_the_last_lap_are_drained_by_position",
    ),
    seen(
        "a subscription gets events from before it began",
        "events/src/hub.rs",
        [
            "first_tickets: rings.first_tickets(),",
            "first_tickets: Box::default(),",
        ],
        In::Tests("events"),
        "a_subscription_gets_nothing_from_before_it_began",
    ),
    seen(
        "a model that asks for nothing keeps the thread for itself",
        "src/auto_run/agent_loop.rs",
        ["if calls.is_empty() {", "if false {"],
        In::Tests("auto_run"),
        "a_model_that_asks_for_nothing_does_not_keep_the_thread",
    ),
    seen(
        "calls of different tools with the same arguments follow each other",
        "src/auto_run/tool_call.rs",
        ["            self.name.hash(&mut hasher);\n", ""],
        In::Library,
        "auto_run::tool_call::tests::equal_arguments_are_one_identity_whatever_the_order_of_their_keys",
    ),
    seen(
        "a permit is held while a call waits to be retried",
        "src/auto_run/attempts.rs",
        [".holding(permit);", "; let _permit = permit;"],
        In::Tests("auto_run"),
        "a_permit_is_free_while_a_call_waits_to_be_retried",
    ),
    seen(
        "a backoff that panics when it is dropped ends its call",
        "src/auto_run/backoff.rs",
        [
            "            discard(self.0.take());\n        }\n        delay",
            "            drop(self.0.take());\n        }\n        delay",
        ],
        In::Tests("auto_run"),
        "a_backoff_that_panics_has_ended",
    ),
    seen(
        "a first attempt that succeeds is reported as recovered",
        "src/auto_run/report.rs",
        [
            "u64::from(result.attempt > 1)",
            "u64::from(result.attempt > 0)",
        ],
        In::Tests("auto_run"),
        "a_call_that_is_new_in_a_later_turn_is_no_retry",
    ),
    seen(
        "the latest call that did not succeed is forgotten instead of the oldest",
        "src/auto_run/retry_history.rs",
        ["self.by_age.pop_first()", "self.by_age.pop_last()"],
        In::Library,
        "auto_run::retry_history::tests::the_oldest_call_is_forgotten_first",
    ),
    seen(
        "texts of errors are kept although the host said not to",
        "src/builder.rs",
        ["self.keeps_text = false;", "self.redactor = None;"],
        In::Tests("metering"),
        "the_redactor_has_the_last_word_and_text_can_be_off",
    ),
    seen(
        "a call whose start was offered ends without an event once the last subscriber has left",
        "src/call.rs",
        [
            "let is_offered = self.id.is_some() || state.env.rings.is_open();",
            "let is_offered = state.env.rings.is_open();",
        ],
        In::Tests("events"),
        "a_start_that_was_offered_is_followed_by_its_end_although_the_subscriber_left",
    ),
    seen(
        "an answer whose error flag is not a boolean is a failure",
        "src/classify/mcp.rs",
        [
            "let is_error = answer.get(\"isError\").and_then(Value::as_bool);",
            "let is_error = answer.get(\"isError\").map(|flag| flag != &Value::Bool(false));",
        ],
        In::Tests("outcomes"),
        "an_answer_without_a_true_error_flag_is_a_success_whatever_its_shape",
    ),
    seen(
        "a clock that runs backwards measures centuries",
        "src/clock.rs",
        ["return backwards();", "return start.0 - end.0;"],
        In::Library,
        "clock::tests::a_clock_that_runs_backwards_measures_nothing",
    ),
    seen(
        "a panic of the payload of a panic unwinds into the host",
        "src/contain.rs",
        ["mem::forget(second);", "drop(second);"],
        In::Library,
        "contain::tests::what_panics_when_dropped_unwinds_nowhere",
    ),
    seen(
        "an error of a call that timed out is reported as a failure of the tool",
        "src/error.rs",
        [
            "Self::TimedOut { .. } => Outcome::Failure(ErrorKind::Timeout),",
            "Self::TimedOut { .. } => Outcome::Failure(ErrorKind::ToolError),",
        ],
        In::Tests("outcomes"),
        "an_error_of_a_call_by_name_keeps_its_meaning",
    ),
    seen(
        "a tool that is registered again while a handle is left stays disabled",
        "src/tool_slot.rs",
        ["        self.enabled.store(true, Ordering::Relaxed);\n", ""],
        In::Tests("registry"),
        "a_tool_that_is_registered_again_is_enabled_whether_or_not_it_departed",
    ),
    seen(
        "a tool that panics while it is registered unwinds into the host",
        "src/boxed_tool.rs",
        [
            "let spec = contained(|| boxed.tool().spec())?;",
            "let spec = boxed.tool().spec();",
        ],
        In::Tests("foreign_code"),
        "a_tool_that_panics_while_it_is_registered_is_not_registered_at_all",
    ),
    seen(
        "the end of a call that the hook itself ends is not reported",
        "src/hook.rs",
        [
            "drop(mark_in_hook(true, || contained(|| scope.end(&end))));",
            "let _ = call_hook(|| scope.end(&end));",
        ],
        In::Tests("instrument"),
        "a_call_that_the_hook_ends_is_told_its_end",
    ),
    seen(
        "arguments are lent to a hook that did not ask for them",
        "src/hook.rs",
        [
            "arguments: begin.arguments.filter(|_| self.wants_content),",
            "arguments: begin.arguments,",
        ],
        In::Tests("instrument"),
        "arguments_and_answers_are_lent_to_a_hook_that_wants_them",
    ),
    seen(
        "calls that a tool makes are treated as the hook's own",
        "src/hook.rs",
        ["mark_in_hook(false, || contained(code))", "contained(code)"],
        In::Tests("instrument"),
        "calls_within_calls_are_nested",
    ),
    seen(
        "a rejected call is not reported to the hook",
        "src/rejection.rs",
        [
            "hook.refused(&begin, outcome, message);",
            "let _ = (hook, begin, outcome, message);",
        ],
        In::Tests("instrument"),
        "rejected_and_unknown_calls_are_told",
    ),
    seen(
        "an interval holds what the one before it held",
        "src/intervals.rs",
        [
            "let before = mem::replace(&mut self.baselines, next);",
            "drop(next);
        let before = mem::take(&mut self.baselines);",
        ],
        In::Tests("intervals"),
        "intervals_add_up_to_the_total",
    ),
    seen(
        "a disabled tool runs",
        "src/invoke.rs",
        [
            "Some(callable) if tool.0.slot.is_enabled() => Ok(callable),",
            "Some(callable) if !self.name.is_empty() => Ok(callable),",
        ],
        In::Tests("invoke"),
        "a_disabled_tool_is_rejected_by_name_only",
    ),
    seen(
        "the answer of a tool that blocks wins although it comes after the time limit",
        "src/invoke/blocking.rs",
        [
            "Stage::Running(call) => Poll::Ready(time_out(call, limit)),",
            "Stage::Running(call) => { *self.shared.lock() = Stage::Running(call); \
             self.limit = None; Poll::Pending }",
        ],
        In::Tests("blocking"),
        "a_tool_that_blocks_beyond_its_time_limit_is_a_time_out_once",
    ),
    seen(
        "a thread that cannot be spawned panics into the host",
        "src/invoke/blocking.rs",
        [
            "contained(|| runtime.spawn_blocking(move || run(&tool_side)))",
            "Ok::<_, crate::contain::Panicked>(runtime.spawn_blocking(move || run(&tool_side)))",
        ],
        In::Tests("foreign_code"),
        "with_tokio::a_tool_that_finds_no_thread_of_its_own_is_a_failure_and_no_panic",
    ),
    seen(
        "the error inside an `io::Error` is not looked at",
        "src/known_errors/chain.rs",
        [
            "        return Some(inner);\n",
            "        return inner.source();\n",
        ],
        In::Library,
        "known_errors::tests::what_an_io_error_holds_is_looked_at_itself",
    ),
    seen(
        "after a step backwards of the clock the text of the last error is lost",
        "src/last_error.rs",
        ["last: Arc::clone(&record),", "last: Arc::clone(latest),"],
        In::Library,
        "last_error::tests::a_step_backwards_loses_neither_the_last_nor_the_latest",
    ),
    seen(
        "a forked child is treated as its parent",
        "src/process.rs",
        ["self != Self::current()", "self != self"],
        In::Library,
        "process::tests::another_process_is_a_fork",
    ),
    seen(
        "a reset is not seen in what is published of idle tools",
        "src/publisher.rs",
        ["if same_baselines && last.source", "if last.source"],
        In::Tests("intervals"),
        "the_published_snapshot_shares_the_stats_of_tools_that_did_nothing",
    ),
    seen(
        "the pump never sleeps",
        "src/pump_worker.rs",
        [
            "sleep.map_or(rest, |sleep| sleep.max(REST))",
            "sleep.map_or(rest, |sleep| sleep.min(REST))",
        ],
        In::Tests("idle"),
        "an_idle_registry_wakes_its_pump_once_a_second_at_most",
    ),
    seen(
        "the pump rests beyond the next snapshot",
        "src/pump_worker.rs",
        [
            "park(sleep.map_or(rest, |sleep| sleep.max(REST)));",
            "park(sleep.map_or(rest, |sleep| sleep.max(SLEEP / 10)));",
        ],
        In::Library,
        "pump_worker::tests::the_pump_sleeps_until_a_snapshot_is_due_and_no_longer",
    ),
    seen(
        "a waker that has no thread of its own is called under the pump's lock",
        "src/pump_worker.rs",
        [
            "drop(state);\n        wake(wakeups);\n        reclaim(",
            "wake(wakeups);\n        drop(state);\n        reclaim(",
        ],
        In::Tests("foreign_code"),
        "a_waker_that_finds_no_thread_of_its_own_finds_no_lock_held",
    ),
    unseen(
        seen(
            "the pump keeps the mark that it sleeps after it woke up by itself",
            "src/pump_worker.rs",
            ["                rings.stay_awake();\n", ""],
            In::Tests("idle"),
            "an_idle_registry_wakes_its_pump_once_a_second_at_most",
        ),
        "the next offer clears the mark and wakes a pump that is awake: one system call too many",
    ),
    seen(
        "nothing is published at the end",
        "src/pump_worker.rs",
        [
            "        state.publisher.publish(&self.registry, read);\n        drop(state);\n        wake(wakeups);\n        ended.wake();",
            "        drop(state);\n        wake(wakeups);\n        ended.wake();",
        ],
        In::Tests("intervals"),
        "what_was_counted_before_a_shutdown_is_published_by_it",
    ),
    unseen(
        seen(
            "the last drain does not wait for events that are under way",
            "src/pump_worker.rs",
            [
                "|| began.is_over(LAST_DRAIN)",
                "|| began.is_over(Duration::ZERO)",
            ],
            In::Tests("events"),
            "after_a_shutdown_what_is_queued_is_received_and_then_no_more",
        ),
        "an admitted event that is lost looks like one that was offered after the end, which is lost, \
         too; a test in the events crate shows that the drain waits",
    ),
    seen(
        "a tool that was registered again is released, and its memory given to another",
        "src/reclaim.rs",
        [
            "            if !slot.retired.load(Ordering::Relaxed) {
                // It was registered again.
                slot.in_queue.store(false, Ordering::Relaxed);
                continue;
            }
            if !slot.is_released() {",
            "            if slot.retired.load(Ordering::Relaxed) && !slot.is_released() {",
        ],
        In::Tests("registry"),
        "registering_again_continues_the_counts_while_the_tool_is_held",
    ),
    seen(
        "memory is used again while a reader holds it",
        "src/reclaim.rs",
        [
            "Err(slot) => self.departed_slots.push_back(slot),",
            "Err(slot) => { slot.memory.slot().clear(); self.slab.put_back(slot.memory.clone()); }",
        ],
        In::Library,
        "reclaim::tests::memory_that_a_reader_holds_is_not_used_again",
    ),
    seen(
        "a snapshot is negative, since a later reset is subtracted from it",
        "src/registry.rs",
        [
            "        let baselines = state.baselines.load_full();
        state.snapshot_since(state.totals(), &baselines)",
            "        let totals = state.totals();
        let baselines = state.baselines.load_full();
        state.snapshot_since(totals, &baselines)",
        ],
        In::Models("loom_facade"),
        "a_snapshot_is_never_less_than_nothing",
    ),
    seen(
        "a list in which a name occurs twice is registered",
        "src/registration.rs",
        [
            "|| !names.insert(name)",
            "|| (names.insert(name) && name.is_empty())",
        ],
        In::Tests("registry"),
        "register_all_is_all_or_nothing",
    ),
    seen(
        "a shutdown waits until the pump wakes up by itself",
        "src/pump_thread.rs",
        ["        thread.unpark();\n", ""],
        In::Tests("lifetimes"),
        "a_shutdown_wakes_a_pump_that_sleeps",
    ),
    seen(
        "counts of tools that lost their name are lost",
        "src/tool_map.rs",
        ["            let _ = sum.add(reading);\n", ""],
        In::Tests("registry"),
        "departed_names_are_bounded_and_their_counts_are_not_lost",
    ),
    seen(
        "a call that exceeds its time limit is reported as cancelled",
        "src/metered.rs",
        [
            "        if let Stage::Running(call, _) = mem::replace(this.stage, Stage::Ended) {
            call.fail(ErrorKind::Timeout, error);
        }
",
            "        drop(mem::replace(this.stage, Stage::Ended));\n",
        ],
        In::Tests("metering"),
        "time_limits::a_time_limit_is_a_timeout_and_no_cancellation",
    ),
    seen(
        "the calls that run are listed youngest first",
        "src/running_calls.rs",
        ["(Reverse(call.age), call.call)", "(call.age, call.call)"],
        In::Tests("running_calls"),
        "the_calls_that_run_are_listed_oldest_first",
    ),
    seen(
        "a reset does not clear the calls of unknown tools",
        "src/totals.rs",
        [
            "            unknown_tool_calls: self.unknown_tool_calls,
        }
    }
",
            "            unknown_tool_calls: 0,
        }
    }
",
        ],
        In::Tests("intervals"),
        "unknown_calls_are_reset_and_read_in_intervals",
    ),
    seen(
        "what a tool counted before a reset comes back when it loses its name",
        "src/totals.rs",
        ["if !is_named(id) {", "if is_named(id) {"],
        In::Tests("registry"),
        "what_loses_its_name_after_a_reset_is_handed_back_once",
    ),
    seen(
        "memory that was freed is never used again",
        "src/slab.rs",
        ["self.free.push(memory);", "drop(memory);"],
        In::Library,
        "slab::tests::a_freed_slot_is_handed_out_again_before_a_fresh_one",
    ),
    seen(
        "merged snapshots began with the later of both",
        "src/snapshot.rs",
        [
            "self.started_at.min(other.started_at)",
            "self.started_at.max(other.started_at)",
        ],
        In::Library,
        "snapshot::tests::the_earliest_start_and_all_nameless_tools_are_merged",
    ),
    seen(
        "an attempt of 0 is read from JSON",
        "src/snapshot/deserialize.rs",
        ["if self.attempt == 0 {", "if self.attempt == u16::MAX {"],
        In::Library,
        "snapshot::deserialize::tests::each_field_that_is_wrong_is_named",
    ),
    seen(
        "a latency is written that cannot be read back",
        "src/snapshot/serialize.rs",
        ["to_ms(latency.min(longest))", "to_ms(latency)"],
        In::Library,
        "snapshot::serialize::tests::what_is_too_large_is_written_as_the_nearest_that_is_not",
    ),
    seen(
        "a quantile is the bucket before the one that it lies in",
        "src/snapshot/latency.rs",
        ["if seen >= rank {", "if seen > rank {"],
        In::Library,
        "snapshot::latency::tests::the_named_quantiles_are_those_quantiles",
    ),
    seen(
        "the table shows every latency, not that of successful calls",
        "src/snapshot/table.rs",
        [
            "let latency = &stats.latency.success;",
            "let latency = &stats.latency.success.merge(&stats.latency.failure);",
        ],
        In::Library,
        "snapshot::table::tests::one_line_for_the_whole_and_one_row_for_each_tool",
    ),
    seen(
        "a tool that is retired in one of two hosts is reported as retired",
        "src/snapshot/tool_stats.rs",
        [
            "self.retired && other.retired",
            "self.retired || other.retired",
        ],
        In::Library,
        "snapshot::tool_stats::tests::both_must_be_retired",
    ),
    seen(
        "the time to the last item is reported as that to the first",
        "src/stream.rs",
        [
            "                this.time_to_first_item
                    .get_or_insert_with(|| call.elapsed());",
            "                *this.time_to_first_item = Some(call.elapsed());",
        ],
        In::Tests("stream"),
        "a_stream_that_ends_is_a_success_of_the_whole_time",
    ),
    seen(
        "of the stripes that are free, the highest is given out first",
        "src/stripe.rs",
        [
            "let index = indices.free.pop().map_or_else(",
            "let highest = indices.free.iter().map(|free| free.0).max();
        indices.free.retain(|free| Some(free.0) != highest);
        let index = highest.map(Reverse).map_or_else(",
        ],
        In::Library,
        "stripe::tests::the_lowest_index_that_is_free_is_given_out",
    ),
    seen(
        "the host's redactor sees the first 300 bytes of a text, which are kept",
        "src/text/policy.rs",
        [
            "escaped_ends(&redactor(&raw), *max_bytes)",
            "escaped_ends(&redactor(raw.get(..300).unwrap_or(&raw)), *max_bytes)",
        ],
        In::Library,
        "text::policy::tests::the_redactor_gets_all_at_once_and_its_text_is_cut_and_escaped",
    ),
    seen(
        "calls that a tool makes do not name the call that makes them",
        "src/tool.rs",
        [
            ".parent(parent.call.clone())",
            ".parent(parent.session.clone())",
        ],
        In::Tests("running_calls"),
        "calls_that_a_tool_makes_name_the_call_in_whose_course_they_are_made",
    ),
    seen(
        "times are computed from the first pairing of the clocks forever",
        "src/wall_clock.rs",
        [
            "if timeline.renewed(now).is_some() {",
            "if timeline.renewed(now).is_none() {",
        ],
        In::Tests("times"),
        "an_event_is_told_by_the_clocks_that_held_when_it_was_made",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::fs;
    use std::path::{Path, PathBuf};
    use walkdir::WalkDir;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    #[test]
    fn what_each_entry_changes_is_there_once() {
        for change in &CHANGES {
            let source = fs::read_to_string(root().join(change.file)).unwrap();
            let changed = change.made_in(&source).unwrap();
            assert_ne!(changed, source, "{change}");
            if let Err(error) = syn::parse_file(&changed) {
                panic!("{change}: {error}");
            }
        }
    }

    #[test]
    fn the_test_of_each_entry_is_there() {
        for change in &CHANGES {
            let file = |ends: &str| fs::read_to_string(root().join(ends)).unwrap();
            let sources = match change.tests {
                In::Tests(name) | In::Models(name) => file(&format!("tests/{name}.rs")),
                In::Library | In::Core => {
                    let files = WalkDir::new(root().join(change.tests.to_string()));
                    let files = files.into_iter().map(|entry| entry.unwrap().into_path());
                    let rust = files.filter(|path| path.extension().is_some_and(|end| end == "rs"));
                    rust.map(|path| fs::read_to_string(path).unwrap()).collect()
                }
            };
            let name = change.test.rsplit("::").next().unwrap();
            assert!(sources.contains(&format!("fn {name}(")), "{change}");
        }
    }

    #[test]
    fn no_change_is_there_twice() {
        let mut changes = HashSet::new();
        let mut lines = HashSet::new();
        for change in &CHANGES {
            assert!(
                changes.insert((change.file, change.find, change.replace)),
                "{change}"
            );
            assert!(lines.insert(change.breaks), "{change}");
        }
    }

    #[test]
    fn an_entry_that_does_not_stand_there_once_is_stale() {
        let change = seen(
            "it holds",
            "src/f.rs",
            ["a + b", "a - b"],
            In::Library,
            "tests::f",
        );
        assert_eq!(change.made_in("f(a + b)").unwrap(), "f(a - b)");
        for source in ["f(a)", "f(a + b, a + b)"] {
            let error = change.made_in(source).unwrap_err();
            assert!(error.contains("src/f.rs: it holds"), "{error}");
        }
    }
}
