//! Where the program's own log goes: to standard error, as text.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts logging. `RUST_LOG` wins over what the command line asks for.
pub fn start(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "longboat=info,warn",
        _ => "longboat=debug,info",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        // What cannot be written to standard error cannot be told there either; it would panic.
        .log_internal_errors(false)
        .init();
}
