//! `metered`: a hit count and a response time around an expression.
//!
//! Its metrics are fields that the program names, so there is no look-up by name. The response time
//! is measured in microseconds, the finest unit that it has.

use crate::row::{Counted, Row};
use metered::hdr_histogram::AtomicHdrHistogram;
use metered::time_source::StdInstantMicros;
use metered::{HitCount, ResponseTime, measure};
use std::hint::black_box;

/// The two metrics of one tool.
#[derive(Debug, Default)]
pub(super) struct Metered {
    hits: HitCount,
    response_time: ResponseTime<AtomicHdrHistogram, StdInstantMicros>,
}

impl Row for Metered {
    fn name(&self) -> &'static str {
        "metered/handles"
    }

    fn run(&self, calls: u64) {
        for _ in 0..calls {
            measure!(&self.hits, measure!(&self.response_time, black_box(1u64)));
        }
    }

    fn counted(&self) -> Option<Counted> {
        Some(Counted {
            successes: self.hits.0.get(),
            samples: self.response_time.histogram().len(),
        })
    }
}
