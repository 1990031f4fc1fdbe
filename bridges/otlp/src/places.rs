//! Which bucket of a message each bucket of toolmeter is counted in: [`Places`].
//!
//! That depends on nothing but the precision of the histogram, which is the same for all histograms of
//! a registry. So it is computed once a request, and not once for each of thousands of histograms.

use toolmeter::LatencyStats;

/// The place of each bucket of toolmeter.
#[derive(Debug)]
pub(crate) struct Places<F> {
    /// Tells the place from the least and the greatest latency of a bucket, in nanoseconds.
    place: F,
    precision: Option<u8>,
    places: Vec<i32>,
}

impl<F: Fn(u64, u64) -> i32> Places<F> {
    pub(crate) const fn new(place: F) -> Self {
        Self {
            place,
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
                .extend(bounds.map(|(least, greatest)| (self.place)(ns(least), ns(greatest))));
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
