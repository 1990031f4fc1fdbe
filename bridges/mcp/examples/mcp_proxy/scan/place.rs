//! The fields of a message that are looked for.

/// A place in a message whose fields are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// A place without fields that are looked for.
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
pub(super) enum Leaf {
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

/// The meaning of a field's value, or of the next element of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Node(Node),
    Leaf(Leaf),
}

pub(super) const OTHER: Place = Place::Node(Node::Other);

impl Node {
    /// Returns the place of the value of this field.
    pub(super) fn field(self, key: &[u8]) -> Place {
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

    /// Returns the place of an element of the array.
    pub(super) fn element(self) -> Place {
        Place::Node(match self {
            Self::Batch => Self::Message,
            Self::Content => Self::Block,
            Self::Tools => Self::Tool,
            _ => Self::Other,
        })
    }
}
