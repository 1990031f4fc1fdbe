//! A check that every method of rmcp's handlers is passed on. Without one that has a default, the
//! crate would compile, but the default would answer instead of the handler.

use std::path::PathBuf;
use std::process::Command;

/// Returns the folder of the rmcp that is compiled.
fn rmcp() -> PathBuf {
    let cargo = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO"))
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let version = cargo(&["-vV"]);
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap();
    // Packages for other platforms are left out, since they may not be on this machine.
    let metadata = cargo(&[
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--filter-platform",
        host,
    ]);
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages
        .iter()
        .find(|package| package["name"] == "rmcp")
        .unwrap();
    let mut path = PathBuf::from(package["manifest_path"].as_str().unwrap());
    path.pop();
    path
}

/// Returns the names of the methods that a macro of rmcp declares.
fn methods(file: &str, declared_by: &str) -> Vec<String> {
    let source = std::fs::read_to_string(rmcp().join(file)).unwrap();
    let start = source.find(&format!("macro_rules! {declared_by}")).unwrap();
    let source = &source[start..];
    let end = source.find("#[cfg(not(feature = \"local\"))]").unwrap();
    source[..end]
        .lines()
        .filter_map(|line| line.strip_prefix("        fn "))
        .map(|line| line.split('(').next().unwrap().to_owned())
        .collect()
}

/// Returns the methods that the metered handler does not pass on.
fn forgotten(ours: &str, methods: &[String]) -> Vec<String> {
    let listed = ours.split_once("    handed_on! {").unwrap().1;
    let is_passed_on = |name: &str| {
        ours.contains(&format!("self.handler.{name}("))
            || listed.contains(&format!("\n        {name}("))
    };
    let left = methods.iter().filter(|name| !is_passed_on(name));
    left.cloned().collect()
}

#[test]
fn a_server_passes_on_every_method() {
    let methods = methods("src/handler/server.rs", "server_handler_methods");
    assert!(methods.len() > 30, "{methods:?}");
    let forgotten = forgotten(include_str!("../src/server/handler.rs"), &methods);
    // `call_tool` is metered in another file, and passed on there.
    assert_eq!(forgotten, ["call_tool"]);
    assert!(include_str!("../src/server.rs").contains("self.handler.call_tool(request, context)"));
}

#[test]
fn a_client_passes_on_every_method() {
    let methods = methods("src/handler/client.rs", "client_handler_methods");
    assert!(methods.len() > 10, "{methods:?}");
    let forgotten = forgotten(include_str!("../src/client/handler.rs"), &methods);
    assert!(forgotten.is_empty(), "{forgotten:?}");
}
