//! Calls of the host with arguments that no compiler would make.

use crate::guest::{compile_own, endure};
use crate::wasi::{FUNCTIONS, Script, player};
use crate::{Target, no_samples};
use arbitrary::Unstructured;
use longboat::sandbox::Program;
use std::sync::{Arc, LazyLock};

const MOST_CALLS: usize = 60;
/// Every argument of a call takes a byte or two of the case.
const LARGEST: usize = 2_000;

static PLAYER: LazyLock<Arc<Program>> = LazyLock::new(|| compile_own(&player()));

/// Host calls.
pub const TARGET: Target = Target {
    name: "calls",
    check,
    cases: 1_000,
    largest: LARGEST,
    samples: no_samples,
    words: &[],
    // A bad pointer is answered with an error number, so a call does not trap.
    reached: &["bad-result", "failed"],
};

/// Whatever a guest asks of the host, it runs to a verdict of its own within its bounds.
pub fn check(bytes: &[u8]) -> &'static str {
    let mut bytes = Unstructured::new(bytes);
    let script = script(&mut bytes).unwrap_or_else(|_| Script::new());
    endure(&PLAYER, script.into_bytes()).verdict.kind()
}

fn script(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Script> {
    let mut script = Script::new();
    let long = "n".repeat(256);
    let texts = ["a", "b", "a/b", "../x", "/etc/passwd", "\0", "é", "a/../..", "", &long];
    let mut places: Vec<u64> = texts.iter().map(|text| script.data(text.as_bytes()).into()).collect();
    // Lists of buffers: a short one, one that reaches beyond the memory, one of no bytes, and whatever comes.
    for (start, length) in [(places[0], 100), (places[1], u64::from(u32::MAX)), (0, 0), (places[8], 1 << 16)] {
        places.push(script.data(&((length << 32) | start).to_le_bytes()).into());
    }
    let any: [u8; 48] = bytes.arbitrary()?;
    places.push(script.data(&any).into());
    for _ in 0..bytes.int_in_range(1..=MOST_CALLS)? {
        let (name, parameters) = *bytes.choose(&FUNCTIONS)?;
        // Nothing comes after an exit.
        if name == "proc_exit" && bytes.ratio(4, 5)? {
            continue;
        }
        let arguments = parameters.chars().map(|_| argument(bytes, &places)).collect::<arbitrary::Result<Vec<_>>>()?;
        script.call(name, &arguments);
        if bytes.is_empty() {
            break;
        }
    }
    Ok(script)
}

/// A descriptor, a flag or a length; the address of something; a number at some edge; or anything.
fn argument(bytes: &mut Unstructured<'_>, places: &[u64]) -> arbitrary::Result<u64> {
    Ok(match bytes.int_in_range(0..=9)? {
        0..=4 => bytes.int_in_range(0..=8)?,
        5..=7 => *bytes.choose(places)?,
        8 => *bytes.choose(&[0, 1 << 16, 0x7fff_ffff, 0xffff_ffff, i64::MAX as u64, u64::MAX, 65_535, 1 << 32])?,
        _ => bytes.arbitrary()?,
    })
}
