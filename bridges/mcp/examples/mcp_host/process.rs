//! The process of a server, from its start to its end.
//!
//! Guarantee: when [`Process::end`] and then [`Process::kill`] have returned, neither the server nor
//! a process that it started runs on, except one that left the server's process group or that the
//! system cannot kill. Where there are no process groups, this holds for the server alone.
//!
//! The steps are those of the protocol's shutdown for stdio: the server's input is closed; the
//! processes that do not end then get SIGTERM, and SIGKILL at last. The group is signalled as long
//! as one process is in it, even if its leader, often a shell or `npx`, has ended. Until then the
//! system does not give the group's number to another.
//!
//! A process that has ended stays in its group until its parent waits for it. On Linux the host takes
//! the place of a parent that has ended, so that it does not depend on when process 1 waits.

use std::io;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// The time between two checks of a group whose leader has ended.
#[cfg(unix)]
const LOOK: Duration = Duration::from_millis(10);

/// Makes the host the parent of processes of its servers whose own parent has ended.
pub(crate) fn adopt_orphans() {
    // Without it, a server's end may be noticed late.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}

/// The longest wait for a killed process.
const REAPED: Duration = Duration::from_secs(1);

/// A server that was started. Dropping it kills the process itself.
pub(crate) struct Process {
    child: Child,
    /// Its process group, until no process is left in it.
    #[cfg(unix)]
    group: Option<rustix::process::Pid>,
    /// Set once every process has ended.
    is_over: bool,
}

impl Process {
    /// Starts a command in a process group of its own. Also returns its output and its input.
    pub(crate) fn start(mut command: Command) -> io::Result<(Self, (ChildStdout, ChildStdin))> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.kill_on_drop(true);
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn()?;
        let (Some(output), Some(input)) = (child.stdout.take(), child.stdin.take()) else {
            return Err(io::Error::other("it has no standard input or output"));
        };
        let process = Self {
            #[cfg(unix)]
            group: child
                .id()
                .and_then(|id| i32::try_from(id).ok())
                .and_then(rustix::process::Pid::from_raw),
            child,
            is_over: false,
        };
        Ok((process, (output, input)))
    }

    /// Waits for the end of a server whose input is closed. After `grace` it is sent SIGTERM, and
    /// waited for as long again.
    pub(crate) async fn end(&mut self, grace: Duration) {
        if timeout(grace, self.ended()).await.is_ok() {
            return;
        }
        #[cfg(unix)]
        {
            self.signal(rustix::process::Signal::TERM);
            let _ = timeout(grace, self.ended()).await;
        }
    }

    /// Kills the processes that are left. Returns `false` if all of them are known to have ended.
    pub(crate) async fn kill(mut self) -> bool {
        if self.is_over {
            return false;
        }
        #[cfg(unix)]
        self.signal(rustix::process::Signal::KILL);
        #[cfg(not(unix))]
        let _ = self.child.start_kill();
        let _ = timeout(REAPED, self.child.wait()).await;
        true
    }

    /// Waits until no process is left. The future may be dropped, and the function called again.
    async fn ended(&mut self) {
        if self.is_over {
            return;
        }
        let _ = self.child.wait().await;
        #[cfg(unix)]
        while let Some(group) = self.group {
            use rustix::process::{WaitOptions, waitpgid};
            while matches!(waitpgid(group, WaitOptions::NOHANG), Ok(Some(_))) {}
            if rustix::process::test_kill_process_group(group).is_err() {
                self.group = None;
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        self.is_over = true;
    }

    /// Signals the server and the processes that it started.
    #[cfg(unix)]
    fn signal(&self, signal: rustix::process::Signal) {
        if let Some(group) = self.group {
            let _ = rustix::process::kill_process_group(group, signal);
        }
    }
}
