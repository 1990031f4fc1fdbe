//! A proxy that meters any server of the Model Context Protocol on stdio, when its name is put
//! in front of the server's command.
//!
//! ```text
//! client --- stdin ---> forward ---> the server's stdin
//!                          | lines
//!                       scan, follow ---> registry ---> table, snapshot, events
//!                          | lines
//! client <-- stdout --- forward <--- the server's stdout
//! ```
//!
//! | file | what it owns |
//! | --- | --- |
//! | `scan/` | bytes as messages, in bounded memory |
//! | `follow.rs` | messages of both directions as calls |
//! | `forward.rs` | bytes on their way |
//! | `proxy.rs` | the server's process, and in what order things end |
//! | `../common/output.rs` | the snapshot's file, and events |
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
mod summary;

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    let done = match args::parse(std::env::args_os().skip(1)) {
        Ok(Some(args)) => proxy::run(&args),
        Ok(None) => {
            print!("{}", args::HELP);
            return std::process::ExitCode::SUCCESS;
        }
        Err(error) => Err(error),
    };
    match done {
        // Not by returning: that would wait for what reads the client's bytes.
        Ok(status) => std::process::exit(status),
        Err(error) => {
            eprintln!("mcp_proxy: {error}");
            std::process::ExitCode::from(2)
        }
    }
}

#[cfg(not(unix))]
fn main() -> std::process::ExitCode {
    eprintln!("mcp_proxy: needs Unix, whose signals and pipes it passes on");
    std::process::ExitCode::from(2)
}
