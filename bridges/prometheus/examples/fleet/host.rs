//! One host of the fleet: its tools, what happens with them, and its endpoint.
//!
//! `/metrics` is what Prometheus scrapes, `/totals` the same numbers as a JSON snapshot.

use crate::replay::{self, Drops, Replay};
use crate::script::Script;
use crate::trace::{self, Session};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::{Router, extract::State, routing::get};
use std::io::{BufRead, Write, stdin, stdout};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::RwLock;
use toolmeter::{AutoRun, ClockSource, ManualClock, Registry};
use toolmeter_prometheus::ToolCollector;
use toolmeter_prometheus::prometheus_client::{encoding::prometheus_text, registry};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The calls that agents of this fleet made.
const RECORDING: &[u8] = include_bytes!("recording.jsonl");

/// The options of a host.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) name: String,
    /// 0 for any that is free.
    pub(crate) port: u16,
    /// Leaves the host without tools of its own, and with a clock that only the calls of a script move.
    pub(crate) is_scripted: bool,
}

/// The state of the endpoint.
#[derive(Debug)]
struct Pages {
    tools: Registry,
    metrics: registry::Registry,
    /// Held for writing where no scrape may come between two things.
    gate: Arc<RwLock<()>>,
}

/// Runs a host until its standard input ends.
///
/// # Errors
///
/// An error if it cannot listen, or cannot do what a line asks.
pub(crate) fn run(settings: &Settings) -> Result<(), Error> {
    let clock = Arc::new(ManualClock::new());
    let mut builder = Registry::builder().instance(settings.name.as_str());
    if settings.is_scripted {
        builder = builder.clock(ClockSource::Manual(Arc::clone(&clock)));
    }
    let tools = builder.build()?;
    let gate = Arc::new(RwLock::new(()));
    let runtime = Runtime::new()?;
    let mut script = Script::new(tools.clone(), clock, Arc::clone(&gate));
    let mut sessions = trace::parse(RECORDING)?;
    sessions.retain(|session| session.name.starts_with(&settings.name));
    let drops = Drops::default();
    if !settings.is_scripted {
        replay::register(&tools, &sessions, &drops)?;
    }
    let address = runtime.block_on(serve(settings.port, &tools, &gate))?;
    say(&address.to_string());
    for line in stdin().lock().lines() {
        let done = match line?.as_str() {
            "play" => {
                runtime.block_on(play(&sessions, &drops, &tools));
                Ok(())
            }
            line => script.run(line),
        };
        match done {
            Ok(()) => say("ok"),
            Err(error) => say(&error.to_string()),
        }
    }
    Ok(())
}

fn say(line: &str) {
    // A parent that does not listen any more is gone.
    let _ = writeln!(stdout(), "{line}");
}

async fn serve(port: u16, tools: &Registry, gate: &Arc<RwLock<()>>) -> Result<SocketAddr, Error> {
    let mut metrics = registry::Registry::default();
    metrics.register_collector(Box::new(ToolCollector::new(tools)));
    let pages = Pages {
        tools: tools.clone(),
        metrics,
        gate: Arc::clone(gate),
    };
    let app = Router::new()
        .route("/metrics", get(metrics_page))
        .route("/totals", get(totals_page))
        .with_state(Arc::new(pages));
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(axum::serve(listener, app).into_future());
    Ok(address)
}

async fn metrics_page(State(pages): State<Arc<Pages>>) -> impl IntoResponse {
    let _open = pages.gate.read().await;
    let mut page = String::new();
    match prometheus_text::encode(&mut page, &pages.metrics) {
        Ok(()) => Ok(([(CONTENT_TYPE, prometheus_text::CONTENT_TYPE)], page)),
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

async fn totals_page(State(pages): State<Arc<Pages>>) -> impl IntoResponse {
    match serde_json::to_string(&pages.tools.totals()) {
        Ok(json) => Ok(([(CONTENT_TYPE, "application/json")], json)),
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

/// Plays recorded sessions, one after the other.
async fn play(sessions: &[Session], drops: &Drops, tools: &Registry) {
    for session in sessions {
        let mut model = Replay::new(session, 1.0, drops.clone());
        AutoRun::new(tools)
            .session(session.name.as_str())
            .approve_with(replay::approve)
            .run(&mut model)
            .await;
    }
}
