//! As little as a command can do: it says what its result is.

fn main() {
    println!("null");
}
