//! The spans that OpenTelemetry exports of calls, through `tracing-opentelemetry` and the SDK's exporter into
//! memory: name, kind, parent, status and attributes, however a call ends.

mod support;

use opentelemetry::trace::{SpanId, SpanKind, Status, TracerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::{IntoFuture, pending};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use support::{builder, poll, runtime};
use toolmeter::auto_run::{AutoRun, CallResult, Model, ToolCall, Turn};
use toolmeter::{CallContext, ErrorKind, Registry, ToolError, ToolHandle, async_tool};
use toolmeter_tracing::ToolSpans;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt;

struct Host {
    registry: Registry,
    tool: ToolHandle,
    exporter: InMemorySpanExporter,
    _provider: SdkTracerProvider,
    _default: DefaultGuard,
}

fn host(spans: ToolSpans) -> Host {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("test"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_target(false);
    let subscriber = tracing_subscriber::registry().with(layer);
    let registry = builder().instrument(spans).build().unwrap();
    Host {
        tool: registry.register("tool").unwrap(),
        registry,
        exporter,
        _provider: provider,
        _default: tracing::subscriber::set_default(subscriber),
    }
}

impl Host {
    /// The spans that have ended, in the order in which they did.
    fn spans(&self) -> Vec<SpanData> {
        let spans = self.exporter.get_finished_spans().unwrap();
        self.exporter.reset();
        spans
    }

    #[track_caller]
    fn one(&self) -> SpanData {
        let spans = self.spans();
        assert_eq!(spans.len(), 1, "{spans:?}");
        spans.into_iter().next().unwrap()
    }
}

/// Attributes by their names.
fn attributes(span: &SpanData) -> BTreeMap<String, String> {
    let attributes = span.attributes.iter();
    attributes
        .map(|attribute| (attribute.key.to_string(), attribute.value.to_string()))
        .collect()
}

/// Asserts what all spans of calls of `tool` have, and returns what else this one has.
#[track_caller]
fn rest(span: &SpanData, attempt: &str) -> BTreeMap<String, String> {
    assert_eq!(span.name, "execute_tool tool");
    assert_eq!(span.span_kind, SpanKind::Internal);
    let mut attributes = attributes(span);
    for (name, value) in [
        ("gen_ai.operation.name", "execute_tool"),
        ("gen_ai.tool.name", "tool"),
        ("toolmeter.attempt", attempt),
    ] {
        let found = attributes.remove(name);
        assert_eq!(found.as_deref(), Some(value), "{name} of {span:?}");
    }
    attributes
}

fn error(description: &'static str) -> Status {
    Status::error(description)
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn a_success_has_no_status_and_no_error() {
    let host = host(ToolSpans::new());
    let context = CallContext::new("session").call("call_9f");
    let call = host.tool.call().context(context);
    call.run(|| Ok::<_, Infallible>(1)).unwrap();
    let span = host.one();
    assert_eq!(span.status, Status::Unset);
    assert_eq!(span.parent_span_id, SpanId::INVALID);
    assert_eq!(
        rest(&span, "1"),
        pairs(&[("gen_ai.tool.call.id", "call_9f")])
    );
    // Without a name of the host's there is no id.
    host.tool.run(|| Ok::<_, Infallible>(1)).unwrap();
    assert_eq!(rest(&host.one(), "1"), pairs(&[]));
}

#[test]
fn each_way_to_fail_has_its_type_and_its_status() {
    let host = host(ToolSpans::new());
    type Ends = fn(&ToolHandle);
    let ways: [(Ends, &str, Status); 7] = [
        (
            |tool| {
                tool.start().fail(ErrorKind::RateLimited, "slow down\n");
            },
            "rate_limited",
            error("slow down\\n"),
        ),
        (
            |tool| assert!(tool.run(|| Err::<(), _>("no idea")).is_err()),
            "_OTHER",
            error("no idea"),
        ),
        (|tool| drop(tool.start()), "cancelled", error("")),
        (
            |tool| {
                let mut hangs = Box::pin(tool.run_async(pending::<()>()));
                assert!(poll(&mut hangs).is_pending());
            },
            "cancelled",
            error(""),
        ),
        (
            |tool| tool.call().reject("after midnight"),
            "rejected",
            error("after midnight"),
        ),
        (
            |tool| tool.start().reject("by a policy"),
            "rejected",
            error("by a policy"),
        ),
        (
            |tool| {
                let panics = AssertUnwindSafe(|| tool.run(|| -> () { panic!("at the disco") }));
                assert!(catch_unwind(panics).is_err());
            },
            "panic",
            error("at the disco"),
        ),
    ];
    for (ends, error_type, status) in ways {
        ends(&host.tool);
        let span = host.one();
        assert_eq!(span.status, status, "{error_type}");
        assert_eq!(rest(&span, "1"), pairs(&[("error.type", error_type)]));
    }
}

#[test]
fn a_time_out_is_one() {
    let host = host(ToolSpans::new());
    let late = runtime().block_on(async {
        let hangs = pending::<Result<(), Infallible>>();
        let limit = Duration::from_secs(30);
        host.tool.call().within(limit).run_async(hangs).await
    });
    assert!(late.is_err());
    let span = host.one();
    let Status::Error { description } = &span.status else {
        panic!("{span:?}");
    };
    assert!(description.contains("30s"), "{description}");
    assert_eq!(rest(&span, "1"), pairs(&[("error.type", "timeout")]));
}

#[test]
fn a_call_by_an_unknown_name_is_not_found() {
    let host = host(ToolSpans::new());
    let mut call = host
        .registry
        .invoke("tele\u{1b}port", json!({}))
        .into_future();
    assert!(poll(&mut call).is_ready());
    let span = host.one();
    assert_eq!(span.name, "execute_tool");
    assert_eq!(span.status, error(""));
    let attributes = attributes(&span);
    assert_eq!(attributes["error.type"], "not_found");
    assert_eq!(attributes["gen_ai.tool.name"], "tele\\u{1b}port");
}

#[test]
fn names_from_outside_pass_as_they_are() {
    let host = host(ToolSpans::new());
    let long = "n".repeat(256);
    for name in [r#"say "hi" {} %s \n"#, "größer 🦀", &long] {
        let tool = host.registry.register(name.to_owned()).unwrap();
        tool.run(|| ());
        let span = host.one();
        assert_eq!(span.name, format!("execute_tool {name}"));
        assert_eq!(attributes(&span)["gen_ai.tool.name"], name);
    }
    // Any other name is one of no tool, and is cut and escaped.
    let asked = format!("a\nb{}", "n".repeat(1_000));
    let mut call = host.registry.invoke(&asked, json!({})).into_future();
    assert!(poll(&mut call).is_ready());
    let span = host.one();
    let name = &attributes(&span)["gen_ai.tool.name"];
    assert!(name.starts_with(r"a\nbnnn") && name.len() <= 256, "{name}");
}

#[test]
fn arguments_and_results_are_recorded_if_the_host_says_so() {
    let echo = || async_tool("echo", |call| async move { Ok(call.args) });
    let call = |host: &Host, args| {
        let mut call = host.registry.invoke("echo", args).into_future();
        assert!(poll(&mut call).is_ready());
        attributes(&host.one())
    };
    let names = ["gen_ai.tool.call.arguments", "gen_ai.tool.call.result"];
    for (arguments, results) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut spans = ToolSpans::new()
            .max_content_bytes(32)
            .redact(|json| json.replace("hunter2", "[password]").into());
        if arguments {
            spans = spans.record_arguments();
        }
        if results {
            spans = spans.record_results();
        }
        let host = host(spans);
        host.registry.register_tool(echo()).unwrap();
        let attributes = call(&host, json!({ "key": "hunter2" }));
        for (name, is_recorded) in names.into_iter().zip([arguments, results]) {
            let recorded = attributes.get(name).map(String::as_str);
            let expected = is_recorded.then_some("{\"key\":\"[password]\"}");
            assert_eq!(recorded, expected, "{name}");
        }
        let attributes = call(&host, json!("word ".repeat(20_000)));
        for (name, is_recorded) in names.into_iter().zip([arguments, results]) {
            let recorded = attributes.get(name).map(String::len);
            assert_eq!(recorded, is_recorded.then_some(32), "{name}");
        }
    }
}

/// Asks for these turns, the last first, and is done.
struct Script(Vec<Turn>);

impl Model for Script {
    type Error = Infallible;

    async fn next_turn(&mut self, _: Vec<CallResult>) -> Result<Turn, Infallible> {
        Ok(self.0.pop().unwrap_or(Turn::Done(Value::Null)))
    }
}

#[test]
fn each_attempt_of_the_loop_is_a_span_within_the_span_of_its_caller() {
    use tracing::Instrument;
    let host = host(ToolSpans::new());
    host.registry.deregister("tool").unwrap();
    let flaky = async_tool("tool", |call| async move {
        tokio::task::yield_now().await;
        drop(tracing::info_span!("child"));
        match call.attempt {
            1 => Err(ToolError::new(ErrorKind::Network, "connection reset")),
            _ => Ok(call.args),
        }
    });
    host.registry.register_tool(flaky).unwrap();
    let calls = Turn::Calls(vec![ToolCall::new("tool", json!({})).id("call_9f")]);
    let mut model = Script(vec![calls]);
    let run = AutoRun::new(&host.registry).max_attempts(2);
    let report = runtime().block_on(async {
        let turn = tracing::info_span!("agent");
        run.run(&mut model).instrument(turn).await
    });
    assert_eq!((report.attempts, report.recovered), (2, 1));
    let spans = host.spans();
    let names: Vec<_> = spans.iter().map(|span| &*span.name).collect();
    assert_eq!(
        names,
        [
            "child",
            "execute_tool tool",
            "child",
            "execute_tool tool",
            "agent"
        ]
    );
    let agent = spans[4].span_context.span_id();
    let id = ("gen_ai.tool.call.id", "call_9f");
    let first = pairs(&[id, ("error.type", "network")]);
    for (place, attempt, attributes, status) in [
        (1, "1", first, error("connection reset")),
        (3, "2", pairs(&[id]), Status::Unset),
    ] {
        let span = &spans[place];
        assert_eq!(span.parent_span_id, agent);
        assert_eq!((rest(span, attempt), &span.status), (attributes, &status));
        assert_eq!(spans[place - 1].parent_span_id, span.span_context.span_id());
        assert_eq!(
            span.span_context.trace_id(),
            spans[4].span_context.trace_id()
        );
    }
}
