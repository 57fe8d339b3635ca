//! A command whose result is its params.

fn main() {
    println!("{}", std::env::var("LONGBOAT_PARAMS").expect("the host sets it"));
}
