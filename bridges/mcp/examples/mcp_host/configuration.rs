//! A host's configuration of MCP servers: the forms of Claude Code, Cursor, VS Code and others.
//!
//! Promises:
//!
//! - A server whose entry is wrong, or not for this host, is left out with the reason. The others
//!   are started.
//! - No reason holds a value of the entry, which may be a secret.

use crate::servers::Server;
use crate::variables::Variables;
use jsonc_parser::ParseOptions;
use serde_json::{Map, Value};
use std::error::Error;
use std::ffi::OsString;
use std::path::Path;

/// The servers of one configuration.
pub(crate) struct Configuration {
    pub(crate) servers: Vec<Server>,
    /// The names of the others, each with the reason.
    pub(crate) left_out: Vec<(String, String)>,
}

impl Configuration {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// A message of one line, if it cannot be read or names no server.
    pub(crate) fn read(path: &Path) -> Result<Self, Box<dyn Error>> {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read {shown}: {error}"))?;
        let entries = entries(&text)
            .map_err(|error| format!("{shown} is not a configuration of MCP servers: {error}"))?;
        if entries.is_empty() {
            let folder = std::env::current_dir().unwrap_or_default();
            let folder = folder.display();
            return Err(format!("{shown} names no server, also not for {folder}").into());
        }
        let variables = Variables::of(path);
        let mut read = Self {
            servers: Vec::new(),
            left_out: Vec::new(),
        };
        for (name, entry) in entries {
            match server(&name, &entry, &variables) {
                Ok(server) => read.servers.push(server),
                Err(reason) => read.left_out.push((name, reason)),
            }
        }
        Ok(read)
    }
}

/// Returns the entries of the servers.
fn entries(text: &str) -> Result<Map<String, Value>, String> {
    let options = ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let whole: Value =
        jsonc_parser::parse_to_serde_value(text, &options).map_err(|error| error.to_string())?;
    // Claude Code keeps the servers of each project in one file, under the project's folder.
    let here = std::env::current_dir().unwrap_or_default();
    let project = here
        .to_str()
        .map(|here| &whole["projects"][here]["mcpServers"]);
    let of_project = project.unwrap_or(&Value::Null);
    let mut all = Map::new();
    for servers in [&whole["mcpServers"], &whole["servers"], of_project] {
        match servers {
            Value::Null => {}
            Value::Object(servers) => all.extend(servers.clone()),
            _ => return Err("its servers are not an object".to_owned()),
        }
    }
    let known = ["mcpServers", "servers", "projects"];
    if known.iter().all(|key| whole[key].is_null()) {
        return Err("it has neither `mcpServers` nor `servers`".to_owned());
    }
    Ok(all)
}

/// Makes a server of its entry.
fn server(name: &str, entry: &Value, variables: &Variables) -> Result<Server, String> {
    if !entry.is_object() {
        return Err("it is not an object".to_owned());
    }
    if entry["disabled"] == true || entry["enabled"] == false {
        return Err("it is disabled".to_owned());
    }
    if !entry["envFile"].is_null() {
        return Err("its `envFile` is not read by this host".to_owned());
    }
    let text = |field: &str| match &entry[field] {
        Value::Null => Ok(None),
        Value::String(text) => variables.replace(text).map(Some),
        _ => Err(format!("`{field}` is not a string")),
    };
    let command = text("command")?.ok_or("it is not started by a command")?;
    let arguments = match &entry["args"] {
        Value::Null => Ok(Vec::new()),
        Value::Array(arguments) => arguments
            .iter()
            .map(|argument| {
                let argument = argument.as_str().ok_or("`args` holds more than strings")?;
                variables.replace(argument).map(OsString::from)
            })
            .collect(),
        _ => Err("`args` is not an array".to_owned()),
    };
    let environment = match &entry["env"] {
        Value::Null => Ok(Vec::new()),
        Value::Object(environment) => environment
            .iter()
            .map(|(name, value)| {
                let value = match value {
                    Value::Null => None,
                    Value::String(value) => Some(variables.replace(value)?),
                    Value::Number(value) => Some(value.to_string()),
                    _ => return Err(format!("`{name}` of `env` is not a string")),
                };
                Ok((name.clone(), value))
            })
            .collect(),
        _ => Err("`env` is not an object".to_owned()),
    };
    Ok(Server {
        name: name.to_owned(),
        command: command.into(),
        arguments: arguments?,
        environment: environment?,
        folder: text("cwd")?.map(Into::into),
    })
}
