//! A scanner that finds calls in a stream of JSON lines, byte by byte.
//!
//! The [`Scanner`] takes the bytes of one direction, and makes a [`Line`] at each newline. It keeps
//! only the fields of a line that are needed to follow calls, each of bounded length, so that a
//! line may be of any length and may arrive in any pieces. Guarantees: the result for a line does
//! not depend on the pieces; a line that is not JSON has no messages; for any input, it keeps no
//! more than [`LINE_BUDGET`] and the one message that it is reading, spare capacity not counted.
//!
//! JSON is a text of the grammar of RFC 8259 that is nested at most [`MAX_DEPTH`] deep. The numbers
//! `NaN`, `Infinity` and `-Infinity`, which Python writes and reads, are JSON as well. Text that is
//! not UTF-8 is read as replacement characters, as most programs do.

mod grammar;
mod message;
mod place;
mod token;

pub(crate) use message::{Answer, Id, Line, LineKind, Message};

use grammar::{Number, State, whole_escape};
use memchr::{memchr, memchr2};
use place::{Leaf, Node, OTHER, Place};
use token::Token;

/// The deepest nesting of values in a line that is followed.
pub(crate) const MAX_DEPTH: usize = 1_000;

/// The limit of the memory for the messages of one line, in bytes. The rest of a longer batch is
/// left out.
pub(crate) const LINE_BUDGET: usize = 4 << 20;

/// The bytes that are kept of the beginning of an error's text, and about as many of its end.
const TEXT_BYTES: usize = 4 << 10;

/// The longest id or name that is kept, in bytes as it is written.
const NAME_BYTES: usize = 1 << 10;

/// The longest name of a field that is looked for, in bytes, if all of it is written in escapes.
const KEY_BYTES: usize = 6 * "progressToken".len();
/// An object or an array that is open.
#[derive(Clone, Copy, Debug)]
struct Frame {
    is_array: bool,
    node: Node,
}

/// A reader of one direction of a connection.
#[derive(Debug)]
pub(crate) struct Scanner {
    state: State,
    stack: Vec<Frame>,
    /// The place of the next value.
    place: Place,
    /// Set while the string that is being read is a key.
    is_key: bool,
    /// Set while the value that is being read is kept.
    is_kept: bool,
    /// Set if it is kept in `text` instead of `token`.
    is_text: bool,
    token: Token,
    /// The first text of a result's content. It is needed only if the result is an error, which a
    /// field behind it may say.
    text: Token,
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
    has_text: bool,
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
            is_text: false,
            token: Token::default(),
            text: Token::default(),
            message: Message::default(),
            reply: Reply::default(),
            messages: Vec::new(),
            kept: 0,
            left_out: 0,
            bytes: 0,
        }
    }

    /// Reads the next bytes, and calls `each` for each line that ends within them.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(Line<'_>)) {
        while let Some(end) = memchr(b'\n', bytes) {
            self.scan(&bytes[..end]);
            self.end_line(&mut each);
            bytes = &bytes[end + 1..];
        }
        self.scan(bytes);
    }

    /// Ends the last line, if there is one without a newline.
    pub(crate) fn finish(&mut self, mut each: impl FnMut(Line<'_>)) {
        if self.bytes > 0 {
            self.end_line(&mut each);
        }
    }

    fn end_line(&mut self, each: &mut impl FnMut(Line<'_>)) {
        // A number at the end of the line ends only with a byte behind it.
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
                State::String => bytes = self.scan_string(bytes),
                _ => {
                    self.step(byte);
                    bytes = rest;
                }
            }
        }
    }

    /// Reads the next bytes of a string, and returns the bytes that it did not read.
    fn scan_string<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut end = 0;
        loop {
            match memchr2(b'"', b'\\', &bytes[end..]) {
                Some(at) => end += at,
                None => end = bytes.len(),
            }
            match whole_escape(&bytes[end..]) {
                Some(length) => end += length,
                None => break,
            }
        }
        let (run, rest) = bytes.split_at(end);
        // In JSON, control characters are escaped. The loop is vectorized, because it has no early
        // exit.
        if run
            .iter()
            .fold(false, |is_any, &byte| is_any | (byte < b' '))
        {
            self.state = State::Broken;
            return &[];
        }
        self.keep(run);
        let Some((&byte, rest)) = rest.split_first() else {
            return rest;
        };
        self.step(byte);
        rest
    }

    fn step(&mut self, byte: u8) {
        let next = match self.state {
            State::String => self.in_string(byte),
            State::Escape => {
                self.keep(&[byte]);
                match byte {
                    b'u' => State::Hex(4),
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => State::String,
                    _ => State::Broken,
                }
            }
            State::Hex(left) => {
                self.keep(&[byte]);
                match (byte.is_ascii_hexdigit(), left) {
                    (false, _) => State::Broken,
                    (true, 1) => State::String,
                    (true, _) => State::Hex(left - 1),
                }
            }
            State::Number(number) => match number.next(byte) {
                Some(number) => {
                    self.keep(&[byte]);
                    State::Number(number)
                }
                None if number.is_whole() => {
                    self.end_number();
                    self.state = self.after_value();
                    return self.step(byte);
                }
                None if number == Number::Sign && byte == b'I' => State::Literal(b"nfinity"),
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
                self.is_text = false;
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

    fn keep(&mut self, bytes: &[u8]) {
        if !self.is_kept {
            return;
        }
        if self.is_text {
            self.text.push(bytes);
        } else {
            self.token.push(bytes);
        }
    }

    fn in_string(&mut self, byte: u8) -> State {
        match byte {
            b'"' if self.is_key => {
                let node = self.stack.last().map_or(Node::Other, |frame| frame.node);
                self.place = if self.is_kept && !self.token.is_cut() {
                    node.field(self.token.text().as_bytes())
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
                self.keep(&[byte]);
                State::Escape
            }
            0..b' ' => State::Broken,
            _ => {
                self.keep(&[byte]);
                State::String
            }
        }
    }

    /// Returns the state after the end of a value.
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
            // Some servers write both a result and an error, one of them null.
            Place::Node(Node::Error) => self.reply.has_error = byte != b'n',
            Place::Leaf(Leaf::IsError) => self.reply.is_error = byte == b't',
            Place::Leaf(Leaf::NextCursor) => self.message.is_continued = byte == b'"',
            Place::Leaf(Leaf::Id) => self.message.id = None,
            _ => {}
        }
        match byte {
            b'{' => {
                let node = match place {
                    // These are places of arrays only.
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
                    // Only at the beginning of the line: there is no batch within a batch.
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
                self.is_text = matches!(place, Place::Leaf(Leaf::Text));
                self.is_kept = match place {
                    Place::Leaf(Leaf::Text) => !self.reply.has_text,
                    Place::Leaf(_) => true,
                    Place::Node(_) => false,
                };
                match place {
                    Place::Leaf(Leaf::Text) if self.is_kept => self.text.begin(TEXT_BYTES, true),
                    Place::Leaf(Leaf::ErrorMessage) => self.token.begin(TEXT_BYTES, true),
                    _ => self.token.begin(NAME_BYTES, false),
                }
                State::String
            }
            b't' => State::Literal(b"rue"),
            b'f' => State::Literal(b"alse"),
            b'n' => State::Literal(b"ull"),
            _ => match Number::first(byte) {
                Some(number) => {
                    self.is_kept = matches!(place, Place::Leaf(_));
                    self.is_text = false;
                    self.token.begin(NAME_BYTES, false);
                    self.keep(&[byte]);
                    State::Number(number)
                }
                None => match byte {
                    b'N' => State::Literal(b"aN"),
                    b'I' => State::Literal(b"nfinity"),
                    _ => State::Broken,
                },
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
        let id = || (!token.is_cut()).then(|| Id::Text(token.text()));
        let message = &mut self.message;
        match leaf {
            Leaf::Id => message.id = id(),
            Leaf::RequestId => message.request = id(),
            Leaf::Progress => message.progress = id(),
            Leaf::Token => message.token = id(),
            Leaf::Method => message.method = Some(token.text()),
            Leaf::Name => message.name = Some(token.text()),
            Leaf::Text => self.reply.has_text = true,
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
                text: if reply.is_error && reply.has_text {
                    self.text.text()
                } else {
                    String::new()
                },
            })
        } else {
            None
        };
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
mod tests;
