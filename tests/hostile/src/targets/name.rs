//! Names of jobs, algorithms, tubes and modules.

use crate::{Target, text, texts};
use longboat::job::{AlgorithmRef, Digest, JobId, Tube};
use std::fmt::{Debug, Display};
use std::str::FromStr;

/// Names.
pub const TARGET: Target = Target {
    name: "name",
    check,
    cases: 20_000,
    largest: 120,
    samples: || {
        texts([
            "bc3a9250-99b9-012e-0f06-549a20077664",
            "bc3a925099b9012e0f06549a20077664",
            "drunken_sailor",
            "forecast@sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "night-+/;.$_()",
        ])
    },
    words: &["/", "..", "@", "sha256:", "-", "_", "\0", "{", "urn:uuid:", "é", "\u{202e}", "\r\n", "Ａ"],
    reached: &["a name", "refused"],
};

/// A name is refused, or prints as what reads back as itself and leads to no other place.
pub fn check(bytes: &[u8]) -> &'static str {
    let Some(text) = text(bytes) else { return "not text" };
    let names = [
        reads_back::<JobId>(text),
        reads_back::<AlgorithmRef>(text),
        reads_back::<Tube>(text),
        reads_back::<Digest>(text),
    ];
    if let Ok(id) = text.parse::<JobId>() {
        assert!(id.hex().len() == 32 && id.hex().bytes().all(|digit| digit.is_ascii_hexdigit()));
    }
    if let Ok(algorithm) = text.parse::<AlgorithmRef>() {
        let name = algorithm.name.as_str();
        assert!(!name.is_empty() && !name.starts_with('-') && !name.contains(['/', '.', '\\', '\0']), "{name:?}");
    }
    if names.contains(&true) { "a name" } else { "refused" }
}

fn reads_back<T: FromStr<Err: Display + Debug> + Display + PartialEq + Debug>(text: &str) -> bool {
    match text.parse::<T>() {
        Ok(name) => {
            assert_eq!(name.to_string().parse::<T>().expect("what is printed can be read"), name);
            true
        }
        Err(error) => {
            let message = error.to_string();
            assert!(!message.is_empty() && message.len() < 1000, "{message}");
            assert!(!message.contains(char::is_control), "nothing hostile reaches a terminal: {message:?}");
            false
        }
    }
}
