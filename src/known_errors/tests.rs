use super::testing::{Layer, timed_out, wrapped};
use super::*;

#[test]
fn the_cause_is_found_at_any_depth() {
    for depth in [1, 2, 10, 1_000] {
        let error = wrapped(depth, timed_out());
        assert_eq!(
            outcome(&error),
            Outcome::Failure(ErrorKind::Timeout),
            "{depth}"
        );
    }
    let nothing_known = Layer(0, None);
    assert_eq!(outcome(&nothing_known), Outcome::Failure(ErrorKind::Other));
    // A chain that is longer than what is followed, and one that an io error begins.
    let endless = wrapped(2_000, timed_out());
    assert_eq!(outcome(&endless), Outcome::Failure(ErrorKind::Other));
    let io = io::Error::other(wrapped(3, timed_out()));
    assert_eq!(outcome(&io), Outcome::Failure(ErrorKind::Timeout));
}

/// `io::Error::source` gives the cause of what it holds, and leaves that itself out.
#[test]
fn what_an_io_error_holds_is_looked_at_itself() {
    let held = ToolError::new(ErrorKind::RateLimited, "in 30 s");
    let error = io::Error::other(held);
    assert_eq!(outcome(&error), Outcome::Failure(ErrorKind::RateLimited));
}

#[test]
fn known_errors_keep_their_kind() {
    let kind = |error: &(dyn Error + 'static)| outcome(error).error_kind();
    let io = |kind: io::ErrorKind| io::Error::from(kind);
    assert_eq!(
        kind(&io(io::ErrorKind::NotFound)),
        Some(ErrorKind::NotFound)
    );
    assert_eq!(
        kind(&io(io::ErrorKind::PermissionDenied)),
        Some(ErrorKind::PermissionDenied)
    );
    assert_eq!(kind(&io(io::ErrorKind::TimedOut)), Some(ErrorKind::Timeout));
    assert_eq!(
        kind(&io(io::ErrorKind::InvalidInput)),
        Some(ErrorKind::InvalidArgs)
    );
    assert_eq!(
        kind(&io(io::ErrorKind::ConnectionRefused)),
        Some(ErrorKind::Network)
    );
    assert_eq!(
        kind(&io(io::ErrorKind::InvalidData)),
        Some(ErrorKind::Other)
    );
    let json = serde_json::from_str::<u8>("x").unwrap_err();
    assert_eq!(kind(&json), Some(ErrorKind::InvalidArgs));
    assert_eq!(
        kind(&"4o".parse::<u8>().unwrap_err()),
        Some(ErrorKind::InvalidArgs)
    );
    let late = std::sync::mpsc::RecvTimeoutError::Timeout;
    assert_eq!(kind(&late), Some(ErrorKind::Timeout));
    assert_eq!(outcome(&ToolError::cancelled("stop")), Outcome::Cancelled);
}
