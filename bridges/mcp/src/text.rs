//! Texts that a peer has sent, and the form in which they are kept.
//!
//! Guarantee: a text of a peer is kept as visible text of at most 256 bytes.

use rmcp::model::{MetaObject, RequestId};
use toolmeter::{CallContext, ToolSpec};

/// The label of the parent of a trace, in W3C's form.
pub(crate) const TRACEPARENT: &str = "traceparent";
/// The label of the vendors' additions to the parent of a trace, in W3C's form.
pub(crate) const TRACESTATE: &str = "tracestate";

/// Escapes the invisible characters of a text, and cuts it to 256 bytes.
pub(crate) fn visible(text: &str) -> String {
    ToolSpec::lossy(text).name().to_owned()
}

/// Returns the id of a request as a text, escaped and cut.
pub(crate) fn request_id(id: &RequestId) -> String {
    match id {
        RequestId::Number(number) => number.to_string(),
        RequestId::String(text) => visible(text),
    }
}

/// Labels a call with the trace context of its request, if there is one and it is well formed.
pub(crate) fn with_trace(context: CallContext, meta: &MetaObject) -> CallContext {
    let Some(parent) = meta.get_traceparent().filter(|text| is_traceparent(text)) else {
        return context;
    };
    let context = context.label(TRACEPARENT, parent);
    match meta.get_tracestate().filter(|text| is_tracestate(text)) {
        Some(state) => context.label(TRACESTATE, state),
        None => context,
    }
}

/// Returns whether a text is a `traceparent` of version 00, or begins as one of a later version has
/// to. Its digits are hexadecimal and in lower case, and neither id is all zeros.
pub(crate) fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(5, '-').collect();
    let [version, trace, span, flags, rest @ ..] = &*parts else {
        return false;
    };
    let is_hex = |part: &str, length: usize| {
        part.len() == length
            && part
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    is_hex(version, 2)
        && *version != "ff"
        && (*version != "00" || rest.is_empty())
        && text.len() <= CallContext::MAX_LABEL_BYTES
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && is_hex(trace, 32)
        && trace.bytes().any(|byte| byte != b'0')
        && is_hex(span, 16)
        && span.bytes().any(|byte| byte != b'0')
        && is_hex(flags, 2)
}

/// Returns whether a text may be a `tracestate`, and fits into a label as a whole.
fn is_tracestate(text: &str) -> bool {
    (1..=CallContext::MAX_LABEL_BYTES).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";

    #[test]
    fn only_well_formed_parents_are_kept() {
        assert!(is_traceparent(PARENT));
        assert!(is_traceparent(&format!("01{}-more", &PARENT[2..])));
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7",
            "00-0AF7651916CD43DD8448EB211C80319C-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
            "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01-more",
            "00-0af7651916cd43dd8448eb211c8031é-00f067aa0ba902b7-01",
            "01-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01-\u{1b}",
        ] {
            assert!(!is_traceparent(bad), "{bad}");
        }
        assert!(!is_traceparent(&format!(
            "01{}-{}",
            &PARENT[2..],
            "x".repeat(300)
        )));
    }

    #[test]
    fn a_state_without_a_parent_or_too_long_is_dropped() {
        let label = |parent: &str, state: &str| {
            let mut meta = MetaObject::new();
            meta.set_traceparent(parent);
            meta.set_tracestate(state);
            let context = with_trace(CallContext::new(""), &meta);
            context.label_value(TRACESTATE).map(str::to_owned)
        };
        assert_eq!(label(PARENT, "vendor=1").as_deref(), Some("vendor=1"));
        assert_eq!(label("none", "vendor=1"), None);
        assert_eq!(label(PARENT, &"x".repeat(257)), None);
        assert_eq!(label(PARENT, "a=\n"), None);
    }

    #[test]
    fn ids_are_bounded_and_visible() {
        assert_eq!(request_id(&RequestId::Number(-3)), "-3");
        let hostile = RequestId::String(format!("\u{1b}[2J{}", "x".repeat(100_000)).into());
        let shown = request_id(&hostile);
        assert!(shown.len() <= 256 && !shown.contains('\u{1b}'), "{shown}");
    }
}
