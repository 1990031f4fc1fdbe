//! The parts of a message: attributes, points and metrics.
//!
//! A point is valid if the clocks jump: its time is not before its start, even after the host's
//! clock was set back.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Metric, NumberDataPoint, Sum, number_data_point,
};
use std::time::{SystemTime, UNIX_EPOCH};
use toolmeter::{Outcome, Snapshot, error_type};

pub(crate) const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;

pub(crate) const TOOL: &str = "gen_ai.tool.name";
pub(crate) const OUTCOME: &str = "toolmeter.outcome";
pub(crate) const ERROR_TYPE: &str = "error.type";

/// The times of a point, in nanoseconds since 1970.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    pub(crate) start: u64,
    pub(crate) now: u64,
}

impl Times {
    /// Returns the time of a snapshot, for what was counted since `start`.
    pub(crate) fn since(start: SystemTime, totals: &Snapshot) -> Self {
        let start = unix_nanos(start);
        let now = unix_nanos(totals.taken_at).max(start);
        Self { start, now }
    }

    /// Returns the point of a count.
    pub(crate) fn number(self, count: u64, attributes: Vec<KeyValue>) -> NumberDataPoint {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        NumberDataPoint {
            attributes,
            start_time_unix_nano: self.start,
            time_unix_nano: self.now,
            value: Some(number_data_point::Value::AsInt(count)),
            ..NumberDataPoint::default()
        }
    }
}

/// Returns nanoseconds since 1970; a time before that is 0, which stands for unknown.
fn unix_nanos(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}

/// Returns the attributes of an outcome. A success has no `error.type`.
pub(crate) fn outcome_attributes(outcome: Outcome) -> impl Iterator<Item = KeyValue> {
    let error_type = error_type(outcome).map(|name| text(ERROR_TYPE, name));
    [text(OUTCOME, outcome.as_str())]
        .into_iter()
        .chain(error_type)
}

pub(crate) fn counter(
    name: &str,
    unit: &str,
    description: &str,
    points: Vec<NumberDataPoint>,
) -> Metric {
    sum(name, unit, description, points, true)
}

pub(crate) fn sum(
    name: &str,
    unit: &str,
    description: &str,
    data_points: Vec<NumberDataPoint>,
    is_monotonic: bool,
) -> Metric {
    let data = Data::Sum(Sum {
        data_points,
        aggregation_temporality: CUMULATIVE,
        is_monotonic,
    });
    metric(name, unit, description, data)
}

pub(crate) fn metric(name: &str, unit: &str, description: &str, data: Data) -> Metric {
    Metric {
        name: name.into(),
        unit: unit.into(),
        description: description.into(),
        data: Some(data),
        ..Metric::default()
    }
}

pub(crate) fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.into())),
        }),
        ..KeyValue::default()
    }
}
