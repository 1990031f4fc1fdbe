//! The host's own names for a call and for the session and turn that it belongs to.
//!
//! Invariant: a context has at most [`CallContext::MAX_LABELS`] labels, whose names and values have
//! at most [`CallContext::MAX_LABEL_BYTES`] bytes each. The names of session, call and parent are
//! kept as given, and are not bounded.
//!
//! # Orderings
//!
//! None.

/// The host's own names for a call: session, turn, call, parent call, and labels.
///
/// toolmeter does not interpret them. Events carry them, but counters do not: a label adds no series
/// to a snapshot.
///
/// # Examples
///
/// ```
/// use toolmeter_events::CallContext;
///
/// let context = CallContext::new("session-7")
///     .turn(3)
///     .call("call_9f")
///     .parent("call_9e")
///     .label("mcp.server", "github");
/// assert_eq!((&*context.session, context.turn, &*context.call), ("session-7", 3, "call_9f"));
/// assert_eq!(context.parent.as_deref(), Some("call_9e"));
/// assert_eq!(context.label_value("mcp.server"), Some("github"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct CallContext {
    /// The host's name for the session.
    pub session: Box<str>,
    /// The host's number of the turn within the session. 0 unless set.
    pub turn: u64,
    /// The host's name for the call, such as a model's `tool_call_id`. Empty unless set.
    pub call: Box<str>,
    /// The host's name for the call during which this one is made, by a tool that calls tools or by
    /// a subagent.
    pub parent: Option<Box<str>>,
    /// In the order in which the names were first set. Each name occurs once.
    labels: Vec<(Box<str>, Box<str>)>,
}

impl CallContext {
    /// The largest number of labels of one context.
    pub const MAX_LABELS: usize = 16;
    /// The largest size of a label's name, and of its value, in bytes.
    pub const MAX_LABEL_BYTES: usize = 256;

    /// Creates a context of this session, with turn 0, no name for the call, no parent and no
    /// labels.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_events::CallContext;
    ///
    /// let context = CallContext::new("session-7");
    /// assert_eq!((context.turn, &*context.call, context.parent), (0, "", None));
    /// ```
    #[must_use]
    pub fn new(session: impl Into<Box<str>>) -> Self {
        Self {
            session: session.into(),
            turn: 0,
            call: Box::default(),
            parent: None,
            labels: Vec::new(),
        }
    }

    /// Sets the host's number of the turn within the session.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_events::CallContext;
    ///
    /// assert_eq!(CallContext::new("session-7").turn(3).turn, 3);
    /// ```
    #[must_use]
    pub fn turn(mut self, turn: u64) -> Self {
        self.turn = turn;
        self
    }

    /// Sets the host's name for the call, such as a model's `tool_call_id`.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_events::CallContext;
    ///
    /// assert_eq!(&*CallContext::new("session-7").call("call_9f").call, "call_9f");
    /// ```
    #[must_use]
    pub fn call(mut self, call: impl Into<Box<str>>) -> Self {
        self.call = call.into();
        self
    }

    /// Sets the host's name for the call during which this one is made.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_events::CallContext;
    ///
    /// let context = CallContext::new("session-7").call("call_9f").parent("call_9e");
    /// assert_eq!(context.parent.as_deref(), Some("call_9e"));
    /// ```
    #[must_use]
    pub fn parent(mut self, parent: impl Into<Box<str>>) -> Self {
        self.parent = Some(parent.into());
        self
    }

    /// Sets a label, and replaces its value if the name is set already.
    ///
    /// Name and value are truncated to [`MAX_LABEL_BYTES`](Self::MAX_LABEL_BYTES) at a character
    /// boundary. Beyond [`MAX_LABELS`](Self::MAX_LABELS) labels, a new name is ignored.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_events::CallContext;
    ///
    /// let context = CallContext::new("session-7")
    ///     .label("mcp.server", "gitlab")
    ///     .label("mcp.server", "github");
    /// assert_eq!(context.labels().collect::<Vec<_>>(), [("mcp.server", "github")]);
    /// ```
    #[must_use]
    pub fn label(mut self, name: impl Into<Box<str>>, value: impl Into<Box<str>>) -> Self {
        let (name, value) = (truncate(name.into()), truncate(value.into()));
        if let Some(label) = self.labels.iter_mut().find(|label| label.0 == name) {
            label.1 = value;
        } else if self.labels.len() < Self::MAX_LABELS {
            self.labels.push((name, value));
        }
        self
    }

    /// Returns the labels as pairs of name and value, in the order in which the names were first
    /// set.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_events::CallContext;
    ///
    /// let context = CallContext::new("session-7").label("b", "1").label("a", "2");
    /// assert_eq!(context.labels().collect::<Vec<_>>(), [("b", "1"), ("a", "2")]);
    /// ```
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.labels.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Returns the value of this label, if it is set.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter_events::CallContext;
    ///
    /// let context = CallContext::new("session-7").label("mcp.server", "github");
    /// assert_eq!(context.label_value("mcp.server"), Some("github"));
    /// assert_eq!(context.label_value("agent"), None);
    /// ```
    #[must_use]
    pub fn label_value(&self, name: &str) -> Option<&str> {
        self.labels()
            .find_map(|(set, value)| (set == name).then_some(value))
    }
}

/// Truncates a text to [`CallContext::MAX_LABEL_BYTES`] at a character boundary.
fn truncate(text: Box<str>) -> Box<str> {
    let mut end = CallContext::MAX_LABEL_BYTES;
    if text.len() <= end {
        return text;
    }
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_beyond_the_limit_are_ignored() {
        let mut context = CallContext::new("s");
        for label in 0..20 {
            context = context.label(label.to_string(), "first");
        }
        assert_eq!(context.labels().count(), CallContext::MAX_LABELS);
        assert_eq!(context.label_value("15"), Some("first"));
        assert_eq!(context.label_value("16"), None);
        let context = context.label("0", "later").label("16", "too late");
        assert_eq!(context.labels().next(), Some(("0", "later")));
        assert_eq!(context.labels().count(), CallContext::MAX_LABELS);
    }

    #[test]
    fn names_and_values_are_truncated_at_a_character_boundary() {
        // 255 bytes, then a character of two: it does not fit.
        let long = format!("{}é and more", "x".repeat(255));
        let context = CallContext::new("s").label(long.clone(), long);
        let cut = "x".repeat(255);
        assert_eq!(context.labels().next(), Some((&*cut, &*cut)));
        let fits = "x".repeat(256);
        let context = CallContext::new("s")
            .label("a", fits.clone())
            .label("b", format!("{fits}y"));
        assert_eq!(context.label_value("a"), Some(&*fits));
        assert_eq!(context.label_value("b"), Some(&*fits));
    }

    #[test]
    fn two_names_that_are_truncated_to_the_same_are_one_label() {
        let name = |end| format!("{}{end}", "x".repeat(256));
        let context = CallContext::new("s")
            .label(name("a"), "1")
            .label(name("b"), "2");
        let values: Vec<_> = context.labels().map(|(_, value)| value).collect();
        assert_eq!(values, ["2"]);
    }
}
