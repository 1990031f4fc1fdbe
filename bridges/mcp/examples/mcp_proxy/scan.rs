//! What a stream of JSON lines says about calls, read as its bytes come.
//!
//! Owns the [`Scanner`]: bytes of one direction in, a [`Line`] for each newline out. It keeps of a
//! line only what calls are followed by, each bounded, so that a line may be of any length and
//! may come in any pieces. Promises: what it says of a line does not depend on how the line was
//! cut; a line that is not JSON has no messages; what it keeps is less than [`LINE_BUDGET`] and the
//! one message that it is reading, whatever it is fed.
//!
//! It tells JSON by the grammar of RFC 8259, nested [`MAX_DEPTH`] deep at most. Text that is not
//! UTF-8 is read as replacement characters, as most programs do.

use serde::de::{self, Deserializer};
use std::borrow::Cow;
use std::fmt;

/// How deep values may be nested in a line that is followed.
pub(crate) const MAX_DEPTH: usize = 1_000;

/// How much is kept of the messages of one line: the rest of a longer batch is left out.
pub(crate) const LINE_BUDGET: usize = 4 << 20;

/// Of an error's text, this much of its beginning is kept, and about as much of its end.
const TEXT_BYTES: usize = 4 << 10;

/// The longest id and name, as they are written.
const NAME_BYTES: usize = 1 << 10;

/// The longest name of a field that is looked for, written in escapes.
const KEY_BYTES: usize = 6 * "progressToken".len();

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

/// How a request was answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// A result; what MCP says of errors of tools is within it.
    Result {
        is_error: bool,
        /// The first text of its content.
        text: String,
    },
    /// An error of JSON-RPC.
    Error { code: i64, message: String },
}

/// What one message says about calls.
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
    /// Whether there is a `result.nextCursor`.
    pub(crate) is_continued: bool,
}

impl Message {
    /// About how much memory it takes.
    fn weight(&self) -> usize {
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
    /// What it says; several messages in a batch.
    pub(crate) messages: &'a mut Vec<Message>,
    /// How many messages, or names in lists of tools, are not among them, since it has too many.
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

/// A place in a message whose fields are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    /// Nothing in here matters.
    Other,
    /// A batch, whose elements are messages.
    Batch,
    Message,
    Params,
    Meta,
    Result,
    Content,
    Block,
    Tools,
    Tool,
    Error,
}

/// A field whose value is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaf {
    Id,
    Method,
    Name,
    RequestId,
    Progress,
    Token,
    IsError,
    Text,
    NextCursor,
    ToolName,
    Code,
    ErrorMessage,
}

/// What the value of a field, or the next element of an array, is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Node(Node),
    Leaf(Leaf),
}

const OTHER: Place = Place::Node(Node::Other);

impl Node {
    fn field(self, key: &[u8]) -> Place {
        match (self, key) {
            (Self::Message, b"id") => Place::Leaf(Leaf::Id),
            (Self::Message, b"method") => Place::Leaf(Leaf::Method),
            (Self::Message, b"params") => Place::Node(Self::Params),
            (Self::Message, b"result") => Place::Node(Self::Result),
            (Self::Message, b"error") => Place::Node(Self::Error),
            (Self::Params, b"name") => Place::Leaf(Leaf::Name),
            (Self::Params, b"requestId") => Place::Leaf(Leaf::RequestId),
            (Self::Params, b"progressToken") => Place::Leaf(Leaf::Progress),
            (Self::Params, b"_meta") => Place::Node(Self::Meta),
            (Self::Meta, b"progressToken") => Place::Leaf(Leaf::Token),
            (Self::Result, b"isError") => Place::Leaf(Leaf::IsError),
            (Self::Result, b"content") => Place::Node(Self::Content),
            (Self::Result, b"tools") => Place::Node(Self::Tools),
            (Self::Result, b"nextCursor") => Place::Leaf(Leaf::NextCursor),
            (Self::Block, b"text") => Place::Leaf(Leaf::Text),
            (Self::Tool, b"name") => Place::Leaf(Leaf::ToolName),
            (Self::Error, b"code") => Place::Leaf(Leaf::Code),
            (Self::Error, b"message") => Place::Leaf(Leaf::ErrorMessage),
            _ => OTHER,
        }
    }

    fn element(self) -> Place {
        Place::Node(match self {
            Self::Batch => Self::Message,
            Self::Content => Self::Block,
            Self::Tools => Self::Tool,
            _ => Self::Other,
        })
    }
}

/// An object or an array that is open.
#[derive(Clone, Copy, Debug)]
struct Frame {
    is_array: bool,
    node: Node,
}

/// Where in a number the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Sign,
    Zero,
    Whole,
    Point,
    Fraction,
    E,
    ESign,
    Exponent,
}

impl Number {
    fn first(byte: u8) -> Option<Self> {
        match byte {
            b'-' => Some(Self::Sign),
            b'0' => Some(Self::Zero),
            b'1'..=b'9' => Some(Self::Whole),
            _ => None,
        }
    }

    fn next(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Sign, b'0') => Some(Self::Zero),
            (Self::Sign, b'1'..=b'9') | (Self::Whole, b'0'..=b'9') => Some(Self::Whole),
            (Self::Zero | Self::Whole, b'.') => Some(Self::Point),
            (Self::Point | Self::Fraction, b'0'..=b'9') => Some(Self::Fraction),
            (Self::Zero | Self::Whole | Self::Fraction, b'e' | b'E') => Some(Self::E),
            (Self::E, b'+' | b'-') => Some(Self::ESign),
            (Self::E | Self::ESign | Self::Exponent, b'0'..=b'9') => Some(Self::Exponent),
            _ => None,
        }
    }

    fn is_whole(self) -> bool {
        matches!(
            self,
            Self::Zero | Self::Whole | Self::Fraction | Self::Exponent
        )
    }
}

/// What the next byte of a line may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A value; nothing of the line was seen yet.
    Start,
    Value,
    /// A value, or the end of the array that just began.
    FirstValue,
    Key,
    /// A key, or the end of the object that just began.
    FirstKey,
    Colon,
    /// A comma, or the end of what is open.
    After,
    /// Within a string.
    String,
    /// Within a string, after a backslash.
    Escape,
    /// Within a string, so many digits of `\u` to come.
    Hex(u8),
    Number(Number),
    /// Within `true`, `false` or `null`, of which this is to come.
    Literal(&'static [u8]),
    /// White space only.
    Done,
    /// Anything: the line is not JSON.
    Broken,
}

/// A value that is being read, as it is written.
#[derive(Debug, Default)]
struct Token {
    head: Vec<u8>,
    tail: Vec<u8>,
    is_cut: bool,
    /// How much of its head is kept; of a text, about as much of its tail.
    limit: usize,
    has_tail: bool,
}

impl Token {
    fn begin(&mut self, limit: usize, has_tail: bool) {
        self.head.clear();
        self.tail.clear();
        self.is_cut = false;
        (self.limit, self.has_tail) = (limit, has_tail);
    }

    fn push(&mut self, bytes: &[u8]) {
        let room = self.limit - self.head.len();
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(head);
        if rest.is_empty() {
            return;
        }
        if !self.has_tail {
            self.is_cut = true;
            return;
        }
        for part in rest.chunks(self.limit.max(1)) {
            self.tail.extend_from_slice(part);
            if self.tail.len() > 2 * self.limit {
                self.cut_tail();
            }
        }
    }

    /// Drops the beginning of the tail, up to the beginning of a character.
    fn cut_tail(&mut self) {
        let wanted = self.tail.len() - self.limit;
        let mut end = 0;
        if !self.is_cut {
            // What the head ended within belongs to the head.
            end = self.tail_start();
        }
        while end < wanted {
            let unit = match self.tail[end..] {
                [b'\\', b'u', ..] => 6,
                [b'\\', ..] => 2,
                _ => 1,
            };
            if end + unit > self.tail.len() {
                break;
            }
            end += unit;
        }
        self.tail.drain(..end);
        self.is_cut = true;
    }

    /// How much of the tail belongs to an escape that began in the head.
    fn tail_start(&self) -> usize {
        let mut at = 0;
        while at < self.head.len() {
            at += match self.head[at..] {
                [b'\\', b'u', ..] => 6,
                // A backslash at the very end: what it stands for is the tail's first byte.
                [b'\\'] if self.tail.first() == Some(&b'u') => 6,
                [b'\\', ..] => 2,
                _ => 1,
            };
        }
        (at - self.head.len()).min(self.tail.len())
    }

    /// The text of a string, its escapes undone.
    fn text(&self) -> String {
        if self.tail.is_empty() {
            return unescaped(&self.head).into_owned();
        }
        if !self.is_cut {
            return unescaped(&[&*self.head, &*self.tail].concat()).into_owned();
        }
        // No word is cut in two: neither before nor behind the gap.
        let (head, tail) = (unescaped(&self.head), unescaped(&self.tail));
        let head = head
            .rfind(char::is_whitespace)
            .map_or("", |end| &head[..end]);
        let tail = tail.find(char::is_whitespace).map_or("", |at| &tail[at..]);
        format!("{head} ...{tail}")
    }

    fn number(&self) -> Option<Id> {
        let text = std::str::from_utf8(&self.head).ok()?;
        if self.is_cut {
            return None;
        }
        Some(match text.parse::<i64>() {
            Ok(number) => Id::Number(number),
            Err(_) => match text.parse::<f64>() {
                // JavaScript writes whole numbers of this size without an exponent.
                Ok(number) if number.fract() == 0.0 && number.abs() < 9e15 => {
                    Id::Number(number as i64)
                }
                _ => Id::Odd(text.into()),
            },
        })
    }
}

/// The text that a string in JSON stands for. What is cut off in an escape loses it.
fn unescaped(raw: &[u8]) -> Cow<'_, str> {
    if !raw.contains(&b'\\') {
        return String::from_utf8_lossy(raw);
    }
    // Only the first of these is likely; an escape that is cut has five bytes at most.
    for end in (raw.len().saturating_sub(5)..=raw.len()).rev() {
        let quoted = [b"\"", &raw[..end], b"\""].concat();
        let mut json = serde_json::Deserializer::from_slice(&quoted);
        if let Ok(bytes) = json.deserialize_bytes(AnyBytes) {
            return Cow::Owned(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    String::from_utf8_lossy(raw)
}

/// Takes the bytes of a string, which need not be UTF-8.
struct AnyBytes;

impl de::Visitor<'_> for AnyBytes {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }
}

/// Reads one direction of a connection.
#[derive(Debug)]
pub(crate) struct Scanner {
    state: State,
    stack: Vec<Frame>,
    /// What the next value is.
    place: Place,
    /// Whether the string that is being read is a key.
    is_key: bool,
    /// Whether what is being read is kept in `token`.
    is_kept: bool,
    token: Token,
    message: Message,
    /// Parts of an answer, until the message has ended.
    reply: Reply,
    messages: Vec<Message>,
    kept: usize,
    left_out: u64,
    bytes: u64,
}

#[derive(Debug, Default)]
struct Reply {
    has_result: bool,
    has_error: bool,
    is_error: bool,
    text: Option<String>,
    code: i64,
    message: String,
}

impl Scanner {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Start,
            stack: Vec::new(),
            place: Place::Node(Node::Message),
            is_key: false,
            is_kept: false,
            token: Token::default(),
            message: Message::default(),
            reply: Reply::default(),
            messages: Vec::new(),
            kept: 0,
            left_out: 0,
            bytes: 0,
        }
    }

    /// Reads the next bytes, and hands on each line that ends among them.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(Line<'_>)) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            self.scan(&bytes[..end]);
            self.end_line(&mut each);
            bytes = &bytes[end + 1..];
        }
        self.scan(bytes);
    }

    /// Ends the last line, which has no newline if it has anything.
    pub(crate) fn finish(&mut self, mut each: impl FnMut(Line<'_>)) {
        if self.bytes > 0 {
            self.end_line(&mut each);
        }
    }

    fn end_line(&mut self, each: &mut impl FnMut(Line<'_>)) {
        // Only white space ends a number.
        self.step(b' ');
        let what = match self.state {
            State::Start => LineKind::Blank,
            State::Done => LineKind::Json,
            _ => LineKind::NotJson,
        };
        if what == LineKind::NotJson {
            self.messages.clear();
            self.left_out = 0;
        }
        each(Line {
            bytes: self.bytes,
            what,
            messages: &mut self.messages,
            left_out: self.left_out,
        });
        self.messages.clear();
        self.messages.shrink_to(16);
        self.state = State::Start;
        self.stack.clear();
        self.place = Place::Node(Node::Message);
        self.message = Message::default();
        self.reply = Reply::default();
        (self.kept, self.left_out, self.bytes) = (0, 0, 0);
    }

    fn scan(&mut self, mut bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        while let Some((&byte, rest)) = bytes.split_first() {
            match self.state {
                State::Broken => return,
                State::String => {
                    let is_special = |&byte: &u8| byte < b' ' || byte == b'"' || byte == b'\\';
                    let end = bytes.iter().position(is_special).unwrap_or(bytes.len());
                    if self.is_kept {
                        self.token.push(&bytes[..end]);
                    }
                    bytes = &bytes[end..];
                    if let Some((&byte, rest)) = bytes.split_first() {
                        self.step(byte);
                        bytes = rest;
                    }
                }
                _ => {
                    self.step(byte);
                    bytes = rest;
                }
            }
        }
    }

    fn step(&mut self, byte: u8) {
        let next = match self.state {
            State::String => self.in_string(byte),
            State::Escape => {
                self.keep(byte);
                match byte {
                    b'u' => State::Hex(4),
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => State::String,
                    _ => State::Broken,
                }
            }
            State::Hex(left) => {
                self.keep(byte);
                match (byte.is_ascii_hexdigit(), left) {
                    (false, _) => State::Broken,
                    (true, 1) => State::String,
                    (true, _) => State::Hex(left - 1),
                }
            }
            State::Number(number) => match number.next(byte) {
                Some(number) => {
                    self.keep(byte);
                    State::Number(number)
                }
                None if number.is_whole() => {
                    self.end_number();
                    self.state = self.after_value();
                    return self.step(byte);
                }
                None => State::Broken,
            },
            State::Literal([first, rest @ ..]) if *first == byte => match rest {
                [] => self.after_value(),
                _ => State::Literal(rest),
            },
            State::Literal(_) | State::Broken => State::Broken,
            state if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') => state,
            State::FirstValue if byte == b']' => self.close(true),
            State::Start | State::Value | State::FirstValue => self.begin_value(byte),
            State::FirstKey if byte == b'}' => self.close(false),
            State::Key | State::FirstKey if byte == b'"' => {
                self.is_key = true;
                let node = self.stack.last().map_or(Node::Other, |frame| frame.node);
                self.is_kept = node != Node::Other;
                self.token.begin(KEY_BYTES, false);
                State::String
            }
            State::Colon if byte == b':' => State::Value,
            State::After => match (byte, self.stack.last()) {
                (b',', Some(frame)) if frame.is_array => {
                    self.place = frame.node.element();
                    State::Value
                }
                (b',', Some(_)) => State::Key,
                (b']', Some(_)) => self.close(true),
                (b'}', Some(_)) => self.close(false),
                _ => State::Broken,
            },
            _ => State::Broken,
        };
        self.state = next;
    }

    #[inline]
    fn keep(&mut self, byte: u8) {
        if self.is_kept {
            self.token.push(&[byte]);
        }
    }

    fn in_string(&mut self, byte: u8) -> State {
        match byte {
            b'"' if self.is_key => {
                let node = self.stack.last().map_or(Node::Other, |frame| frame.node);
                self.place = if self.is_kept && !self.token.is_cut {
                    node.field(unescaped(&self.token.head).as_bytes())
                } else {
                    OTHER
                };
                State::Colon
            }
            b'"' => {
                self.end_string();
                self.after_value()
            }
            b'\\' => {
                self.keep(byte);
                State::Escape
            }
            // Line breaks and the like are escaped in JSON.
            0..b' ' => State::Broken,
            _ => {
                self.keep(byte);
                State::String
            }
        }
    }

    /// A value has ended, of which the enclosing array or object goes on.
    fn after_value(&self) -> State {
        if self.stack.is_empty() {
            State::Done
        } else {
            State::After
        }
    }

    fn begin_value(&mut self, byte: u8) -> State {
        let place = self.place;
        match place {
            Place::Node(Node::Result) => self.reply.has_result = true,
            // Some servers write both, one of them null.
            Place::Node(Node::Error) => self.reply.has_error = byte != b'n',
            Place::Leaf(Leaf::IsError) => self.reply.is_error = byte == b't',
            Place::Leaf(Leaf::NextCursor) => self.message.is_continued = byte == b'"',
            Place::Leaf(Leaf::Id) => self.message.id = None,
            _ => {}
        }
        match byte {
            b'{' => {
                let node = match place {
                    // Of arrays only.
                    Place::Node(Node::Content | Node::Tools | Node::Batch) | Place::Leaf(_) => {
                        Node::Other
                    }
                    Place::Node(node) => node,
                };
                self.open(Frame {
                    is_array: false,
                    node,
                })
            }
            b'[' => {
                let node = match place {
                    Place::Node(node @ Node::Content) => node,
                    Place::Node(node @ Node::Tools) => {
                        self.message.tools = Some(Vec::new());
                        node
                    }
                    // At the very beginning only: a batch within a batch is none.
                    Place::Node(Node::Message) if self.stack.is_empty() => Node::Batch,
                    _ => Node::Other,
                };
                self.place = node.element();
                self.open(Frame {
                    is_array: true,
                    node,
                })
            }
            b'"' => {
                self.is_key = false;
                self.is_kept = match place {
                    Place::Leaf(Leaf::Text) => self.reply.text.is_none(),
                    Place::Leaf(_) => true,
                    Place::Node(_) => false,
                };
                let is_text = matches!(place, Place::Leaf(Leaf::Text | Leaf::ErrorMessage));
                let limit = if is_text { TEXT_BYTES } else { NAME_BYTES };
                self.token.begin(limit, is_text);
                State::String
            }
            b't' => State::Literal(b"rue"),
            b'f' => State::Literal(b"alse"),
            b'n' => State::Literal(b"ull"),
            _ => match Number::first(byte) {
                Some(number) => {
                    self.is_kept = matches!(place, Place::Leaf(_));
                    self.token.begin(NAME_BYTES, false);
                    self.keep(byte);
                    State::Number(number)
                }
                None => State::Broken,
            },
        }
    }

    fn open(&mut self, frame: Frame) -> State {
        if self.stack.len() == MAX_DEPTH {
            return State::Broken;
        }
        self.stack.push(frame);
        if frame.is_array {
            State::FirstValue
        } else {
            State::FirstKey
        }
    }

    fn close(&mut self, is_array: bool) -> State {
        match self.stack.pop() {
            Some(frame) if frame.is_array == is_array => {
                if frame.node == Node::Message {
                    self.end_message();
                }
                self.after_value()
            }
            _ => State::Broken,
        }
    }

    fn end_string(&mut self) {
        if !self.is_kept {
            return;
        }
        let Place::Leaf(leaf) = self.place else {
            return;
        };
        let token = &self.token;
        let id = || (!token.is_cut).then(|| Id::Text(token.text()));
        let message = &mut self.message;
        match leaf {
            Leaf::Id => message.id = id(),
            Leaf::RequestId => message.request = id(),
            Leaf::Progress => message.progress = id(),
            Leaf::Token => message.token = id(),
            Leaf::Method => message.method = Some(token.text()),
            Leaf::Name => message.name = Some(token.text()),
            Leaf::Text => self.reply.text = Some(token.text()),
            Leaf::ErrorMessage => self.reply.message = token.text(),
            Leaf::ToolName => {
                let name = token.text();
                let weight = size_of::<String>() + name.len();
                if self.kept + weight > LINE_BUDGET {
                    self.left_out += 1;
                } else {
                    self.kept += weight;
                    message.tools.get_or_insert_default().push(name);
                }
            }
            Leaf::IsError | Leaf::NextCursor | Leaf::Code => {}
        }
    }

    fn end_number(&mut self) {
        if !self.is_kept {
            return;
        }
        let Place::Leaf(leaf) = self.place else {
            return;
        };
        let number = self.token.number();
        match leaf {
            Leaf::Id => self.message.id = number,
            Leaf::RequestId => self.message.request = number,
            Leaf::Progress => self.message.progress = number,
            Leaf::Token => self.message.token = number,
            Leaf::Code => {
                self.reply.code = match number {
                    Some(Id::Number(code)) => code,
                    _ => 0,
                };
            }
            _ => {}
        }
    }

    fn end_message(&mut self) {
        let mut message = std::mem::take(&mut self.message);
        let reply = std::mem::take(&mut self.reply);
        message.answer = if reply.has_error {
            Some(Answer::Error {
                code: reply.code,
                message: reply.message,
            })
        } else if reply.has_result {
            Some(Answer::Result {
                is_error: reply.is_error,
                text: reply.text.unwrap_or_default(),
            })
        } else {
            None
        };
        // Most answers are no errors, and their text, however long, is of no use.
        if let Some(Answer::Result {
            is_error: false,
            text,
        }) = &mut message.answer
        {
            *text = String::new();
        }
        let weight = message.weight();
        let tools = message.tools.iter().flatten();
        self.kept -= tools
            .map(|name| size_of::<String>() + name.len())
            .sum::<usize>();
        if self.kept + weight > LINE_BUDGET && !self.messages.is_empty() {
            self.left_out += 1;
        } else {
            self.kept += weight;
            self.messages.push(message);
        }
    }
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
