//! Any text as a tool's name and as an error: a name is refused or registered as it is, and what
//! is kept of an error is bounded and visible.
#![no_main]

use libfuzzer_sys::fuzz_target;
use toolmeter::{ErrorKind, MAX_MESSAGE_BYTES, Pump, Registry, ToolSpec};

fuzz_target!(|text: &str| {
    let registry = Registry::builder().pump(Pump::manual()).build().unwrap();
    let spec = ToolSpec::new(text.to_owned());
    let is_name = spec.check().is_ok();
    let registered = registry.register(spec);
    assert_eq!(registered.is_ok(), is_name);
    if let Ok(tool) = &registered {
        assert_eq!(tool.name(), text);
        assert!(text.len() <= 128 && !text.chars().any(char::is_control));
    }
    let tool = registry.register(ToolSpec::new("\u{1f527}")).or(registered).unwrap();
    tool.start().fail(ErrorKind::Other, text);
    let metrics = registry.metrics();
    let error = metrics.tools[tool.name()].last_error.as_ref().unwrap();
    let message = error.message.as_deref().unwrap_or_default();
    assert!(message.len() <= MAX_MESSAGE_BYTES);
    assert!(!message.chars().any(char::is_control));
});
