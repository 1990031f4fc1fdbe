//! The tools of a server as tools of the registry, for calls by name.

use crate::held::Held;
use crate::verdict::McpResult;
use rmcp::ServiceError;
use rmcp::model::CallToolRequestParams;
use serde_json::Value;
use std::sync::Arc;
use toolmeter::{ErrorKind, Invocation, Outcome, Tool, ToolError, ToolFuture, ToolSpec};

/// A tool of a server that is called by name.
pub(crate) struct Remote {
    spec: ToolSpec,
    /// The table of the connections that have the tool.
    held: Arc<Held>,
}

impl Remote {
    pub(crate) fn new(spec: ToolSpec, held: &Arc<Held>) -> Self {
        Self {
            spec,
            held: Arc::clone(held),
        }
    }
}

impl Tool for Remote {
    fn spec(&self) -> ToolSpec {
        self.spec.clone()
    }

    fn call(&self, invocation: Invocation) -> ToolFuture {
        let route = self.held.route(self.spec.name());
        Box::pin(async move {
            let Some((link, name)) = route else {
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
            match link.send(params).await {
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
