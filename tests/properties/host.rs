//! A host with a registry, a clock of its own, and calls that run. Each of its actions returns an
//! entry of the list.

use crate::expected_counts::Entry;
use std::future::{Future, IntoFuture};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;
use toolmeter::{ClockSource, ManualClock, Outcome, OwnedCall, Pump, Registry, ToolHandle};

/// The tools of every host.
pub(crate) const TOOLS: [&str; 2] = ["search", "shell"];

/// A registry and its tools.
pub(crate) struct Host {
    pub(crate) registry: Registry,
    pub(crate) clock: Arc<ManualClock>,
    /// `None` while a tool is deregistered.
    tools: [Option<ToolHandle>; TOOLS.len()],
    pub(crate) running: Vec<Running>,
}

pub(crate) struct Running {
    call: OwnedCall,
    tool: usize,
    started: Duration,
}

impl Host {
    pub(crate) fn new(name: &str, precision: u8) -> Self {
        let clock = Arc::new(ManualClock::new());
        let registry = Registry::builder()
            .instance(name)
            .clock(ClockSource::Manual(Arc::clone(&clock)))
            .pump(Pump::manual())
            .precision(precision)
            .stripes(2)
            .build()
            .unwrap();
        let tools = TOOLS.map(|name| registry.register(name).ok());
        Self {
            registry,
            clock,
            tools,
            running: Vec::new(),
        }
    }

    /// Returns the handle of a tool, which is registered again if it was gone.
    fn tool(&mut self, tool: usize) -> &ToolHandle {
        let registry = &self.registry;
        self.tools[tool].get_or_insert_with(|| registry.register(TOOLS[tool]).unwrap())
    }

    pub(crate) fn start(&mut self, tool: usize, attempt: u16, now: Duration) -> Entry {
        let call = self.tool(tool).call().attempt(attempt).start_owned();
        let attempt = call.attempt();
        self.running.push(Running {
            call,
            tool,
            started: now,
        });
        Entry::Started { tool, attempt }
    }

    /// Refuses a call before it starts.
    pub(crate) fn reject(&mut self, tool: usize, attempt: u16) -> Entry {
        self.tool(tool).call().attempt(attempt).reject("denied");
        Entry::Rejected { tool }
    }

    /// Deregisters a tool and drops its handle. The handles of running calls stay.
    pub(crate) fn leave(&mut self, tool: usize) {
        if self.tools[tool].take().is_some() {
            self.registry.deregister(TOOLS[tool]).unwrap();
        }
    }

    pub(crate) fn is_registered(&self, tool: usize) -> bool {
        self.tools[tool].is_some()
    }

    /// Ends a call on this thread, or on another one with another stripe.
    pub(crate) fn finish(
        &mut self,
        place: usize,
        outcome: Outcome,
        elsewhere: bool,
        now: Duration,
        number: usize,
    ) -> Entry {
        let Running {
            call,
            tool,
            started,
        } = self.running.swap_remove(place);
        let attempt = call.attempt();
        let end = move || match outcome {
            Outcome::Success => drop(call.succeed()),
            Outcome::Failure(kind) => drop(call.fail(kind, number)),
            Outcome::Cancelled => drop(call),
            Outcome::Rejected => call.reject(number),
        };
        if elsewhere {
            std::thread::spawn(end).join().unwrap();
        } else {
            end();
        }
        let latency_ns = (now - started).as_nanos() as u64;
        Entry::Finished {
            tool,
            attempt,
            outcome,
            latency_ns,
            number,
        }
    }

    pub(crate) fn unknown(&self) -> Entry {
        let call = self.registry.invoke("no_such_tool", 0.into()).into_future();
        let answer = pin!(call).poll(&mut Context::from_waker(Waker::noop()));
        assert!(answer.is_ready());
        Entry::Unknown
    }

    pub(crate) fn in_flight(&self, tool: usize) -> u64 {
        self.running.iter().filter(|call| call.tool == tool).count() as u64
    }
}
