//! Where the program's own log goes: to standard error, as text.

use std::io::IsTerminal;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging. `RUST_LOG`, such as `longboat=debug,hyper=info`, wins over what the command line asks for.
pub fn start(verbose: u8) {
    let asked = std::env::var("RUST_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    let filter = asked.unwrap_or_else(|| match verbose {
        0 => Targets::new().with_default(LevelFilter::WARN),
        1 => Targets::new().with_target("longboat", LevelFilter::INFO).with_default(LevelFilter::WARN),
        _ => Targets::new().with_target("longboat", LevelFilter::DEBUG).with_default(LevelFilter::INFO),
    });
    let text = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        // What cannot be written to standard error cannot be told there either; it would panic.
        .log_internal_errors(false);
    tracing_subscriber::registry().with(text.with_filter(filter)).init();
}
