//! A live [`tracing`] span around each tool call that [`toolmeter`] meters.
//!
//! Owns [`ToolSpans`], a hook for [`RegistryBuilder::instrument`]. Promises:
//!
//! - Each call that is told to the hook has one span, `execute_tool`, which is current while the
//!   tool runs: what the tool logs, and the spans that it opens, nest in it. Its parent is the span
//!   that is current where the call is made.
//! - Names and values are those of OpenTelemetry's conventions for generative AI, whose status is
//!   Development: they may change.
//! - Arguments and results are recorded only if the host says so, bounded, and passed through the
//!   host's redactor first.
//! - Where no subscriber wants the span, nothing is formatted and nothing is allocated.
//!
//! The README shows it in use, what it keeps and what it loses.
//!
//! [`RegistryBuilder::instrument`]: toolmeter::RegistryBuilder::instrument
//!
//! # Examples
//!
//! ```
//! use toolmeter::Registry;
//! use toolmeter_tracing::ToolSpans;
//!
//! let registry = Registry::builder().instrument(ToolSpans::new()).build()?;
//! let search = registry.register("web_search")?;
//! search.run(|| {
//!     tracing::info!("within the span of the call");
//!     Ok::<_, String>(3)
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(docsrs, feature(doc_cfg))]

mod content;

use content::Content;
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use toolmeter::{CallBegin, CallEnd, ErrorKind, Instrument, Outcome, Scope};
use tracing::{Level, Span};

/// What [`tool_spans`] expands to.
#[doc(hidden)]
pub mod private {
    use std::fmt;
    pub use toolmeter::CallBegin;
    pub use tracing;

    /// The name of a span: with the tool's, if there is the tool. A model may make up any number of
    /// names, and those of spans are to be few.
    #[derive(Debug)]
    pub struct SpanName<'a>(pub &'a CallBegin<'a>);

    impl fmt::Display for SpanName<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(label(self.0, "mcp.method.name").unwrap_or("execute_tool"))?;
            if self.0.tool.is_some() {
                let name = label(self.0, "gen_ai.tool.name").unwrap_or(self.0.name);
                write!(f, " {name}")?;
            }
            Ok(())
        }
    }

    /// The value of a label of the call, if it has one.
    #[must_use]
    pub fn label<'a>(call: &CallBegin<'a>, name: &str) -> Option<&'a str> {
        call.context?.label_value(name)
    }

    /// The kind of the span: `client` or `server` where the call is one of a protocol.
    #[must_use]
    pub fn kind(call: &CallBegin<'_>) -> &'static str {
        match label(call, "otel.kind") {
            Some("client") => "client",
            Some("server") => "server",
            _ => "internal",
        }
    }
}

/// Opens a span of this level.
type Open = fn(Level, &CallBegin<'_>) -> Span;

/// What is done with a span that was opened.
type OnOpen = dyn Fn(&Span, &CallBegin<'_>) + Send + Sync;

/// Opens a span for each call; for [`RegistryBuilder::instrument`].
///
/// By default the level is [`Level::INFO`], the target `toolmeter`, and neither arguments nor
/// results are recorded. [`tool_spans`] makes one with another target.
///
/// [`RegistryBuilder::instrument`]: toolmeter::RegistryBuilder::instrument
///
/// # Examples
///
/// ```
/// use toolmeter::Registry;
/// use toolmeter_tracing::ToolSpans;
/// use tracing::Level;
///
/// let spans = ToolSpans::new()
///     .level(Level::DEBUG)
///     .record_arguments()
///     .record_results()
///     .redact(|json| json.replace("hunter2", "[password]").into());
/// let registry = Registry::builder().instrument(spans).build()?;
/// # Ok::<(), toolmeter::BuildError>(())
/// ```
#[derive(Clone)]
#[must_use = "it opens spans once a registry has it"]
pub struct ToolSpans {
    open: Open,
    level: Level,
    content: Arc<Content>,
    on_open: Option<Arc<OnOpen>>,
}

/// Makes a [`ToolSpans`] whose spans have another target than `toolmeter`.
///
/// `tracing` takes the target of a span from where the code opens it. So the target is a constant,
/// and this is a macro.
///
/// # Examples
///
/// ```
/// use toolmeter::Registry;
/// use toolmeter_tracing::tool_spans;
///
/// let spans = tool_spans!(target: "my_host::tools");
/// let registry = Registry::builder().instrument(spans).build()?;
/// # Ok::<(), toolmeter::BuildError>(())
/// ```
#[macro_export]
macro_rules! tool_spans {
    (target: $target:expr) => {{
        macro_rules! open {
                        ($level:ident, $call:ident) => {
                            $crate::private::tracing::span!(
                                target: $target,
                                $crate::private::tracing::Level::$level,
                                "execute_tool",
                                otel.name = %$crate::private::SpanName($call),
                                otel.kind = $crate::private::kind($call),
                                otel.status_code = $crate::private::tracing::field::Empty,
                                otel.status_description = $crate::private::tracing::field::Empty,
                                gen_ai.operation.name = "execute_tool",
                                gen_ai.tool.name = $crate::private::label($call, "gen_ai.tool.name")
                                    .unwrap_or($call.name),
                                gen_ai.tool.call.id = $call
                                    .context
                                    .map(|context| &*context.call)
                                    .filter(|id| !id.is_empty()),
                                gen_ai.tool.call.arguments = $crate::private::tracing::field::Empty,
                                gen_ai.tool.call.result = $crate::private::tracing::field::Empty,
                                mcp.method.name = $crate::private::label($call, "mcp.method.name"),
                                mcp.protocol.version =
                                    $crate::private::label($call, "mcp.protocol.version"),
                                mcp.session.id = $crate::private::label($call, "mcp.session.id"),
                                jsonrpc.request.id =
                                    $crate::private::label($call, "jsonrpc.request.id"),
                                error.type = $crate::private::tracing::field::Empty,
                                toolmeter.attempt = $call.attempt,
                            )
                        };
                    }
        // One place of the code for each level: the level of a place is static, too.
        $crate::ToolSpans::opened_by(
            |level: $crate::private::tracing::Level, call: &$crate::private::CallBegin<'_>| {
                match level {
                    $crate::private::tracing::Level::ERROR => open!(ERROR, call),
                    $crate::private::tracing::Level::WARN => open!(WARN, call),
                    $crate::private::tracing::Level::INFO => open!(INFO, call),
                    $crate::private::tracing::Level::DEBUG => open!(DEBUG, call),
                    $crate::private::tracing::Level::TRACE => open!(TRACE, call),
                }
            },
        )
    }};
}

impl ToolSpans {
    /// Returns a hook that opens spans of level [`Level::INFO`] and target `toolmeter`, without
    /// arguments and results.
    pub fn new() -> Self {
        tool_spans!(target: "toolmeter")
    }

    /// What [`tool_spans`] expands to.
    #[doc(hidden)]
    pub fn opened_by(open: Open) -> Self {
        Self {
            open,
            level: Level::INFO,
            content: Arc::default(),
            on_open: None,
        }
    }

    /// Runs `act` on each span that is opened and not disabled, before it is entered: to give it
    /// another parent, or links, by means of the host's subscriber.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_tracing::ToolSpans;
    ///
    /// let spans = ToolSpans::new().on_open(|span, call| {
    ///     let session = call.context.map(|context| &*context.session);
    ///     tracing::debug!(parent: span, session, "opened");
    /// });
    /// ```
    pub fn on_open(mut self, act: impl Fn(&Span, &CallBegin<'_>) + Send + Sync + 'static) -> Self {
        self.on_open = Some(Arc::new(act));
        self
    }

    /// Sets the level of the spans.
    pub fn level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// Records the arguments of calls by name, as JSON, in `gen_ai.tool.call.arguments`. They may
    /// hold secrets and personal data; see [`redact`](Self::redact).
    pub fn record_arguments(mut self) -> Self {
        Arc::make_mut(&mut self.content).arguments = true;
        self
    }

    /// Records the answers of calls by name, as JSON, in `gen_ai.tool.call.result`. They may hold
    /// secrets and personal data; see [`redact`](Self::redact).
    pub fn record_results(mut self) -> Self {
        Arc::make_mut(&mut self.content).results = true;
        self
    }

    /// Sets the longest text that is recorded of arguments, and of a result, in bytes; default
    /// 1,024. A longer one is cut, and ends with `…`.
    pub fn max_content_bytes(mut self, bytes: usize) -> Self {
        Arc::make_mut(&mut self.content).max_bytes = bytes;
        self
    }

    /// Passes arguments and results through `redactor` before they are cut to their final length.
    ///
    /// It gets the head of JSON of more than 16 KiB, cut between values or at a space within a
    /// string, so that it never gets a secret without spaces that was cut in two. If it panics, the
    /// text is left out, and `(the redactor panicked)` is recorded.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_tracing::ToolSpans;
    ///
    /// let spans = ToolSpans::new()
    ///     .record_arguments()
    ///     .redact(|json| json.replace("hunter2", "[password]").into());
    /// ```
    pub fn redact(
        mut self,
        redactor: impl Fn(&str) -> Cow<'_, str> + Send + Sync + 'static,
    ) -> Self {
        Arc::make_mut(&mut self.content).redactor = Some(Arc::new(redactor));
        self
    }
}

impl Default for ToolSpans {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ToolSpans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolSpans")
            .field("level", &self.level)
            .field("content", &self.content)
            .finish_non_exhaustive()
    }
}

impl Instrument for ToolSpans {
    fn begin(&self, call: &CallBegin<'_>) -> Option<Arc<dyn Scope>> {
        let span = (self.open)(self.level, call);
        if span.is_disabled() {
            return None;
        }
        if let Some(act) = &self.on_open {
            act(&span, call);
        }
        Some(self.record(span, call.arguments))
    }

    fn current(&self) -> Option<Arc<dyn Scope>> {
        let span = Span::current();
        (!span.is_none()).then(|| Arc::new(Current(span)) as Arc<dyn Scope>)
    }

    fn wants_content(&self) -> bool {
        self.content.arguments || self.content.results
    }
}

impl ToolSpans {
    /// Records the arguments, and keeps the span.
    #[inline(never)]
    fn record(&self, span: Span, arguments: Option<&Value>) -> Arc<dyn Scope> {
        if self.content.arguments
            && let Some(arguments) = arguments
        {
            let arguments = self.content.text(arguments);
            span.record("gen_ai.tool.call.arguments", arguments.as_str());
        }
        let results = self.content.results.then(|| Arc::clone(&self.content));
        Arc::new(Call { span, results })
    }
}

/// The span of a call.
struct Call {
    span: Span,
    /// How the result is recorded, if it is.
    results: Option<Arc<Content>>,
}

impl Scope for Call {
    fn in_scope(&self, body: &mut dyn FnMut()) {
        self.span.in_scope(body);
    }

    fn end(&self, end: &CallEnd<'_>) {
        if let (Some(content), Some(result)) = (&self.results, end.result) {
            let result = content.text(result);
            self.span.record("gen_ai.tool.call.result", result.as_str());
        }
        let error_type = match end.outcome {
            Outcome::Success => return,
            Outcome::Failure(ErrorKind::Other) => "_OTHER",
            Outcome::Failure(kind) => kind.as_str(),
            Outcome::Cancelled => "cancelled",
            Outcome::Rejected => "rejected",
        };
        self.span.record("error.type", error_type);
        // The code first: to tracing-opentelemetry a code is a status without a description.
        self.span.record("otel.status_code", "ERROR");
        if let Some(message) = end.message {
            self.span.record("otel.status_description", message);
        }
    }
}

/// The span in which calls are made.
struct Current(Span);

impl Scope for Current {
    fn in_scope(&self, body: &mut dyn FnMut()) {
        self.0.in_scope(body);
    }
}

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
