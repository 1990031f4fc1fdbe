//! The outcomes of calls, from the wording of their results.
//!
//! Only the beginning of a text is searched. A text that is not known to be an error is treated as
//! one only if it begins like no ordinary output. So the contents of a file about errors are not an
//! error.

use super::json::begin_of;
use toolmeter::{ErrorKind, Outcome, Verdict};

use Outcome::{Cancelled, Failure, Rejected};

/// The wordings of agents for each outcome, the most specific first.
const WORDINGS: [(Outcome, &[&str]); 8] = [
    (
        Rejected,
        &[
            "doesn't want to proceed",
            "doesn't want to take this action",
            "rejected by user",
            "sandbox denied",
            "rejected the tool",
            "denied by the user",
            "permission to use",
            "requested permissions",
            "user denied",
            "user declined",
            "user rejected",
            "tool use was rejected",
            "user cancelled mcp tool call",
            "requires approval, but approval policy",
            "mcp tool call blocked",
            "permission for this action was denied",
            "auto mode cannot determine the safety",
            "denied this tool",
            "denied by your permission settings",
            "could not request permission from user",
            "approval required by policy",
            "rejected: blocked by policy",
            "rejected due to unacceptable risk",
            "sandbox(denied",
        ],
    ),
    (
        Cancelled,
        &[
            "interrupted by user",
            "aborted by user",
            "operation aborted",
            "sibling tool call errored",
            "cancelled: parallel tool call",
            "was cancelled",
            "was canceled",
            "cancelled by",
            "request was aborted",
        ],
    ),
    (
        Failure(ErrorKind::Timeout),
        &["timed out", "timeout exceeded", "deadline exceeded"],
    ),
    (
        Failure(ErrorKind::RateLimited),
        &["rate limit", "too many requests", "status code 429"],
    ),
    (
        Failure(ErrorKind::InvalidArgs),
        &[
            "inputvalidationerror",
            "validation failed",
            "verification failed",
            "failed to parse function arguments",
            "invalid argument",
            "invalid input",
            "invalid params",
            "invalid patch",
            "missing required",
            "string to replace not found",
            "could not find the exact text",
            "matches of the string to replace",
            "occurrences of the text",
            "old_string and new_string are exac",
            "no changes to make",
            "has not been read yet",
            "introduced new syntax error",
            "no replacement was performed",
        ],
    ),
    (
        Failure(ErrorKind::Network),
        &[
            "connection refused",
            "connection reset",
            "connection closed",
            "econnrefused",
            "econnreset",
            "enotfound",
            "eai_again",
            "socket hang up",
            "could not resolve host",
            "no such host",
            "network error",
            "fetch failed",
        ],
    ),
    (
        Failure(ErrorKind::NotFound),
        &[
            "does not exist",
            "doesn't exist",
            "no such",
            "not found",
            "unknown skill",
            "unknown tool",
            "unknown process",
            "unsupported call",
            "enoent",
        ],
    ),
    (
        Failure(ErrorKind::PermissionDenied),
        &[
            "permission denied",
            "operation not permitted",
            "access denied",
            "eacces",
        ],
    ),
];

/// Returns the outcome of a call whose result is known to be an error.
pub(crate) fn of_error(text: &str) -> Outcome {
    let text = text.trim_start();
    let begin = begin_of(text, 400);
    if exit_code(text).is_some_and(|code| code != 0) {
        // An interrupted command is ended by a signal.
        return match begin.contains("\n[Request interrupted by user") {
            true => Cancelled,
            false => Failure(ErrorKind::ToolError),
        };
    }
    if is_of_python(begin) {
        return Failure(ErrorKind::InvalidArgs);
    }
    // The code of an error of the protocol precedes wordings, unless it only says that something failed.
    let coded = of_mcp_error(begin);
    if let Some(outcome) = coded.filter(|outcome| *outcome != Failure(ErrorKind::Provider)) {
        return outcome;
    }
    let head = begin.to_ascii_lowercase();
    let known = WORDINGS
        .iter()
        .find(|(_, wordings)| wordings.iter().any(|wording| head.contains(wording)));
    let known = known.map(|(outcome, _)| *outcome);
    known.or(coded).unwrap_or(Failure(ErrorKind::Other))
}

/// Returns whether the Python SDK of MCP says so of arguments that do not fit.
fn is_of_python(text: &str) -> bool {
    let line = text.lines().next().unwrap_or("").trim_end();
    line.starts_with("Error executing tool ")
        && line.contains(" validation error")
        && line.ends_with("Arguments")
}

/// Returns the outcome for an error of MCP, as the TypeScript SDK (`MCP error -32602: ...`) and rmcp
/// (`Mcp error: -32602: ...`) write it.
fn of_mcp_error(text: &str) -> Option<Outcome> {
    let starts = ["MCP error ", "Mcp error: "];
    let error = starts.iter().find_map(|start| text.split_once(start))?.1;
    let (code, message) = error.split_once(':')?;
    let code: i64 = code.parse().ok()?;
    Some(Verdict::mcp(true, format_args!("MCP error {code}:{message}")).outcome())
}

/// Returns the exit status in the first line of a text, as in `Exit code 2`.
pub(crate) fn exit_code(text: &str) -> Option<i64> {
    let line = text.lines().next()?;
    let rest = ["Exit code: ", "Exit code ", "Process exited with code "]
        .iter()
        .find_map(|start| line.strip_prefix(start))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Returns the outcome of a call whose agent records only the text of the result.
pub(crate) fn of_output(text: &str) -> Outcome {
    let line = text.trim_start().lines().next().unwrap_or("");
    let line = begin_of(line, 400).to_ascii_lowercase();
    let begins = |starts: &[&str]| starts.iter().any(|start| line.starts_with(start));
    let ends = |ends: &[&str]| ends.iter().any(|end| line.trim_end().ends_with(end));
    if begins(&["execution timed out", "command timed out", "the command '"])
        && line.contains("timed out")
    {
        Failure(ErrorKind::Timeout)
    } else if begins(&[
        "your proposed edit has introduced",
        "invalid ",
        "usage: ",
        "no replacement was performed",
        "error: invalid",
    ]) {
        Failure(ErrorKind::InvalidArgs)
    } else if ends(&[
        ": command not found",
        ": no such file or directory",
        ": no such file",
        ": not found",
        "(no such file or directory)",
    ]) || (begins(&["file ", "directory "]) && ends(&[" not found", " not found."]))
    {
        Failure(ErrorKind::NotFound)
    } else if ends(&[": permission denied"]) {
        Failure(ErrorKind::PermissionDenied)
    } else if begins(&["traceback (most recent call last)", "error: ", "fatal: "]) {
        Failure(ErrorKind::ToolError)
    } else {
        Outcome::Success
    }
}

#[cfg(test)]
mod tests {
    use super::{of_error, of_output};
    use toolmeter::{ErrorKind, Outcome};

    #[test]
    fn an_error_is_of_the_kind_that_its_wording_says() {
        use ErrorKind::*;
        for (text, outcome) in [
            (
                "The user doesn't want to proceed with this",
                Outcome::Rejected,
            ),
            ("exec command rejected by user", Outcome::Rejected),
            (
                "[Request interrupted by user for tool use]",
                Outcome::Cancelled,
            ),
            ("Sibling tool call errored", Outcome::Cancelled),
            ("Command timed out after 2m", Outcome::Failure(Timeout)),
            ("HTTP 429: Too Many Requests", Outcome::Failure(RateLimited)),
            (
                "InputValidationError: a is missing",
                Outcome::Failure(InvalidArgs),
            ),
            (
                "String to replace not found in file.",
                Outcome::Failure(InvalidArgs),
            ),
            ("ENOENT: open 'x'", Outcome::Failure(NotFound)),
            (
                "Permission denied (os error 13)",
                Outcome::Failure(PermissionDenied),
            ),
            ("connect ECONNREFUSED", Outcome::Failure(Network)),
            ("getaddrinfo ENOTFOUND x.test", Outcome::Failure(Network)),
            ("lookup x.test: no such host", Outcome::Failure(Network)),
            // Claude Code.
            (
                "Cancelled: parallel tool call Bash(x) errored",
                Outcome::Cancelled,
            ),
            (
                "Exit code 137\n[Request interrupted by user for tool use]",
                Outcome::Cancelled,
            ),
            ("Exit code 137\nKilled", Outcome::Failure(ToolError)),
            (
                "Permission for this action was denied by the Claude Code auto mode classifier.",
                Outcome::Rejected,
            ),
            (
                "m is temporarily unavailable, so auto mode cannot determine the safety of Bash",
                Outcome::Rejected,
            ),
            ("The tool use was rejected", Outcome::Rejected),
            (
                "File is in a directory that is denied by your permission settings.",
                Outcome::Rejected,
            ),
            // Copilot.
            (
                "Permission denied and could not request permission from user",
                Outcome::Rejected,
            ),
            // Codex.
            ("user cancelled MCP tool call", Outcome::Rejected),
            ("user rejected MCP tool call", Outcome::Rejected),
            (
                "MCP tool call requires approval, but approval policy is never",
                Outcome::Rejected,
            ),
            // SDKs of MCP.
            (
                "Error executing tool add: 1 validation error for addArguments\nb\n  Field required",
                Outcome::Failure(InvalidArgs),
            ),
            (
                "Error executing tool add: 1 validation error for a file",
                Outcome::Failure(Other),
            ),
            (
                "MCP error -32000: Connection closed",
                Outcome::Failure(Network),
            ),
            ("MCP error -32602: x", Outcome::Failure(InvalidArgs)),
            (
                "MCP error -32602: Tool x not found",
                Outcome::Failure(NotFound),
            ),
            ("MCP error -32603: it timed out", Outcome::Failure(Timeout)),
            ("MCP error -32603: x", Outcome::Failure(Provider)),
            (
                "tool call failed for `a/b`\n\nCaused by:\n    Mcp error: -32601: x",
                Outcome::Failure(NotFound),
            ),
            // The status takes precedence over what the command wrote.
            (
                "Exit code 1\nx: command not found",
                Outcome::Failure(ToolError),
            ),
            ("Exit code 0\nx: not found", Outcome::Failure(NotFound)),
            ("something else", Outcome::Failure(Other)),
            ("", Outcome::Failure(Other)),
        ] {
            assert_eq!(of_error(text), outcome, "{text}");
        }
        let late = format!("{}timed out", "é".repeat(400));
        assert_eq!(of_error(&late), Outcome::Failure(Other));
    }

    #[test]
    fn an_output_is_an_error_only_where_it_begins_like_one() {
        use ErrorKind::*;
        for (text, kind) in [
            ("\nEXECUTION TIMED OUT", Timeout),
            ("The command 'x' was cancelled: it timed out", Timeout),
            (
                "Your proposed edit has introduced new syntax error(s)",
                InvalidArgs,
            ),
            ("bash: x: command not found", NotFound),
            ("cat: x: Permission denied", PermissionDenied),
            ("Traceback (most recent call last):", ToolError),
        ] {
            assert_eq!(of_output(text), Outcome::Failure(kind), "{text}");
        }
        for text in [
            "",
            "1: timed out",
            "def x():\n# bash: x: command not found",
            "[File: e]",
        ] {
            assert_eq!(of_output(text), Outcome::Success, "{text}");
        }
    }
}
