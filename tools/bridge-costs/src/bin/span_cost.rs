//! The cost of a span of `toolmeter-tracing`: bare calls, calls with spans, and a span written by hand
//! around the same tool, in turns. Prints the median and the quartiles in nanoseconds per call.
//!
//! ```text
//! cargo run --release --package toolmeter-bridge-costs --bin span_cost
//! ```
//!
//! Each subscriber runs in a process of its own, since `tracing` has one global subscriber per
//! process. The tool does nothing, and there is no subscription to events. OpenTelemetry's exporter
//! drops what it gets, at once and on the same thread.

use clap::Parser;
use clap::builder::RangedU64ValueParser;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::process::Command;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Instant;
use toolmeter::{CallBegin, Instrument, Pump, Registry, RegistryBuilder, Scope, ToolHandle};
use toolmeter_tracing::ToolSpans;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

const SUBSCRIBERS: [&str; 4] = ["none", "filtered", "registry", "opentelemetry"];
const CALLS: u32 = 500;

/// A hook that wants no scope.
struct Nothing;

impl Instrument for Nothing {
    fn begin(&self, _: &CallBegin<'_>) -> Option<Arc<dyn Scope>> {
        None
    }
}

/// An exporter that drops its spans.
#[derive(Debug)]
struct Drops;

impl SpanExporter for Drops {
    async fn export(&self, spans: Vec<SpanData>) -> OTelSdkResult {
        black_box(spans);
        Ok(())
    }
}

/// Measures what a span adds to a call.
#[derive(Debug, Parser)]
struct Args {
    /// The number of rounds. Each round measures every row.
    #[arg(long, default_value_t = 2_000, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    rounds: usize,
    /// The only subscriber to measure with.
    #[arg(long, value_parser = SUBSCRIBERS)]
    subscriber: Option<String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let Args { rounds, subscriber } = Args::parse();
    let Some(subscriber) = subscriber else {
        for subscriber in SUBSCRIBERS {
            let this = env::current_exe()?;
            let rounds = rounds.to_string();
            let args = ["--subscriber", subscriber, "--rounds", &rounds];
            if !Command::new(this).args(args).status()?.success() {
                return Err(format!("the measurement with {subscriber} failed").into());
            }
        }
        return Ok(());
    };
    subscribe(&subscriber)?;
    println!("{subscriber}");
    measure(rounds)
}

fn subscribe(subscriber: &str) -> Result<(), Box<dyn Error>> {
    let spans = tracing_subscriber::registry();
    match subscriber {
        "none" => {}
        "filtered" => spans.with(LevelFilter::WARN).try_init()?,
        "registry" => spans.try_init()?,
        "opentelemetry" => {
            let provider = SdkTracerProvider::builder()
                .with_simple_exporter(Drops)
                .build();
            let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("cost"));
            spans.with(layer).try_init()?;
        }
        other => return Err(format!("no subscriber is called {other}").into()),
    }
    Ok(())
}

fn tool(builder: RegistryBuilder) -> Result<(Registry, ToolHandle), Box<dyn Error>> {
    let registry = builder.pump(Pump::manual()).build()?;
    let tool = registry.register("tool")?;
    Ok((registry, tool))
}

/// A span with the same fields, as a host would write it.
fn by_hand(tool: &ToolHandle) -> tracing::Span {
    tracing::info_span!(
        "execute_tool",
        otel.name = %format_args!("execute_tool {}", tool.name()),
        otel.kind = "internal",
        otel.status_code = tracing::field::Empty,
        otel.status_description = tracing::field::Empty,
        gen_ai.operation.name = "execute_tool",
        gen_ai.tool.name = tool.name(),
        gen_ai.tool.call.id = tracing::field::Empty,
        gen_ai.tool.call.arguments = tracing::field::Empty,
        gen_ai.tool.call.result = tracing::field::Empty,
        error.type = tracing::field::Empty,
        toolmeter.attempt = 1_u16,
    )
}

fn body() -> Result<u32, Infallible> {
    Ok(black_box(1))
}

/// Keeps the compiler from removing the code that computed this.
fn keep<T: Copy>(given: T) {
    black_box(given);
}

fn poll<F: Future>(future: F) {
    let mut future = pin!(future);
    let _ = black_box(
        future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop())),
    );
}

fn measure(rounds: usize) -> Result<(), Box<dyn Error>> {
    use tracing::Instrument as _;
    let (_bare, bare) = tool(Registry::builder())?;
    let (_nothing, nothing) = tool(Registry::builder().instrument(Nothing))?;
    let (_spans, spans) = tool(Registry::builder().instrument(ToolSpans::new()))?;
    let rows: [(&str, &dyn Fn()); 9] = [
        ("run, bare", &|| keep(bare.run(body))),
        ("run, a hook set to nothing", &|| keep(nothing.run(body))),
        ("run, ToolSpans", &|| keep(spans.run(body))),
        ("run, a span by hand", &|| {
            keep(by_hand(&bare).in_scope(|| bare.run(body)));
        }),
        ("run_async, bare", &|| {
            poll(bare.run_async(async { body() }));
        }),
        ("run_async, ToolSpans", &|| {
            poll(spans.run_async(async { body() }));
        }),
        ("run_async, a span by hand", &|| {
            poll(bare.run_async(async { body() }).instrument(by_hand(&bare)));
        }),
        ("guard, bare", &|| {
            black_box(bare.start().succeed());
        }),
        ("guard, ToolSpans", &|| {
            black_box(spans.start().succeed());
        }),
    ];
    let mut times: Vec<Vec<f64>> = rows.iter().map(|_| Vec::with_capacity(rounds)).collect();
    for round in 0..rounds {
        for place in 0..rows.len() {
            let place = (place + round) % rows.len();
            let began = Instant::now();
            for _ in 0..CALLS {
                (rows[place].1)();
            }
            let ns = began.elapsed().as_secs_f64() * 1e9;
            times[place].push(ns / f64::from(CALLS));
        }
    }
    for ((name, _), times) in rows.iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        let at = |share: usize| times[(times.len() - 1) * share / 4];
        println!("  {name:28} {:7.1} ({:.1} to {:.1})", at(2), at(1), at(3));
    }
    Ok(())
}
