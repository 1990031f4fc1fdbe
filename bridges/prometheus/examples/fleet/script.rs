//! The lines that a host reads besides `play`: what tests do with hosts.
//!
//! | line | what happens |
//! | --- | --- |
//! | `register NAME`, `deregister NAME` | a tool comes, or goes with its handle |
//! | `call NAME ENDING NANOSECONDS ATTEMPT TIMES` | calls that take so long and end so: `success`, `cancelled`, `rejected`, or a kind of failure |
//! | `unknown TIMES` | calls by a name that no tool has |
//! | `reset` | `Registry::reset_metrics` |
//! | `hold`, `release` | no scrape is answered in between |

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedRwLockWriteGuard, RwLock};
use toolmeter::{ErrorKind, ManualClock, Registry, ToolHandle};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A host's tools, and the clock that only its calls move.
#[derive(Debug)]
pub(crate) struct Script {
    tools: Registry,
    clock: Arc<ManualClock>,
    gate: Arc<RwLock<()>>,
    handles: HashMap<String, ToolHandle>,
    held: Option<OwnedRwLockWriteGuard<()>>,
}

impl Script {
    pub(crate) fn new(tools: Registry, clock: Arc<ManualClock>, gate: Arc<RwLock<()>>) -> Self {
        Self {
            tools,
            clock,
            gate,
            handles: HashMap::new(),
            held: None,
        }
    }

    /// Does what a line asks.
    ///
    /// # Errors
    ///
    /// The error in the line.
    pub(crate) fn run(&mut self, line: &str) -> Result<(), Error> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["register", name] => {
                let handle = self.tools.register(name.to_owned())?;
                self.handles.insert(name.to_owned(), handle);
            }
            ["deregister", name] => {
                self.tools.deregister(name)?;
                self.handles.remove(name);
            }
            ["call", name, ending, ns, attempt, times] => {
                let tool = self.handles.get(name).ok_or("no such tool")?;
                let took = Duration::from_nanos(ns.parse()?);
                let attempt = attempt.parse()?;
                for _ in 0..times.parse()? {
                    call(tool, &self.clock, ending, took, attempt)?;
                }
            }
            ["unknown", times] => {
                for _ in 0..times.parse()? {
                    self.tools.unknown_call("teleport").count();
                }
            }
            ["reset"] => drop(self.tools.reset_metrics()),
            ["hold"] => {
                let gate = Arc::clone(&self.gate);
                self.held = Some(
                    tokio::runtime::Builder::new_current_thread()
                        .build()?
                        .block_on(gate.write_owned()),
                );
            }
            ["release"] => self.held = None,
            _ => return Err("not understood".into()),
        }
        Ok(())
    }
}

fn call(
    tool: &ToolHandle,
    clock: &ManualClock,
    ending: &str,
    took: Duration,
    attempt: u16,
) -> Result<(), Error> {
    let call = tool.call().attempt(attempt).start();
    if ending == "rejected" {
        call.reject("denied");
        return Ok(());
    }
    clock.advance(took);
    match ending {
        "success" => drop(call.succeed()),
        "cancelled" => drop(call.cancel()),
        kind => drop(call.fail(kind.parse::<ErrorKind>()?, "failed")),
    }
    Ok(())
}
