use super::*;
use serde_json::json;

#[test]
fn equal_arguments_are_one_identity_whatever_the_order_of_their_keys() {
    let of = |text: &str| ToolCall::new("read", serde_json::from_str(text).unwrap()).identity();
    let one = of(r#"{ "path": "a", "range": { "from": 1, "to": [2, 3] } }"#);
    assert_eq!(
        one,
        of(r#"{ "range": { "to": [2, 3], "from": 1 }, "path": "a" }"#)
    );
    for other in [
        r#"{ "path": "b", "range": { "from": 1, "to": [2, 3] } }"#,
        r#"{ "path": "a", "range": { "from": 1, "to": [3, 2] } }"#,
        r#"{ "path": "a", "range": { "from": 1, "to": [2, 3, null] } }"#,
        r#"{ "path": "a", "range": { "from": "1", "to": [2, 3] } }"#,
    ] {
        assert_ne!(one, of(other), "{other}");
    }
    let args = json!({ "path": "a" });
    let mine = ToolCall::new("read", args.clone()).key("k").identity();
    assert_ne!(mine, ToolCall::new("read", args).identity());
    assert_eq!(mine, ToolCall::new("read", json!(2)).key("k").identity());
    assert_ne!(mine, ToolCall::new("write", json!(2)).key("k").identity());
    // A key is not the arguments that read like it.
    let args = ToolCall::new("read", json!("k")).identity();
    assert_ne!(mine, args);
    assert_ne!(args, ToolCall::new("write", json!("k")).identity());
}
