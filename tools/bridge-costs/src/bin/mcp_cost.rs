//! The cost of `toolmeter-mcp` within one process: a server, and a client, each metered and not.
//!
//! ```text
//! cargo run --release --package toolmeter-bridge-costs --bin mcp_cost
//! ```
//!
//! Client and server run on one thread and are connected in memory, so a call is what rmcp does for
//! it on both sides and nothing else. The tool answers at once. Blocks of calls, one after the other
//! on each connection, are made in turns. Printed are the median of the time of a call and, against
//! the connection without metering, the median of the differences and of the ratios within a turn,
//! with quartiles.

use clap::Parser;
use clap::builder::RangedU64ValueParser;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt};
use std::error::Error;
use std::time::Instant;
use toolmeter::{Pump, Registry};
use toolmeter_mcp::{Metered, MeteredClient};

const CALLS: u32 = 100;
const NAME: &str = "echo";
/// The bytes that a connection holds, more than a request or an answer has.
const BUFFER: usize = 64 << 10;

/// Measures what metering adds to a call of MCP.
#[derive(Debug, Parser)]
struct Args {
    /// The number of turns. Each makes 100 calls on every connection.
    #[arg(long, default_value_t = 1_000, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    turns: usize,
}

/// A server whose tool answers at once.
struct Echo;

fn tool() -> Tool {
    Tool::new(NAME, "Answers at once.", serde_json::Map::new())
}

impl ServerHandler for Echo {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn call_tool(
        &self,
        _: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        Ok(CallToolResult::success(vec![ContentBlock::text("done")]).into())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(vec![tool()]))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        (name == NAME).then(tool)
    }
}

fn registry() -> Result<Registry, Box<dyn Error>> {
    Ok(Registry::builder().pump(Pump::manual()).build()?)
}

/// Makes the calls of one block, and returns the time of one in nanoseconds.
macro_rules! block {
    ($peer:expr) => {{
        let began = Instant::now();
        for _ in 0..CALLS {
            $peer.call_tool(CallToolRequestParams::new(NAME)).await?;
        }
        began.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
    }};
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let Args { turns } = Args::parse();
    let (of_server, of_client) = (registry()?, registry()?);

    let (near, far) = tokio::io::duplex(BUFFER);
    let plain_server = tokio::spawn(Echo.serve(near));
    let plain = ().serve(far).await?;
    let (near, far) = tokio::io::duplex(BUFFER);
    let metered_server = tokio::spawn(Metered::new(Echo, &of_server).serve(near));
    let server = ().serve(far).await?;
    let (near, far) = tokio::io::duplex(BUFFER);
    let client_server = tokio::spawn(Echo.serve(near));
    let client = MeteredClient::new((), &of_client).serve(far).await?;
    let peer = client.service().peer();

    let rows = ["no metering", "metered server", "metered client"];
    let mut times = [const { Vec::new() }; 3];
    for turn in 0..turns {
        for place in 0..rows.len() {
            match (place + turn) % rows.len() {
                0 => times[0].push(block!(plain)),
                1 => times[1].push(block!(server)),
                _ => times[2].push(block!(peer)),
            }
        }
    }
    let calls = u64::from(CALLS) * turns as u64;
    for registry in [&of_server, &of_client] {
        assert_eq!(registry.metrics().tools[NAME].success(), calls);
    }
    let bare = times[0].clone();
    for (name, times) in rows.iter().zip(&times) {
        let differences = times.iter().zip(&bare).map(|(time, bare)| time - bare);
        let ratios = times.iter().zip(&bare).map(|(time, bare)| time / bare);
        let (time, more, ratio) = (
            quartiles(times.iter().copied()),
            quartiles(differences),
            quartiles(ratios),
        );
        println!(
            "{name:16} {:8.0} ns ({:.0} to {:.0})  {:+7.0} ns ({:+.0} to {:+.0})  {:.3} ({:.3} to {:.3})",
            time[1], time[0], time[2], more[1], more[0], more[2], ratio[1], ratio[0], ratio[2],
        );
    }
    client.cancel().await?;
    server.cancel().await?;
    plain.cancel().await?;
    client_server.await??.waiting().await?;
    metered_server.await??.waiting().await?;
    plain_server.await??.waiting().await?;
    Ok(())
}

/// Returns the quartiles.
fn quartiles(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|share| values[(values.len() - 1) * share / 4])
}
