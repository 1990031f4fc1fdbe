//! The bucket of OTLP in which each bucket of toolmeter is counted: [`Places`].
//!
//! That depends only on the scale and on the precision, which is the same for all histograms of a registry.
//! So it is computed once for a request, not for each histogram.

use toolmeter::LatencyStats;

/// The place of a latency of 0 ns.
pub(crate) const ZERO: i32 = i32::MIN;

/// The place of each bucket of toolmeter at one scale.
#[derive(Debug)]
pub(crate) struct Places {
    scale: i8,
    precision: Option<u8>,
    places: Vec<i32>,
}

impl Places {
    /// Returns places at this scale, for histograms of any precision.
    pub(crate) const fn new(scale: i8) -> Self {
        Self {
            scale,
            precision: None,
            places: Vec::new(),
        }
    }

    /// Returns the buckets of a histogram as `(place, count)`, places ascending; a place may repeat.
    /// All counts together are at most `u64::MAX`.
    pub(crate) fn of(&mut self, latency: &LatencyStats) -> impl Iterator<Item = (i32, u64)> {
        if self.precision != Some(latency.precision()) {
            self.precision = Some(latency.precision());
            let bounds = (0..).map_while(|index| latency.bucket_bounds(index));
            let ns = |bound: std::time::Duration| bound.as_nanos() as u64;
            self.places.clear();
            self.places
                .extend(bounds.map(|(least, greatest)| place(ns(least), ns(greatest), self.scale)));
        }
        let mut room = u64::MAX;
        latency.buckets().iter().filter_map(move |&(index, count)| {
            let count = count.min(room);
            room -= count;
            // No histogram holds an index without bounds.
            Some((*self.places.get(index as usize)?, count))
        })
    }
}

/// Returns the bucket at this scale that holds the middle of a bucket of toolmeter.
fn place(least_ns: u64, greatest_ns: u64, scale: i8) -> i32 {
    if greatest_ns == 0 {
        return ZERO;
    }
    let seconds = (least_ns as f64 + greatest_ns as f64) / 2e9;
    // A bucket includes its upper bound.
    (seconds.log2() * f64::from(scale).exp2()).ceil() as i32 - 1
}
