//! Fields that follow from the buckets: left out, or given and then in agreement with them.

use super::super::serialize::to_ms;
use super::problem::{Invalid, Problem};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::time::Duration;

/// A field that follows from others: `None` if it was left out, `Some(None)` if it was null.
pub(super) type Given<T> = Option<Option<T>>;

pub(super) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Given<T>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Checks that the field, if it is given, is the `same` as `expected`.
fn agrees<T: fmt::Display + Copy>(
    field: &str,
    given: Given<T>,
    expected: Option<T>,
    same: impl Fn(T, T) -> bool,
) -> Result<(), Invalid> {
    let text =
        |value: Option<T>| value.map_or_else(|| "null".to_owned(), |value| value.to_string());
    let agrees = match (given, expected) {
        (None, _) | (Some(None), None) => true,
        (Some(Some(given)), Some(expected)) => same(given, expected),
        (Some(_), _) => false,
    };
    if agrees {
        return Ok(());
    }
    Err(Problem::Disagrees {
        given: text(given.flatten()),
        expected: text(expected),
    }
    .at(field))
}

pub(super) fn count_agrees(field: &str, given: Given<u64>, expected: u64) -> Result<(), Invalid> {
    agrees(field, given, Some(expected), |a, b| a == b)
}

/// Checks that milliseconds agree, except for the last digits, which some parsers round differently.
pub(super) fn ms_agrees(
    field: &str,
    given: Given<f64>,
    expected: Option<Duration>,
) -> Result<(), Invalid> {
    agrees(field, given, expected.map(to_ms), |a, b| {
        (a - b).abs() <= b.abs() * 4.0 * f64::EPSILON
    })
}
