//! Spans across threads, with one subscriber for the process: tools that block, and tasks.
//! One test, since there is one subscriber.

mod support;

use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::mpsc;
use std::time::Duration;
use support::builder;
use toolmeter::auto_run::{AutoRun, CallResult, Model, ToolCall, Turn};
use toolmeter::{async_tool, sync_tool};
use toolmeter_tracing::ToolSpans;
use tracing::{Instrument, Span};
use tracing_subscriber::registry::{LookupSpan, Registry as Spans};

/// The names of the current span and of those around it, the innermost first.
fn current() -> Vec<&'static str> {
    let names = Span::current().with_subscriber(|(id, dispatch)| {
        let spans = dispatch.downcast_ref::<Spans>().unwrap();
        let span = spans.span(id).unwrap();
        span.scope().map(|span| span.name()).collect()
    });
    names.unwrap_or_default()
}

/// Asks for a call of each of these tools, and is done.
struct Once(Vec<&'static str>);

impl Model for Once {
    type Error = Infallible;

    async fn next_turn(&mut self, results: Vec<CallResult>) -> Result<Turn, Infallible> {
        let calls = self
            .0
            .drain(..)
            .map(|name| ToolCall::new(name, Value::Null));
        let calls: Vec<_> = calls.collect();
        Ok(match calls.is_empty() {
            false => Turn::Calls(calls),
            true => {
                let answers = results
                    .into_iter()
                    .map(|result| result.answer.unwrap_or_default());
                Turn::Done(answers.collect())
            }
        })
    }
}

#[test]
fn the_parent_is_the_caller_whichever_thread_the_tool_runs_on() {
    tracing::subscriber::set_global_default(tracing_subscriber::registry()).unwrap();
    let registry = builder().instrument(ToolSpans::new()).build().unwrap();
    let here = std::thread::current().id();
    let blocks = move |_| {
        assert_ne!(std::thread::current().id(), here);
        Ok(json!(current()))
    };
    registry.register_tool(sync_tool("blocks", blocks)).unwrap();
    let waits = |_| async {
        tokio::task::yield_now().await;
        Ok(json!(current()))
    };
    registry.register_tool(async_tool("waits", waits)).unwrap();
    let nested = json!(["execute_tool", "caller"]);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let span = tracing::info_span!("caller");
    runtime.block_on(
        async {
            for name in ["blocks", "waits"] {
                assert_eq!(
                    registry.invoke(name, Value::Null).await.unwrap(),
                    nested,
                    "{name}"
                );
            }
            let mut model = Once(vec!["blocks", "waits"]);
            let report = AutoRun::new(&registry).run(&mut model).await;
            let both = json!([nested, nested]);
            assert_eq!(report.stop, toolmeter::auto_run::StopReason::Done(both));

            // Tasks of the host's own.
            let own = registry.register("own").unwrap();
            let call = async move {
                own.run_async(async { Ok::<_, Infallible>(current()) })
                    .await
            };
            let task = tokio::spawn(registry.in_current_scope(call));
            assert_eq!(task.await.unwrap().unwrap(), ["execute_tool", "caller"]);
            let guard = registry.get("own").unwrap().start_owned();
            let task = tokio::task::spawn_blocking(move || guard.in_scope(current));
            assert_eq!(task.await.unwrap(), ["execute_tool", "caller"]);
        }
        .instrument(span),
    );

    // A tool that blocks on after its time is still in its span.
    let (free, is_free) = mpsc::channel::<()>();
    let (told, is_told) = mpsc::channel();
    let is_free = std::sync::Mutex::new(is_free);
    let (begun, has_begun) = mpsc::channel();
    let hangs = move |_| {
        begun.send(()).unwrap();
        let _ = is_free.lock().unwrap().recv();
        told.send(current()).unwrap();
        Ok(Value::Null)
    };
    registry.register_tool(sync_tool("hangs", hangs)).unwrap();
    runtime.block_on(async {
        let call = registry
            .invoke("hangs", Value::Null)
            .within(Duration::from_millis(1));
        let late = call.await;
        assert_eq!(
            late.unwrap_err().kind(),
            Some(toolmeter::ErrorKind::Timeout)
        );
    });
    drop(free);
    // There may have been no thread by then, and the tool never ran.
    if has_begun.try_recv().is_ok() {
        assert_eq!(is_told.recv().unwrap(), ["execute_tool"]);
    }
    let metrics = registry.metrics();
    assert_eq!(
        (
            metrics.tools["hangs"].failure(),
            metrics.tools["blocks"].success()
        ),
        (1, 2)
    );
}
