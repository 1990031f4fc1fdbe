use super::*;
use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

type Told = (u64, LineKind, Vec<Message>, u64);

/// Returns the lines that a scanner finds in these pieces, including the last one.
fn told<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Told> {
    let mut told = Vec::new();
    let mut scanner = Scanner::new();
    let mut each = |line: Line<'_>| {
        let messages = std::mem::take(line.messages);
        told.push((line.bytes, line.what, messages, line.left_out));
    };
    for piece in pieces {
        scanner.feed(piece, &mut each);
    }
    scanner.finish(&mut each);
    told
}

fn one(line: &str) -> Vec<Message> {
    let mut told = told([line.as_bytes()]);
    assert_eq!(told.len(), 1);
    let (bytes, what, messages, left_out) = told.remove(0);
    assert_eq!(
        (bytes, what, left_out),
        (line.len() as u64, LineKind::Json, 0)
    );
    messages
}

/// Returns the same by a parser that keeps everything.
fn expected(line: &Value) -> Vec<Message> {
    match line {
        Value::Array(batch) => batch
            .iter()
            .filter(|v| v.is_object())
            .map(message)
            .collect(),
        Value::Object(_) => vec![message(line)],
        _ => Vec::new(),
    }
}

fn message(value: &Value) -> Message {
    let text = |value: &Value| value.as_str().map(String::from);
    let id = |value: &Value| match value {
        Value::Number(number) => Some(match number.as_i64() {
            Some(number) => Id::Number(number),
            None => Id::Odd(number.to_string()),
        }),
        _ => text(value).map(Id::Text),
    };
    let object = |value: &Value| value.as_object().map(|_| value.clone()).unwrap_or_default();
    let (params, result, error) = (
        object(&value["params"]),
        object(&value["result"]),
        object(&value["error"]),
    );
    let answer = if value.get("error").is_some_and(|error| !error.is_null()) {
        Some(Answer::Error {
            code: error["code"].as_i64().unwrap_or(0),
            message: text(&error["message"]).unwrap_or_default(),
        })
    } else {
        value.get("result").map(|_| {
            let is_error = result["isError"] == true;
            let blocks = result["content"].as_array().into_iter().flatten();
            let first = blocks
                .into_iter()
                .find_map(|block| text(block.get("text")?));
            Answer::Result {
                is_error,
                text: first.filter(|_| is_error).unwrap_or_default(),
            }
        })
    };
    Message {
        method: text(&value["method"]),
        id: id(&value["id"]),
        name: text(&params["name"]),
        request: id(&params["requestId"]),
        progress: id(&params["progressToken"]),
        token: id(&object(&params["_meta"])["progressToken"]),
        answer,
        tools: result["tools"].as_array().map(|tools| {
            let names = tools.iter().filter_map(|tool| text(tool.get("name")?));
            names.collect()
        }),
        is_continued: result["nextCursor"].is_string(),
    }
}

const KEYS: [&str; 18] = [
    "id",
    "method",
    "params",
    "result",
    "error",
    "name",
    "requestId",
    "progressToken",
    "_meta",
    "isError",
    "content",
    "text",
    "tools",
    "nextCursor",
    "code",
    "message",
    "idx",
    "",
];

/// Generates any JSON, in which the names that are looked for are frequent.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-9i64..9).prop_map(Value::from),
        (-1e3..1e3).prop_filter_map("a whole number", |number: f64| {
            (number.fract() != 0.0).then(|| Value::from(number))
        }),
        "\\PC{0,8}".prop_map(Value::from),
        "[\u{0}-\u{7f}\u{20ac}\u{1f980}\"\\\\]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 6, |inner| {
        let key = prop_oneof![
            4 => proptest::sample::select(&KEYS[..]).prop_map(String::from),
            1 => "\\PC{0,4}",
        ];
        prop_oneof![
            2 => proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            5 => proptest::collection::btree_map(key, inner, 0..8)
                .prop_map(|map| Value::from(serde_json::Map::from_iter(map))),
        ]
    })
}

/// Generates any message of the protocol, with anything in its fields.
fn protocol() -> impl Strategy<Value = Value> {
    let fields = (json(), json(), json(), json(), any::<[u8; 4]>());
    fields.prop_map(|(a, b, c, d, pick)| {
        let mut message = json!({ "jsonrpc": "2.0", "id": a });
        match pick[0] % 4 {
            0 => {
                message["params"] =
                    json!({ "name": b, "_meta": { "progressToken": c }, "arguments": d });
            }
            1 => message["params"] = json!({ "requestId": b, "progressToken": c, "_meta": d }),
            2 => {
                message["result"] = json!({
                    "content": [b, { "text": c }, { "type": "text", "text": d }],
                    "isError": pick[1] % 2 == 0,
                    "tools": [a, { "name": b }, { "name": "read", "inputSchema": c }],
                    "nextCursor": d,
                });
            }
            _ => message["error"] = json!({ "code": b, "message": c, "data": d }),
        }
        if pick[2] % 2 == 0 {
            message["method"] = json!("tools/call");
        }
        message
    })
}

/// Writes a value as other programs may, with white space anywhere and any character as an escape.
fn written(value: &Value, dice: &mut impl Iterator<Item = u8>, line: &mut String) {
    let space = |dice: &mut dyn Iterator<Item = u8>, line: &mut String| match dice.next() {
        Some(0..20) => line.push(' '),
        Some(20..30) => line.push_str("\t\r "),
        _ => {}
    };
    let string = |text: &str, dice: &mut dyn Iterator<Item = u8>, line: &mut String| {
        line.push('"');
        for character in text.chars() {
            if dice.next().is_some_and(|die| die < 30) {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    line.push_str(&format!("\\u{unit:04x}"));
                }
            } else {
                let quoted = serde_json::to_string(&character).unwrap();
                line.push_str(&quoted[1..quoted.len() - 1]);
            }
        }
        line.push('"');
    };
    space(dice, line);
    match value {
        Value::Array(elements) => {
            line.push('[');
            for (at, element) in elements.iter().enumerate() {
                line.push_str(if at > 0 { "," } else { "" });
                written(element, dice, line);
            }
            space(dice, line);
            line.push(']');
        }
        Value::Object(fields) => {
            line.push('{');
            for (at, (key, element)) in fields.iter().enumerate() {
                line.push_str(if at > 0 { "," } else { "" });
                space(dice, line);
                string(key, dice, line);
                space(dice, line);
                line.push(':');
                written(element, dice, line);
            }
            space(dice, line);
            line.push('}');
        }
        Value::String(text) => string(text, dice, line),
        other => line.push_str(&other.to_string()),
    }
    space(dice, line);
}

/// Cuts a text into pieces of these lengths, which repeat.
fn cut<'a>(mut bytes: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for &length in lengths.iter().cycle().take(bytes.len()) {
        let (piece, rest) = bytes.split_at(length.min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces.push(bytes);
    pieces
}

proptest! {
    #[test]
    fn it_tells_what_a_parser_tells_however_it_is_written_and_cut(
        values in proptest::collection::vec(
            prop_oneof![json(), protocol(), proptest::collection::vec(protocol(), 0..4).prop_map(Value::from)],
            1..4,
        ),
        dice in proptest::collection::vec(any::<u8>(), 1..200),
        lengths in proptest::collection::vec(1usize..40, 1..8),
    ) {
        let mut dice = dice.iter().copied().cycle();
        let mut text = String::new();
        for value in &values {
            written(value, &mut dice, &mut text);
            text.push('\n');
        }
        let told = told(cut(text.as_bytes(), &lengths));
        prop_assert_eq!(told.len(), values.len());
        for (value, (_, what, messages, left_out)) in values.iter().zip(told) {
            prop_assert_eq!((what, left_out), (LineKind::Json, 0));
            prop_assert_eq!(messages, expected(value), "{}", value);
        }
    }

    #[test]
    fn it_agrees_with_a_parser_on_what_is_json(
        value in prop_oneof![json(), protocol()],
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>(), proptest::sample::select(&b"{}[]\",:\\0-.eE+tnu 1\x01\xff"[..])), 0..4),
        lengths in proptest::collection::vec(1usize..40, 1..8),
    ) {
        let mut line = value.to_string().into_bytes();
        for (at, is_new, byte) in changes {
            let at = at.index(line.len());
            if is_new { line.insert(at, byte) } else { line[at] = byte }
        }
        let is_json = serde_json::from_slice::<IgnoredAny>(&line).is_ok();
        let what = if line.trim_ascii().is_empty() {
            LineKind::Blank
        } else if is_json {
            LineKind::Json
        } else {
            LineKind::NotJson
        };
        let told = told(cut(&line, &lengths));
        prop_assert_eq!(told.len(), 1);
        prop_assert_eq!(told[0].1, what);
        prop_assert!(is_json || told[0].2.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn of_a_long_text_head_and_tail_are_kept_at_words_however_it_is_cut(
        words in proptest::collection::vec("[a-z\"\\\\\u{20ac}\u{1f980}]{1,20}", 1_500..3_000),
        dice in proptest::collection::vec(any::<u8>(), 1..200),
        length in 1usize..9_000,
    ) {
        let text = words.join(" ");
        let mut line = String::new();
        written(&json!({ "id": 1, "error": { "message": text } }), &mut dice.iter().copied().cycle(), &mut line);
        let told = told(cut(line.as_bytes(), &[length]));
        let Some(Answer::Error { message, .. }) = &told[0].2[0].answer else { unreachable!() };
        prop_assert!(message.len() < 4 * TEXT_BYTES);
        let (head, tail) = message.split_once(" ... ").unwrap();
        let (head, tail): (Vec<_>, Vec<_>) = (head.split(' ').collect(), tail.split(' ').collect());
        prop_assert!(head.len() > 30 && tail.len() > 30);
        prop_assert!(words.iter().map(|word| &**word).take(head.len()).eq(head));
        prop_assert!(words[words.len() - tail.len()..].iter().map(|word| &**word).eq(tail));
    }
}

#[test]
fn what_is_looked_for_elsewhere_is_not_found() {
    let line =
        r#"{"params":{"arguments":{"name":"a","id":7,"result":{}},"method":"b"},"x":{"id":1},
        "result":[{"isError":true}],"id":{"id":4}}"#
            .replace('\n', "");
    let expected = Message {
        answer: Some(Answer::Result {
            is_error: false,
            text: String::new(),
        }),
        ..Message::default()
    };
    assert_eq!(one(&line), [expected]);
    assert_eq!(one(r#"[[{"id":1}]]"#), []);
}

#[test]
fn numbers_that_mean_the_same_are_the_same_id() {
    let id = |id: &str| one(&format!(r#"{{"id":{id}}}"#))[0].id.clone();
    for same in ["7", "7.0", "70e-1", "0.7E1"] {
        assert_eq!(id(same), Some(Id::Number(7)), "{same}");
    }
    assert_eq!(id("1.5"), Some(Id::Odd("1.5".into())));
    assert_eq!(
        id("18446744073709551615"),
        Some(Id::Odd("18446744073709551615".into()))
    );
    assert_eq!(id("\"7\""), Some(Id::Text("7".into())));
    assert_eq!(id(r#""\u0037""#), Some(Id::Text("7".into())));
    assert_eq!(id("null"), None);
    assert_eq!(id(&format!("\"{}\"", "x".repeat(NAME_BYTES + 1))), None);
}

#[test]
fn a_null_beside_the_other_is_no_error_and_a_null_alone_is_an_answer() {
    let answer = |rest: &str| one(&format!(r#"{{"id":1,{rest}}}"#))[0].answer.clone();
    let result = |is_error| Answer::Result {
        is_error,
        text: String::new(),
    };
    assert_eq!(answer(r#""result":null"#), Some(result(false)));
    assert_eq!(
        answer(r#""result":{"isError":true},"error":null"#),
        Some(result(true))
    );
    assert!(matches!(
        answer(r#""error":{"code":-1},"result":null"#),
        Some(Answer::Error { code: -1, .. })
    ));
}

#[test]
fn lines_are_told_apart_and_the_next_one_is_read_as_if_it_were_the_first() {
    let text =
        "{\"id\":1}\n\n \r\nplain text\n{\"id\":2\n\"a\nb\"\n{\"id\":\"3\"}\r\n{\"id\":4} {}\n7";
    let kinds: Vec<_> = told([text.as_bytes()])
        .into_iter()
        .map(|line| (line.1, line.2.len()))
        .collect();
    use LineKind::{Blank, Json, NotJson};
    let expected = [
        (Json, 1),
        (Blank, 0),
        (Blank, 0),
        (NotJson, 0),
        (NotJson, 0),
        (NotJson, 0),
        (NotJson, 0),
        (Json, 1),
        (NotJson, 0),
        (Json, 0),
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn nesting_is_followed_to_its_limit_and_no_further() {
    for (depth, what) in [
        (MAX_DEPTH, LineKind::Json),
        (MAX_DEPTH + 1, LineKind::NotJson),
        (1 << 20, LineKind::NotJson),
    ] {
        let line = "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(told([line.as_bytes()])[0].1, what);
    }
}

/// Feeds lines of thirteen megabytes, each of one kind of input that a scanner might keep, and
/// checks the memory that it holds.
#[test]
fn what_is_kept_of_a_line_is_bounded() {
    const PIECES: usize = 200;
    let piece = |text: &str| text.repeat((1 << 16) / text.len()).into_bytes();
    let hostile: [(&str, Vec<u8>, &str); 9] = [
        (r#"{"id":""#, piece("x"), r#""}"#),
        (r#"{"id":"#, piece("1"), "}"),
        (r#"{""#, piece("key"), r#"":1}"#),
        (r#"{"params":{"name":""#, piece("\\u0041"), r#""}}"#),
        (r#"{"error":{"message":""#, piece("\\n word"), r#""}}"#),
        (
            r#"{"result":{"content":[{"text":""#,
            piece("\\\\"),
            r#""}]}}"#,
        ),
        (
            r#"{"result":{"tools":["#,
            piece(r#"{"name":"abc"},"#),
            "0]}}",
        ),
        (
            "[",
            piece(r#"{"id":1,"method":"tools/call","params":{"name":"a"}},"#),
            "0]",
        ),
        ("", piece("no json "), ""),
    ];
    for (head, piece, tail) in hostile {
        let mut scanner = Scanner::new();
        let mut lines = Vec::new();
        let mut each = |line: Line<'_>| {
            lines.push((line.bytes, line.what, line.messages.len(), line.left_out));
        };
        scanner.feed(head.as_bytes(), &mut each);
        let mut largest = 0;
        for _ in 0..PIECES {
            scanner.feed(&piece, &mut each);
            let names = scanner.message.tools.iter().flatten();
            let held = scanner.token.capacity()
                + scanner.text.capacity()
                + scanner.messages.capacity() * size_of::<Message>()
                + scanner.messages.iter().map(Message::weight).sum::<usize>()
                + names
                    .map(|name| size_of::<String>() + name.capacity())
                    .sum::<usize>()
                + scanner.stack.capacity() * size_of::<Frame>();
            largest = largest.max(held);
        }
        scanner.feed(tail.as_bytes(), &mut each);
        scanner.feed(b"\n", &mut each);
        assert!(largest < 3 * LINE_BUDGET, "{head}: {largest}");
        let bytes = (head.len() + tail.len() + PIECES * piece.len()) as u64;
        let [(length, what, messages, left_out)] = lines[..] else {
            unreachable!()
        };
        assert_eq!(length, bytes);
        assert_eq!(what == LineKind::NotJson, head.is_empty(), "{head}");
        // Each message is counted, whether it is kept or not.
        if head == "[" {
            assert_eq!(
                messages as u64 + left_out,
                (PIECES * ((1 << 16) / 53)) as u64
            );
        }
    }
}
