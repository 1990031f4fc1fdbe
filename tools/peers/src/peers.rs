//! The peers: other libraries with which a host could count and time its tool calls.
//!
//! A library with labels gets one label, the tool. `handles` resolves it before the calls,
//! `by_name` at each call. The metrics of a library without labels (`histogram`, `Mutex`) are found
//! by name in a map behind a read-write lock, as its users would write it.

mod bare;
mod metered;
mod metrics;
mod opentelemetry;
mod prometheus;
mod prometheus_client;

pub(crate) use bare::dash_map;

use crate::row::{Counted, Row};
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::hint::black_box;
use std::sync::{Arc, PoisonError, RwLock};

/// Returns all peers, in the order of the table.
///
/// # Errors
///
/// When a library cannot be set up. `metrics` accepts a recorder only once, so this works once in a
/// process.
pub(crate) fn all() -> Result<Vec<Arc<dyn Row>>, Box<dyn Error>> {
    let mut rows: Vec<Arc<dyn Row>> = Vec::new();
    rows.extend(metrics::rows()?);
    rows.extend(prometheus::rows()?);
    rows.extend(prometheus_client::rows());
    rows.extend(opentelemetry::rows());
    rows.extend(bare::rows()?);
    rows.push(Arc::new(metered::Metered::default()));
    Ok(rows)
}

/// Reads both figures from the text that Prometheus would scrape. A figure that is missing is 0.
fn scraped(text: &str, calls: &str, samples: &str) -> Counted {
    let value = |name: &str| {
        text.lines()
            .filter(|line| {
                line.strip_prefix(name)
                    .is_some_and(|labels| labels.starts_with('{'))
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    };
    Counted {
        successes: value(calls),
        samples: value(samples),
    }
}

/// A map from the name of a tool to its metrics, for libraries that leave this to their users.
struct ByName<T>(RwLock<HashMap<String, Arc<T>>>);

impl<T> ByName<T> {
    fn new(name: &str, metrics: Arc<T>) -> Self {
        Self(RwLock::new(HashMap::from([(name.to_owned(), metrics)])))
    }

    /// Passes the metrics of `name` to `use_it`. The map never changes here.
    fn with<R>(&self, name: &str, use_it: impl FnOnce(&T) -> R) -> Option<R> {
        let tools = self.0.read().unwrap_or_else(PoisonError::into_inner);
        tools.get(black_box(name)).map(|metrics| use_it(metrics))
    }
}

impl<T> fmt::Debug for ByName<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByName").finish_non_exhaustive()
    }
}
