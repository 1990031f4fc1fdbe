//! Spans as a subscriber sees them: level and target, where they are entered, what nests in them,
//! and that nothing a subscriber does changes a count.

mod support;

use std::convert::Infallible;
use std::fmt::Debug;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use support::{builder, poll};
use toolmeter::{ErrorKind, Registry, ToolHandle};
use toolmeter_tracing::{ToolSpans, tool_spans};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{set_default, with_default};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

fn registry(spans: ToolSpans) -> (Registry, ToolHandle) {
    let registry = builder().instrument(spans).build().unwrap();
    let tool = registry.register("tool").unwrap();
    (registry, tool)
}

/// Writes down what happens, a line for each.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn write(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    fn lines(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

#[derive(Default)]
struct Fields(Vec<String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push(format!("{field}={value:?}"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Diary {
    fn on_new_span(&self, span: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        span.record(&mut fields);
        let parent = context
            .span(id)
            .and_then(|span| span.parent().map(|span| span.name()));
        let metadata = span.metadata();
        let (level, target, name) = (metadata.level(), metadata.target(), metadata.name());
        let fields = fields.0.join(" ");
        self.write(format!(
            "new {level} {target} {name} in {parent:?}: {fields}"
        ));
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        self.write(format!("record {}", fields.0.join(" ")));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let span = context.lookup_current().map(|span| span.name());
        self.write(format!("event {} in {span:?}", fields.0.join(" ")));
    }

    fn on_enter(&self, _: &Id, _: Context<'_, S>) {
        self.write("enter".to_owned());
    }

    fn on_exit(&self, _: &Id, _: Context<'_, S>) {
        self.write("exit".to_owned());
    }

    fn on_close(&self, _: Id, _: Context<'_, S>) {
        self.write("close".to_owned());
    }
}

const FIELDS: &str = "otel.name=execute_tool tool otel.kind=\"internal\" \
                      gen_ai.operation.name=\"execute_tool\" gen_ai.tool.name=\"tool\" \
                      toolmeter.attempt=1";

fn opened(level: &str, target: &str) -> String {
    format!("new {level} {target} execute_tool in None: {FIELDS}")
}

#[test]
fn a_call_is_a_span_in_which_what_the_tool_logs_nests() {
    let diary = Diary::default();
    let _default = set_default(tracing_subscriber::registry().with(diary.clone()));
    let (registry, tool) = registry(ToolSpans::new());
    tool.run(|| {
        tracing::info!("within");
        Ok::<_, Infallible>(())
    })
    .unwrap();
    tracing::info!("outside");
    let within = "event message=within in Some(\"execute_tool\")";
    let opened = opened("INFO", "toolmeter");
    let outside = "event message=outside in None";
    assert_eq!(
        diary.lines(),
        [&*opened, "enter", within, "exit", "close", outside]
    );

    let outer = tracing::info_span!("outer");
    outer.in_scope(|| tool.run(|| registry.get("tool").unwrap().run(|| ())));
    let parents = diary
        .lines()
        .into_iter()
        .filter(|line| line.starts_with("new"));
    let parents: Vec<_> = parents
        .map(|line| line.contains("in Some(\"execute_tool\")"))
        .collect();
    assert_eq!(parents, [false, false, true]);
}

/// Pending at the first poll, an error at the second; logs each.
fn two_polls() -> impl Future<Output = Result<(), &'static str>> {
    let mut polls = 0;
    poll_fn(move |_| {
        polls += 1;
        tracing::info!(polls);
        if polls == 2 {
            Poll::Ready(Err("no idea"))
        } else {
            Poll::Pending
        }
    })
}

#[test]
fn a_future_is_within_its_span_in_each_poll_only() {
    let diary = Diary::default();
    let _default = set_default(tracing_subscriber::registry().with(diary.clone()));
    let (_registry, tool) = registry(ToolSpans::new());
    let mut call = pin!(tool.run_async(two_polls()));
    assert!(poll(&mut call).is_pending());
    let opened = opened("INFO", "toolmeter");
    let polled = |poll| format!("event polls={poll} in Some(\"execute_tool\")");
    assert_eq!(diary.lines(), [&*opened, "enter", &polled(1), "exit"]);
    assert!(poll(&mut call).is_ready());
    let end = [
        "enter",
        &polled(2),
        "exit",
        "record error.type=\"_OTHER\"",
        "record otel.status_code=\"ERROR\"",
        "record otel.status_description=\"no idea\"",
        "close",
    ];
    assert_eq!(diary.lines(), end);
}

#[test]
fn a_guard_is_a_span_until_it_ends() {
    let diary = Diary::default();
    let _default = set_default(tracing_subscriber::registry().with(diary.clone()));
    let (_registry, tool) = registry(ToolSpans::new());
    let call = tool.start_owned();
    tracing::info!("outside");
    call.in_scope(|| tracing::info!("within"));
    call.fail(ErrorKind::Timeout, "");
    let lines = diary.lines();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let expected = [
        &*opened("INFO", "toolmeter"),
        "event message=outside in None",
        "enter",
        "event message=within in Some(\"execute_tool\")",
        "exit",
        "record error.type=\"timeout\"",
        "record otel.status_code=\"ERROR\"",
        "close",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn level_and_target_are_the_hosts() {
    let diary = Diary::default();
    let _default = set_default(tracing_subscriber::registry().with(diary.clone()));
    for level in [
        Level::ERROR,
        Level::WARN,
        Level::INFO,
        Level::DEBUG,
        Level::TRACE,
    ] {
        for (spans, target) in [
            (ToolSpans::default(), "toolmeter"),
            (tool_spans!(target: "my_host::tools"), "my_host::tools"),
        ] {
            let (_registry, tool) = registry(spans.level(level));
            tool.run(|| ());
            assert_eq!(diary.lines()[0], opened(level.as_str(), target));
        }
    }
    let shown = format!("{:?}", ToolSpans::new().level(Level::WARN).record_results());
    assert!(
        shown.contains("Warn") && shown.contains("results: true"),
        "{shown}"
    );
}

#[test]
fn where_no_subscriber_wants_it_there_is_no_span() {
    let (registry, tool) = registry(ToolSpans::new());
    tool.run(|| assert!(tracing::Span::current().is_none()));
    let diary = Diary::default();
    let filter = tracing_subscriber::filter::LevelFilter::WARN;
    let filtered = tracing_subscriber::registry()
        .with(filter)
        .with(diary.clone());
    with_default(filtered, || {
        tool.run(|| assert!(tracing::Span::current().is_none()));
        // What the tool logs is in the span of its caller then.
        let outer = tracing::error_span!("outer");
        outer.in_scope(|| tool.run(|| tracing::error!("within")));
    });
    let lines = diary.lines();
    assert!(
        lines.iter().all(|line| !line.contains("execute_tool")),
        "{lines:?}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line.ends_with("in Some(\"outer\")")),
        "{lines:?}"
    );
    assert_eq!(registry.metrics().tools["tool"].success(), 3);
}

/// The methods of a layer that a call runs.
const ASKED: [&str; 5] = ["new", "enter", "exit", "record", "close"];

/// A layer that panics in one of them.
struct Panics(&'static str, Arc<AtomicU32>);

impl Panics {
    fn at(&self, asked: &str) {
        if self.0 == asked {
            self.1.fetch_add(1, Ordering::Relaxed);
            panic!("the layer panics");
        }
    }
}

impl<S: Subscriber> Layer<S> for Panics {
    fn on_new_span(&self, _: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        self.at("new");
    }

    fn on_record(&self, _: &Id, _: &Record<'_>, _: Context<'_, S>) {
        self.at("record");
    }

    fn on_enter(&self, _: &Id, _: Context<'_, S>) {
        self.at("enter");
    }

    fn on_exit(&self, _: &Id, _: Context<'_, S>) {
        self.at("exit");
    }

    fn on_close(&self, _: Id, _: Context<'_, S>) {
        self.at("close");
    }
}

#[test]
fn a_layer_that_panics_changes_no_count_and_harms_no_call() {
    for asked in ASKED {
        let panics = Arc::new(AtomicU32::new(0));
        let layer = Panics(asked, Arc::clone(&panics));
        let _default = set_default(tracing_subscriber::registry().with(layer));
        let (registry, tool) = registry(ToolSpans::new());
        let mut runs = 0;
        tool.run(|| runs += 1);
        assert_eq!(runs, 1, "{asked}");
        let mut call = pin!(tool.run_async(async { Err::<(), _>("no idea") }));
        assert!(matches!(poll(&mut call), Poll::Ready(Err("no idea"))));
        let panicking = catch_unwind(AssertUnwindSafe(|| {
            tool.run(|| -> () { panic!("the tool") });
        }));
        let payload = panicking.unwrap_err();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"the tool"), "{asked}");
        drop(tool.start());
        tool.call().reject("no");
        let metrics = registry.metrics();
        let stats = &metrics.tools["tool"];
        let ended = (stats.success(), stats.failure(), stats.cancelled());
        assert_eq!(
            (ended, stats.rejected, stats.in_flight),
            ((1, 2, 1), 1, 0),
            "{asked}"
        );
        assert!(panics.load(Ordering::Relaxed) > 0, "{asked}");
    }
}

/// Says where it is, and waits there until it may go on.
struct Blocks(&'static str, mpsc::Sender<()>, Mutex<mpsc::Receiver<()>>);

impl Blocks {
    fn at(&self, asked: &str) {
        if self.0 == asked {
            self.1.send(()).unwrap();
            self.2.lock().unwrap().recv().unwrap();
        }
    }
}

impl<S: Subscriber> Layer<S> for Blocks {
    fn on_new_span(&self, _: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        self.at("new");
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        if format!("{values:?}").contains("error.type") {
            self.at("record");
        }
    }

    fn on_enter(&self, _: &Id, _: Context<'_, S>) {
        self.at("enter");
    }

    fn on_exit(&self, _: &Id, _: Context<'_, S>) {
        self.at("exit");
    }

    fn on_close(&self, _: Id, _: Context<'_, S>) {
        self.at("close");
    }
}

/// Its caller waits, and no other thread does.
#[test]
fn a_layer_that_blocks_holds_up_its_caller_and_no_number() {
    for (asked, in_flight) in ASKED.into_iter().zip([0, 1, 1, 0, 0]) {
        let (blocked, is_blocked) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel();
        let (registry, tool) = registry(ToolSpans::new());
        let caller = std::thread::spawn(move || {
            let layer = Blocks(asked, blocked, Mutex::new(may_go_on));
            let subscriber = tracing_subscriber::registry().with(layer);
            with_default(subscriber, || tool.run(|| Err::<(), _>("no idea")))
        });
        is_blocked.recv().unwrap();
        let other = registry.register("other").unwrap();
        other.run(|| ());
        let metrics = registry.metrics();
        let stats = &metrics.tools["tool"];
        let ended = u64::from(matches!(asked, "record" | "close"));
        assert_eq!(
            (stats.failure(), stats.in_flight),
            (ended, in_flight),
            "{asked}"
        );
        assert_eq!(metrics.tools["other"].success(), 1);
        registry.pump();
        go_on.send(()).unwrap();
        assert!(caller.join().unwrap().is_err());
        let metrics = registry.metrics();
        let stats = &metrics.tools["tool"];
        assert_eq!((stats.failure(), stats.in_flight), (1, 0), "{asked}");
    }
}
