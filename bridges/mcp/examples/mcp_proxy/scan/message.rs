//! The content of one message, and of one line, as far as it concerns calls.

use std::fmt;

/// The id of a request, or a token of progress.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Id {
    /// A whole number, however it is written.
    Number(i64),
    /// Any other number, as it is written.
    Odd(String),
    Text(String),
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Odd(text) | Self::Text(text) => text.fmt(f),
        }
    }
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// A result, which may itself report an error of the tool.
    Result {
        is_error: bool,
        /// The first text of its content.
        text: String,
    },
    /// An error of JSON-RPC.
    Error { code: i64, message: String },
}

/// One message, as far as it concerns calls.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Message {
    pub(crate) method: Option<String>,
    /// The id, unless it is absent, null, or too long to be followed.
    pub(crate) id: Option<Id>,
    /// `params.name`.
    pub(crate) name: Option<String>,
    /// `params.requestId`.
    pub(crate) request: Option<Id>,
    /// `params.progressToken`, of a notification.
    pub(crate) progress: Option<Id>,
    /// `params._meta.progressToken`, of a request.
    pub(crate) token: Option<Id>,
    pub(crate) answer: Option<Answer>,
    /// The names in `result.tools`; `None` if there is no such list.
    pub(crate) tools: Option<Vec<String>>,
    /// Set if there is a `result.nextCursor`.
    pub(crate) is_continued: bool,
}

impl Message {
    /// Returns about the memory that it takes, in bytes.
    pub(super) fn weight(&self) -> usize {
        let id = |id: &Option<Id>| match id {
            Some(Id::Odd(text) | Id::Text(text)) => text.len(),
            _ => 0,
        };
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let answer = match &self.answer {
            Some(Answer::Result { text, .. }) => text.len(),
            Some(Answer::Error { message, .. }) => message.len(),
            None => 0,
        };
        let tools = self.tools.iter().flatten();
        size_of::<Self>()
            + id(&self.id)
            + id(&self.request)
            + id(&self.progress)
            + id(&self.token)
            + text(&self.method)
            + text(&self.name)
            + answer
            + tools
                .map(|name| size_of::<String>() + name.len())
                .sum::<usize>()
    }
}

/// A line that has ended.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    /// Its length without the newline.
    pub(crate) bytes: u64,
    pub(crate) what: LineKind,
    /// The messages; a batch has several.
    pub(crate) messages: &'a mut Vec<Message>,
    /// The number of messages, or of names in lists of tools, beyond the limit.
    pub(crate) left_out: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineKind {
    /// White space only.
    Blank,
    Json,
    /// Anything else, and JSON that is nested too deep.
    NotJson,
}
