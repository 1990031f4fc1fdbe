//! A proxy that meters any server of the Model Context Protocol on stdio. Its name is put in front
//! of the server's command.
//!
//! ```text
//! client --- stdin ---> forward ---> the server's stdin
//!                          | lines
//!                       scan, follow ---> registry ---> table, snapshot, events
//!                          | lines
//! client <-- stdout --- forward <--- the server's stdout
//! ```
//!
//! | file | responsible for |
//! | --- | --- |
//! | `scan/` | reading bytes as messages, in bounded memory |
//! | `follow.rs` | following the calls in the messages of both directions |
//! | `forward.rs` | copying the bytes |
//! | `proxy.rs` | the server's process, and the order of the end |
//! | `../common/output.rs` | the snapshot's file, and events |
//! | `../common/stderr.rs` | writing to stderr while it is read |
//! | `../common/signals.rs` | the signals that are ignored |
//! | `summary.rs` | the table at the end |

#[cfg(unix)]
mod args;
#[cfg(unix)]
mod follow;
#[cfg(unix)]
mod forward;
#[cfg(unix)]
#[path = "../common/output.rs"]
mod output;
#[cfg(unix)]
mod proxy;
#[cfg(unix)]
mod scan;
#[cfg(unix)]
#[path = "../common/signals.rs"]
mod signals;
#[cfg(unix)]
#[path = "../common/stderr.rs"]
mod stderr;
#[cfg(unix)]
mod summary;

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    let done = match args::parse(std::env::args_os().skip(1)) {
        Ok(Some(args)) => proxy::run(&args),
        Ok(None) => {
            let _closed = std::io::Write::write_all(&mut std::io::stdout(), args::HELP.as_bytes());
            return std::process::ExitCode::SUCCESS;
        }
        Err(error) => Err(error),
    };
    match done {
        // The server's status is an `i32`, which no `ExitCode` is made from.
        Ok(status) => std::process::exit(status),
        Err(error) => {
            stderr::say_line(format_args!("mcp_proxy: {error}"));
            std::process::ExitCode::from(2)
        }
    }
}

#[cfg(not(unix))]
fn main() -> std::process::ExitCode {
    eprintln!("mcp_proxy: runs on Unix only");
    std::process::ExitCode::from(2)
}
