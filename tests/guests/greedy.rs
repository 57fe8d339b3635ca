//! Wants more than it may have, in the way that its params name.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::time::{Duration, SystemTime};

const MIB: usize = 1 << 20;

fn main() {
    let params = std::env::var("LONGBOAT_PARAMS").unwrap_or_default();
    let want = params.split('"').nth(3).unwrap_or("nothing").to_owned();
    match want.as_str() {
        "nothing" => println!("{{}}"),
        "fuel" => loop {
            std::hint::spin_loop();
        },
        "time" => std::thread::sleep(Duration::from_secs(3600)),
        "memory" => println!("{}", std::hint::black_box(vec![1_u8; 300 * MIB])[7]),
        "memory-and-cope" => {
            let refused = Vec::<u8>::new().try_reserve_exact(300 * MIB).is_err();
            println!("{{\"refused\": {refused}}}");
        }
        "document" => println!("\"{}\"", "x".repeat(9 * MIB)),
        "log" => {
            let line = format!("{}\n", "x".repeat(99));
            for _ in 0..30_000 {
                eprint!("{line}");
            }
            eprintln!("the end");
            println!("{{}}");
        }
        "size" => {
            let mut file = File::create("/result/large").expect("the first file is within the quota");
            file.write_all(&vec![0; 2 * MIB]).expect("the quota is larger");
            println!("{{}}");
        }
        "files" => {
            println!("{}", make_files().1);
            std::process::exit(1);
        }
        "files-and-cope" => {
            let (made, error) = make_files();
            println!("{{\"made\": {made}, \"error\": {:?}}}", error.to_string());
        }
        "many-handles" => {
            let files: Vec<_> = (0..100_000).map_while(|_| File::create("/result/one").ok()).collect();
            println!("{{\"held\": {}}}", files.len());
        }
        "panic" => panic!("as it was asked to"),
        "deep" => println!("{}", deeper(u64::MAX)),
        "exit-7" => std::process::exit(7),
        "exit-65" => std::process::exit(65),
        "silence" => {}
        "prose" => println!("all is well"),
        "two-values" => println!("{{}} {{}}"),
        "latin1" => io::stdout().write_all(b"\"\xe9\"").expect("standard output takes bytes"),
        "nesting" => println!("{}{}", "[".repeat(200_000), "]".repeat(200_000)),
        "numbers" => println!("[1e400, -123456789012345678901234567890, 0.1000000000000000055511151231257827]"),
        "escapes" => eprintln!("\x1b]0;owned\x07\x1b[2Jwiped"),
        "dice" => println!("{}", dice()),
        other => panic!("no such want: {other}"),
    }
}

/// Makes files until one is refused; how many, and why no more.
fn make_files() -> (usize, io::Error) {
    (0..)
        .find_map(|number| File::create(format!("/result/{number}")).err().map(|error| (number, error)))
        .expect("there is an end to everything")
}

#[allow(unconditional_recursion)]
fn deeper(depth: u64) -> u64 {
    std::hint::black_box([depth; 64])[7] + deeper(std::hint::black_box(depth - 1))
}

/// All that could differ between two runs.
fn dice() -> String {
    let random = std::collections::hash_map::RandomState::new();
    let hashed = std::hash::BuildHasher::hash_one(&random, 7);
    let since = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).expect("it is after 1970").as_nanos();
    let start = std::time::Instant::now();
    for name in ["b", "c", "a"] {
        fs::write(format!("/result/{name}"), name).expect("three small files are within the quota");
    }
    fs::remove_file("/result/c").expect("it was there");
    let names: Vec<_> = fs::read_dir("/result")
        .expect("the result directory can be listed")
        .map(|entry| entry.expect("and read").file_name().into_string().expect("its names are text"))
        .collect();
    let modified = fs::metadata("/result/a").and_then(|metadata| metadata.modified()).expect("files have times");
    let mut input = String::new();
    io::stdin().read_to_string(&mut input).expect("the input is text");
    std::thread::sleep(Duration::from_millis(3));
    format!(
        "{{\"hashed\": {hashed}, \"now\": \"{}\", \"took\": {}, \"names\": {names:?}, \"modified\": \"{}\", \
         \"address\": {}, \"input\": {input:?}}}",
        since(SystemTime::now()),
        start.elapsed().as_nanos(),
        since(modified),
        &raw const input as usize,
    )
}
