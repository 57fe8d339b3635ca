//! The `longboat` program.
fn main() {}
