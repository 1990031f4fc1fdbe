//! The tools of a server as tools of the registry, for calls by name.

use super::Inner;
use crate::verdict::McpResult;
use rmcp::ServiceError;
use rmcp::model::CallToolRequestParams;
use serde_json::Value;
use std::sync::Weak;
use toolmeter::{ErrorKind, Invocation, Outcome, Tool, ToolError, ToolFuture, ToolSpec};

/// A tool of a server that is called by name.
pub(super) struct Remote {
    /// The server's name for the tool.
    pub(super) name: Box<str>,
    pub(super) spec: ToolSpec,
    /// A weak reference, since the registry owns the tool.
    pub(super) server: Weak<Inner>,
}

impl Tool for Remote {
    fn spec(&self) -> ToolSpec {
        self.spec.clone()
    }

    fn call(&self, invocation: Invocation) -> ToolFuture {
        let server = self.server.upgrade();
        let name = self.name.clone();
        Box::pin(async move {
            let Some(server) = server else {
                return Err(ToolError::new(ErrorKind::Network, "the server is gone"));
            };
            let mut params = CallToolRequestParams::new(String::from(name));
            params.arguments = match invocation.args {
                Value::Null => None,
                Value::Object(arguments) => Some(arguments),
                _ => {
                    let why = "the arguments of an MCP tool have to be an object";
                    return Err(ToolError::new(ErrorKind::InvalidArgs, why));
                }
            };
            match server.send(params).await {
                Ok(answer) => Ok(serde_json::to_value(answer)?),
                Err(error) => Err(tool_error(&error)),
            }
        })
    }
}

/// Converts an error of the protocol to one of a tool.
fn tool_error(error: &ServiceError) -> ToolError {
    let verdict = error.verdict();
    let message = verdict.message().unwrap_or_default();
    match verdict.outcome() {
        Outcome::Failure(kind) => ToolError::new(kind, message),
        _ => ToolError::cancelled(message),
    }
}
