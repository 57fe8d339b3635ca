//! Every byte that it leaves says which attempt made it: its result, its log and its file. Its params may say "slow", so
//! that the first attempt takes a while, and "large", so that the file has more than a megabyte.

use std::time::Duration;
use std::{env, fs, thread};

fn main() {
    let attempt = env::var("LONGBOAT_ATTEMPT").expect("it is told its attempt");
    let params = env::var("LONGBOAT_PARAMS").unwrap_or_default();
    let words = format!("made by attempt {attempt}");
    let lines = if params.contains("large") { 60_000 } else { 1_000 };
    fs::write("/result/witness.txt", format!("{words}\n").repeat(lines)).expect("the result directory can be written to");
    if attempt == "1" && params.contains("slow") {
        thread::sleep(Duration::from_secs(2));
    }
    eprintln!("{words}");
    println!("{{\"words\": \"{words}\"}}");
}
