//! A small agent host: it plays recorded agent sessions through `AutoRun`, many at once, and
//! shows what toolmeter counted.
//!
//! ```text
//! args -> trace or local recording -> workers, each one AutoRun at a time -> registry
//!                                         |                                     | events
//!                                         '--> expected_counts: all equal? <----'
//! ```
//!
//! It reads everything before it runs anything, and ends with status 1 if the counts of the runs,
//! the registry and the events do not agree. With `--stats` it runs nothing, and shows what was
//! recorded.

mod args;
mod expected_counts;
mod history;
mod local;
mod replay;
mod stats;
mod trace;

use args::Args;
use expected_counts::{Comparison, Played, totals};
use local::{LocalModel, Recording};
use replay::{Drops, Replay};
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use toolmeter::auto_run::{AutoRun, ExponentialBuilder, Report, StopReason};
use toolmeter::{Registry, RunningCalls, StatsHandle};
use trace::Session;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The recordings to play.
enum Source {
    Trace {
        sessions: Vec<Session>,
        speed: f64,
        drops: Drops,
    },
    Local(Recording),
}

fn main() -> ExitCode {
    let args = match args::parse(std::env::args_os().skip(1)) {
        Ok(args) => args,
        Err(message) => return refuse(&message),
    };
    if args.help {
        return print(args::HELP.trim_end());
    }
    if args.stats {
        return match history::load(&args.traces) {
            Ok(history) => print(&stats::show(&args, &history)),
            Err(message) => refuse(&message),
        };
    }
    let source = match load(&args) {
        Ok(source) => source,
        Err(message) => return refuse(&message),
    };
    // A tool that panics is a failed call, so a line about it is enough.
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("agent_host: {}", panic.to_string().replace('\n', " "));
    }));
    match host(&args, source) {
        Ok(status) => status,
        Err(error) => refuse(&error.to_string()),
    }
}

/// Prints one line about what cannot be used.
fn refuse(message: &str) -> ExitCode {
    eprintln!("agent_host: {message}");
    ExitCode::from(2)
}

/// Prints a line. If stdout was closed early, the rest is not written.
fn print(text: &str) -> ExitCode {
    let _ = writeln!(std::io::stdout(), "{text}");
    ExitCode::SUCCESS
}

fn load(args: &Args) -> Result<Source, String> {
    if args.traces.is_empty() {
        return Recording::built_in().map(Source::Local);
    }
    let history = history::load(&args.traces)?;
    if history.account.has_gaps() {
        // stdout is kept for the result.
        let account = history.account.to_string().replace('\n', "; ");
        let _ = writeln!(std::io::stderr(), "agent_host: {account}");
    }
    Ok(Source::Trace {
        sessions: history.sessions,
        speed: args.speed,
        drops: Drops::default(),
    })
}

impl Source {
    fn register(&self, registry: &Registry) -> Result<(), Error> {
        match self {
            Self::Trace {
                sessions, drops, ..
            } => replay::register(registry, sessions, drops)?,
            Self::Local(_) => local::register(registry)?,
        }
        Ok(())
    }

    fn sessions(&self) -> usize {
        match self {
            Self::Trace { sessions, .. } => sessions.len(),
            Self::Local(_) => 1,
        }
    }

    async fn play(&self, index: usize, registry: &Registry) -> Played {
        match self {
            Self::Trace {
                sessions,
                speed,
                drops,
            } => {
                let session = &sessions[index];
                let mut model = Replay::new(session, *speed, drops.clone());
                // As many calls at once as were recorded.
                let run = AutoRun::new(registry)
                    .session(session.name.as_str())
                    .concurrency(usize::MAX)
                    .approve_with(replay::approve);
                played(&run.run(&mut model).await)
            }
            Self::Local(recording) => {
                let pause = ExponentialBuilder::default()
                    .with_min_delay(Duration::from_millis(10))
                    .with_max_delay(Duration::from_millis(100));
                let run = AutoRun::new(registry)
                    .session("checkout")
                    .time_limit(Duration::from_secs(30))
                    .max_attempts(3)
                    .retry_on([toolmeter::ErrorKind::Network])
                    .backoff(pause);
                played(&run.run(&mut LocalModel::new(recording)).await)
            }
        }
    }
}

fn played<E>(report: &Report<E>) -> Played {
    Played {
        sessions: 1,
        turns: report.turns,
        calls: report.attempts,
        rejected: report.rejected,
        unfinished: u64::from(!matches!(report.stop, StopReason::Done(_))),
    }
}

fn host(args: &Args, source: Source) -> Result<ExitCode, Error> {
    let registry = Registry::builder().instance("agent_host").build()?;
    source.register(&registry)?;
    // Before the first call, so that none is missed.
    let running = registry.running_calls();
    let subscription = registry.subscribe();
    let stats = subscription.stats_handle();
    let reader = thread::spawn(move || {
        subscription
            .iter()
            .map(|batch| batch.len() as u64)
            .sum::<u64>()
    });

    let began = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_time()
        .build()?;
    let played = runtime.block_on(async {
        let progress = tokio::spawn(show_progress(registry.clone(), running, stats.clone()));
        let played = play_all(args, Arc::new(source), &registry).await;
        progress.abort();
        played
    });
    let elapsed = began.elapsed();
    drop(runtime);
    registry.shutdown();
    let Ok(received) = reader.join() else {
        return Err("the reader of the events panicked".into());
    };

    let comparison = Comparison {
        played: played?,
        elapsed,
        metrics: registry.metrics(),
        events: registry.event_accounting(),
        subscription: stats.read(),
        received,
    };
    if args.json {
        print(&comparison.to_json()?.to_string());
    } else {
        print(&comparison.to_text());
    }
    let errors = comparison.errors();
    for error in &errors {
        eprintln!("agent_host: {error}");
    }
    Ok(if errors.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

async fn play_all(args: &Args, source: Arc<Source>, registry: &Registry) -> Result<Played, Error> {
    let sessions = source.sessions();
    // The built-in recording is one session; more of them at once play it side by side.
    let workers = match (&*source, args.sessions) {
        (Source::Local(_), Some(workers)) => workers,
        (_, workers) => workers.unwrap_or(sessions).min(sessions),
    };
    let once = sessions.max(workers);
    let until = args
        .repeat
        .and_then(|repeat| Instant::now().checked_add(repeat));
    let repeats = args.repeat.is_some();
    let next = Arc::new(AtomicUsize::new(0));
    let mut running = JoinSet::new();
    for _ in 0..workers {
        let (source, registry, next) = (Arc::clone(&source), registry.clone(), Arc::clone(&next));
        running.spawn(async move {
            let mut played = Played::default();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let is_over = !repeats || until.is_some_and(|until| Instant::now() >= until);
                if index >= once && is_over {
                    return played;
                }
                played.add(source.play(index % sessions, &registry).await);
            }
        });
    }
    let mut all = Played::default();
    while let Some(worker) = running.join_next().await {
        all.add(worker?);
    }
    Ok(all)
}

/// Prints one line a second to stderr, since stdout is kept for the result.
async fn show_progress(registry: Registry, running: RunningCalls, stats: StatsHandle) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.tick().await;
    let (mut calls_before, mut before) = (0, Instant::now());
    loop {
        ticks.tick().await;
        let metrics = registry.metrics();
        let (finished, failures, in_flight) = totals(&metrics);
        let calls = finished + in_flight + metrics.unknown_tool_calls;
        let now = Instant::now();
        let a_second = (calls - calls_before) as f64 / (now - before).as_secs_f64();
        (calls_before, before) = (calls, now);
        let delivered = stats.read();
        let lost = registry.event_accounting().lost_in_rings + delivered.lost;
        let oldest = running
            .list()
            .calls
            .first()
            .map_or_else(String::new, |call| {
                format!(
                    " (oldest: {} for {:.1} s)",
                    call.tool,
                    call.age.as_secs_f64()
                )
            });
        // An error is ignored, since stderr may be closed.
        let _ = writeln!(
            std::io::stderr(),
            "{calls} calls, {a_second:.0} a second, {in_flight} in flight{oldest}, {failures} \
             failures, {} events delivered, {lost} lost",
            delivered.delivered
        );
    }
}
