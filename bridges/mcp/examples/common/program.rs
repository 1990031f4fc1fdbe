//! The main function of a program on tokio, and the signals that end it.

use super::stderr::say_line;
use std::error::Error;
use std::future::Future;
use std::io::{self, Write};
use std::process::ExitCode;

/// Prints the help if there are no options, and otherwise does the work. An error is written to
/// stderr as one line, and the exit status is then 2.
pub(crate) fn run<O, W>(
    name: &str,
    help: &str,
    options: Result<Option<O>, Box<dyn Error>>,
    work: impl FnOnce(O) -> W,
) -> ExitCode
where
    W: Future<Output = Result<(), Box<dyn Error>>>,
{
    let done = match options {
        Ok(None) => {
            let _closed = writeln!(io::stdout(), "{help}");
            Ok(())
        }
        Ok(Some(options)) => block_on(work(options)),
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say_line(format_args!("{name}: {error}"));
            ExitCode::from(2)
        }
    }
}

fn block_on<W>(work: W) -> Result<(), Box<dyn Error>>
where
    W: Future<Output = Result<(), Box<dyn Error>>>,
{
    let runtime = tokio::runtime::Runtime::new()?;
    let done = runtime.block_on(work);
    // A thread may be reading stdin.
    runtime.shutdown_background();
    done
}

/// Waits for SIGTERM, an interrupt, a hangup or a quit. From the first poll on, none of them ends
/// the process by itself. One that the program was started to ignore stays ignored.
///
/// # Errors
///
/// If signals cannot be waited for.
pub(crate) async fn told_to_end() -> io::Result<()> {
    #[cfg(unix)]
    {
        use super::signals::is_ignored;
        use std::task::Poll;
        use tokio::signal::unix::{SignalKind, signal};
        let kinds = [
            SignalKind::terminate(),
            SignalKind::interrupt(),
            SignalKind::hangup(),
            SignalKind::quit(),
        ];
        let kinds = kinds.into_iter();
        let kinds = kinds.filter(|kind| !is_ignored(kind.as_raw_value()));
        let mut signals = kinds.map(signal).collect::<io::Result<Vec<_>>>()?;
        std::future::poll_fn(|context| {
            let mut signals = signals.iter_mut();
            if signals.any(|signal| signal.poll_recv(context).is_ready()) {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            }
        })
        .await
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
