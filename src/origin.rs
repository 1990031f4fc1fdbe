//! [`Origin`]: the parts that all snapshots of a registry have in common.

use crate::snapshot::{Clocks, Header, NamelessTools, Recorded, Snapshot, ToolStats};
use crate::tool_slot::ToolReading;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The name of a registry, its start, and the precision of its latencies.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) instance: String,
    pub(crate) started_at: SystemTime,
    /// The start by the registry's clock.
    pub(crate) started_ns: u64,
    pub(crate) precision: u8,
}

impl Origin {
    /// Makes a snapshot of stats that were made at this time.
    pub(crate) fn snapshot(
        &self,
        clocks: &Clocks,
        unknown_tool_calls: u64,
        tools: BTreeMap<Arc<str>, Arc<ToolStats>>,
        nameless: Option<(u64, ToolReading)>,
    ) -> Snapshot {
        let now = clocks.now;
        let uptime = Duration::from_nanos(now.clock_ns().saturating_sub(self.started_ns));
        let header = Header {
            instance: self.instance.clone(),
            started_at: self.started_at,
            taken_at: now.wall(),
            uptime,
            unknown_tool_calls,
        };
        let nameless = nameless.map(|(tools, reading)| {
            let recorded = Recorded {
                reading: &reading,
                in_flight: 0,
                errors: None,
                retired: true,
                registered_at: self.started_at,
            };
            let stats = ToolStats::new(&recorded, self.precision, clocks);
            Arc::new(NamelessTools { tools, stats })
        });
        Snapshot::new(header, tools, nameless)
    }
}
