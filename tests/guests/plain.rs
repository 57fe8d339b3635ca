//! A program that knows nothing of Longboat: it reads, says what it read, and leaves a file.

use std::fs;
use std::io::{self, Read};

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| "null".to_owned())
}

fn main() -> io::Result<()> {
    let mut input = Vec::new();
    io::stdin().read_to_end(&mut input)?;
    eprintln!("read {} bytes", input.len());
    fs::create_dir("/result/copies")?;
    fs::write("/result/copies/input.txt", &input)?;
    println!(
        "{{\"bytes\": {}, \"lines\": {}, \"id\": \"{}\", \"attempt\": {}, \"params\": {}, \"seed\": {}, \"secret\": {}}}",
        input.len(),
        input.iter().filter(|byte| **byte == b'\n').count(),
        variable("LONGBOAT_JOB_ID"),
        variable("LONGBOAT_ATTEMPT"),
        variable("LONGBOAT_PARAMS"),
        variable("LONGBOAT_SEED"),
        variable("SECRET"),
    );
    Ok(())
}
