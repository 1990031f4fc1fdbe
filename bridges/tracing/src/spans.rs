//! [`ToolSpans`]: a span for each call, and what is recorded when the call ends.
//!
//! - Each call that is reported to the hook has one span, which is current while the tool runs. Its parent is
//!   the span that is current where the call is made.
//! - Arguments and results are recorded only if the host enables it. They are bounded, and pass through the
//!   host's redactor first.

use crate::content::Content;
use crate::tool_spans;
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use toolmeter::{CallBegin, CallEnd, Instrument, Scope, error_type};
use tracing::{Level, Span};

/// A function that opens a span of this level.
type Open = fn(Level, &CallBegin<'_>) -> Span;

/// A function that is called with each span that was opened.
type OnOpen = dyn Fn(&Span, &CallBegin<'_>) + Send + Sync;

/// A hook that opens a span for each call, for [`RegistryBuilder::instrument`].
///
/// By default the level is [`Level::INFO`], the target `toolmeter`, and neither arguments nor
/// results are recorded. [`tool_spans`] creates one with another target.
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

impl ToolSpans {
    /// Returns a hook that opens spans of level [`Level::INFO`] and target `toolmeter`, without
    /// arguments and results.
    pub fn new() -> Self {
        tool_spans!(target: "toolmeter")
    }

    /// Returns a hook that opens its spans with this function, as [`tool_spans`] expands to.
    #[doc(hidden)]
    pub fn opened_by(open: Open) -> Self {
        Self {
            open,
            level: Level::INFO,
            content: Arc::default(),
            on_open: None,
        }
    }

    /// Runs `act` on each span that is opened and not disabled, before it is entered, for example to give
    /// it another parent or links.
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

    /// Sets the maximum length of the recorded arguments, and of the recorded result, in bytes; default
    /// 1,024. A longer text is cut, and ends with `…`.
    pub fn max_content_bytes(mut self, bytes: usize) -> Self {
        Arc::make_mut(&mut self.content).max_bytes = bytes;
        self
    }

    /// Passes arguments and results through `redactor` before they are cut to their final length.
    ///
    /// Of JSON longer than 16 KiB it gets the head, cut between values or at a space within a string, so
    /// it never gets a secret without spaces that was cut in two. If it panics, `(the redactor panicked)`
    /// is recorded in place of the text.
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
    /// Records the arguments, and returns the scope of the span.
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
    /// The limits of the result, if it is recorded.
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
        let Some(error_type) = error_type(end.outcome) else {
            return;
        };
        self.span.record("error.type", error_type);
        // The code comes first: tracing-opentelemetry reads it as a status without a description.
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
