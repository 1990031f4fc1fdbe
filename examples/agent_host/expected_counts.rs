//! The comparison of the expected counts, which the runs report, with the counts of the registry and
//! of the events.

use serde_json::{Value, json};
use std::time::Duration;
use toolmeter::{EventAccounting, Snapshot, SubscriptionStats};

/// The counts of the sessions, from the reports of their runs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Played {
    /// Sessions that were played.
    pub(crate) sessions: u64,
    /// The turns of those sessions.
    pub(crate) turns: u64,
    /// Attempts of calls.
    pub(crate) calls: u64,
    /// Calls that were denied, which are no attempts.
    pub(crate) rejected: u64,
    /// Sessions that ended before the model was done.
    pub(crate) unfinished: u64,
}

impl Played {
    /// Adds what another worker played.
    pub(crate) fn add(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.turns += other.turns;
        self.calls += other.calls;
        self.rejected += other.rejected;
        self.unfinished += other.unfinished;
    }
}

/// Everything that was counted, at rest.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// The counts that the runs report.
    pub(crate) played: Played,
    /// The duration.
    pub(crate) elapsed: Duration,
    /// The registry's counts.
    pub(crate) metrics: Snapshot,
    /// The account of the events up to the subscriptions.
    pub(crate) events: EventAccounting,
    /// The account of the events in the subscription.
    pub(crate) subscription: SubscriptionStats,
    /// Events that were read from the subscription.
    pub(crate) received: u64,
}

/// Returns the finished calls, the failures and the calls in flight, over all tools.
pub(crate) fn totals(metrics: &Snapshot) -> (u64, u64, u64) {
    metrics
        .tools
        .values()
        .fold((0, 0, 0), |(finished, failures, in_flight), tool| {
            (
                finished + tool.finished(),
                failures + tool.failure(),
                in_flight + tool.in_flight,
            )
        })
}

impl Comparison {
    /// Returns the differences, one line each.
    pub(crate) fn errors(&self) -> Vec<String> {
        let (finished, _, in_flight) = totals(&self.metrics);
        let unknown = self.metrics.unknown_tool_calls;
        let (events, sub) = (&self.events, &self.subscription);
        let checks = [
            (
                "calls = success + failure + cancelled + unknown",
                self.played.calls,
                finished + unknown,
            ),
            ("denied = rejected", self.played.rejected, self.rejected()),
            ("in flight = 0", in_flight, 0),
            (
                "offered = lost in rings + drained",
                events.offered,
                events.lost_in_rings + events.drained,
            ),
            (
                "drained = delivered + filtered + lost by the subscriber",
                events.drained,
                sub.delivered + sub.filtered + sub.lost,
            ),
            ("received = delivered", self.received, sub.delivered),
            ("unfinished sessions = 0", self.played.unfinished, 0),
        ];
        checks
            .into_iter()
            .filter(|(_, left, right)| left != right)
            .map(|(rule, left, right)| format!("does not add up: {rule}: {left} is not {right}"))
            .collect()
    }

    /// Returns the calls that the registry counted as rejected, over all tools.
    fn rejected(&self) -> u64 {
        self.metrics.tools.values().map(|tool| tool.rejected).sum()
    }

    /// Returns all counts as one object.
    ///
    /// # Errors
    ///
    /// If the snapshot cannot be written as JSON.
    pub(crate) fn to_json(&self) -> serde_json::Result<Value> {
        let metrics = serde_json::to_value(&self.metrics)?;
        Ok(json!({
            "calls": self.played.calls,
            "unknown_tool_calls": self.metrics.unknown_tool_calls,
            "rejected": self.played.rejected,
            "sessions": self.played.sessions,
            "turns": self.played.turns,
            "elapsed_ms": self.elapsed.as_secs_f64() * 1e3,
            "tools": metrics["tools"],
            "events": {
                "offered": self.events.offered,
                "lost_in_rings": self.events.lost_in_rings,
                "drained": self.events.drained,
                "filtered": self.subscription.filtered,
                "lost_by_subscriber": self.subscription.lost,
                "delivered": self.subscription.delivered,
                "late": self.events.late,
            },
        }))
    }

    /// Returns the table and the accounts as text.
    pub(crate) fn to_text(&self) -> String {
        let (played, events, sub) = (&self.played, &self.events, &self.subscription);
        let seconds = self.elapsed.as_secs_f64();
        format!(
            "{}\n{} calls ({} of unknown tools) and {} rejected in {} turns of {} sessions, \
             {seconds:.1} s\n\
             events: {} offered = {} lost in rings + {} drained\n\
             drained: {} delivered + {} filtered + {} lost by the subscriber; {} late",
            self.metrics,
            played.calls,
            self.metrics.unknown_tool_calls,
            played.rejected,
            played.turns,
            played.sessions,
            events.offered,
            events.lost_in_rings,
            events.drained,
            sub.delivered,
            sub.filtered,
            sub.lost,
            events.late,
        )
    }
}
