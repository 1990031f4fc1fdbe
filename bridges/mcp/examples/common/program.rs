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
            say_line(&format!("{name}: {error}"));
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

/// Waits for SIGTERM or an interrupt. From the first poll on, neither ends the process by itself.
///
/// # Errors
///
/// If signals cannot be waited for.
pub(crate) async fn told_to_end() -> io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            _ = terminate.recv() => Ok(()),
            interrupted = tokio::signal::ctrl_c() => interrupted,
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
