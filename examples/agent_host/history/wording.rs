//! The outcomes of calls, from the wording of their results.
//!
//! Only the beginning of a text is searched. A text that is not known to be an error is treated as
//! one only if it begins like no ordinary output. So the contents of a file about errors are not an
//! error.

use super::json::begin_of;
use toolmeter::{ErrorKind, Outcome};

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
        ],
    ),
    (
        Cancelled,
        &[
            "interrupted by user",
            "aborted by user",
            "operation aborted",
            "sibling tool call errored",
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
    (
        Failure(ErrorKind::Network),
        &[
            "connection refused",
            "connection reset",
            "econnrefused",
            "could not resolve host",
            "network error",
            "fetch failed",
        ],
    ),
];

/// Returns the outcome of a call whose result is known to be an error.
pub(crate) fn of_error(text: &str) -> Outcome {
    let text = text.trim_start();
    if exit_code(text).is_some_and(|code| code != 0) {
        return Failure(ErrorKind::ToolError);
    }
    let head = begin_of(text, 400).to_ascii_lowercase();
    let known = WORDINGS
        .iter()
        .find(|(_, wordings)| wordings.iter().any(|wording| head.contains(wording)));
    known.map_or(Failure(ErrorKind::Other), |(outcome, _)| *outcome)
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
