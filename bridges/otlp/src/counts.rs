//! The counts of a request: calls by outcome, single numbers of each tool, and numbers of the registry.

use crate::message::{TOOL, Times, counter, metric, outcome_attributes, sum, text};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Gauge, Metric};
use std::sync::Arc;
use toolmeter::{EventAccounting, OUTCOMES, Outcome, Snapshot, ToolStats};

/// Returns the calls of each tool by outcome: successes and the outcomes that occurred, or all with
/// `zero_points`.
pub(crate) fn calls(totals: &Snapshot, zero_points: bool) -> Metric {
    let mut points = Vec::with_capacity(totals.tools.len());
    for (tool, stats) in &totals.tools {
        let times = Times::since(stats.registered_at, totals);
        for outcome in OUTCOMES {
            let count = stats.count(outcome);
            if count > 0 || zero_points || outcome == Outcome::Success {
                let mut attributes = Vec::with_capacity(3);
                attributes.push(text(TOOL, tool));
                attributes.extend(outcome_attributes(outcome));
                points.push(times.number(count, attributes));
            }
        }
    }
    counter(
        "toolmeter.calls",
        "{call}",
        "Attempts at calling a tool that ended, by how they ended, and calls that were rejected.",
        points,
    )
}

/// Returns the metrics with one number for each tool.
pub(crate) fn by_tool(totals: &Snapshot) -> [Metric; 3] {
    let points = |count: fn(&ToolStats) -> u64| {
        let tools = totals.tools.iter();
        let point = |(tool, stats): (&Arc<str>, &Arc<ToolStats>)| {
            let times = Times::since(stats.registered_at, totals);
            times.number(count(stats), vec![text(TOOL, tool)])
        };
        tools.map(point).collect::<Vec<_>>()
    };
    [
        sum(
            "toolmeter.in_flight",
            "{call}",
            "Calls that started and did not end yet.",
            points(|stats| stats.in_flight),
            false,
        ),
        counter(
            "toolmeter.retried",
            "{call}",
            "Calls that started as a second attempt or a later one.",
            points(|stats| stats.retried),
        ),
        counter(
            "toolmeter.recovered",
            "{call}",
            "Successes of a second attempt or a later one.",
            points(|stats| stats.recovered),
        ),
    ]
}

/// Returns the metrics that belong to no tool.
pub(crate) fn of_registry(totals: &Snapshot, events: EventAccounting) -> Vec<Metric> {
    let times = Times::since(totals.started_at, totals);
    let one = |name, unit, description, count| {
        let points = vec![times.number(count, Vec::new())];
        counter(name, unit, description, points)
    };
    let mut metrics = vec![
        one(
            "toolmeter.unknown_calls",
            "{call}",
            "Calls by a name that no tool has.",
            totals.unknown_tool_calls,
        ),
        one(
            "toolmeter.events.offered",
            "{event}",
            "Events that calls offered to subscribers.",
            events.offered,
        ),
        one(
            "toolmeter.events.lost",
            "{event}",
            "Events that found no room, or came after the registry was shut down.",
            events.lost_in_rings,
        ),
    ];
    if let Some(nameless) = &totals.nameless {
        let calls = OUTCOMES.into_iter().filter_map(|outcome| {
            let count = nameless.stats.count(outcome);
            (count > 0).then(|| times.number(count, outcome_attributes(outcome).collect()))
        });
        let tools = Gauge {
            data_points: vec![times.number(nameless.tools, Vec::new())],
        };
        metrics.extend([
            metric(
                "toolmeter.nameless_tools",
                "{tool}",
                "Tools that are gone and not told apart any more.",
                Data::Gauge(tools),
            ),
            counter(
                "toolmeter.nameless_calls",
                "{call}",
                "Calls of tools that are gone and not told apart any more.",
                calls.collect(),
            ),
        ]);
    }
    metrics
}
