//! Ways to leave more than the quota allows.

use crate::{Params, Seen};
use longboat_sdk::{Failure, Job};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};

/// What is written at a time, in bytes.
const CHUNK: usize = 64 << 10;
/// A size that no quota allows, in bytes.
const ENORMOUS: u64 = 1 << 50;
/// What is cut and extended again, in bytes.
const SMALL: u64 = 1 << 20;
/// How often a file takes another's place.
const ROUNDS: u64 = 2000;

/// Makes files until one is refused.
pub fn files(job: &Job<Params>) -> (u64, io::Error) {
    let make = |number: &u64| File::create(job.result_dir().join(number.to_string())).err();
    let refused = (0..).find_map(|number| make(&number).map(|error| (number, error)));
    refused.unwrap_or_else(|| (u64::MAX, io::Error::other("nobody refuses anything")))
}

/// Writes bytes into one file until some are refused.
pub fn bytes(job: &Job<Params>) -> io::Error {
    until_refused(|| {
        let mut file = File::create(job.result_dir().join("bytes"))?;
        loop {
            file.write_all(&[b'x'; CHUNK])?;
        }
    })
}

/// Appends to one file through many handles in turn until that is refused.
pub fn append(job: &Job<Params>) -> io::Error {
    let open = || OpenOptions::new().append(true).create(true).open(job.result_dir().join("appended"));
    until_refused(|| {
        let mut files = [open()?, open()?, open()?, open()?];
        loop {
            for file in &mut files {
                file.write_all(&[b'x'; CHUNK])?;
            }
        }
    })
}

/// Writes files that have no name any more until that is refused.
pub fn unlink_open(job: &Job<Params>) -> io::Error {
    let path = job.result_dir().join("nameless");
    until_refused(|| {
        let mut kept = Vec::new();
        loop {
            let mut file = File::create(&path)?;
            fs::remove_file(&path)?;
            file.write_all(&[b'x'; CHUNK])?;
            kept.push(file);
        }
    })
}

/// Repeats the work that ends only with an error.
fn until_refused(work: impl FnOnce() -> io::Result<std::convert::Infallible>) -> io::Error {
    match work() {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

/// Extends a file with nothing in it.
pub fn sparse(job: &Job<Params>) -> io::Result<Seen> {
    let file = File::create(job.result_dir().join("sparse"))?;
    file.set_len(job.params.size.unwrap_or(ENORMOUS))?;
    Ok(Seen { made: 1, ..Seen::default() })
}

/// Writes one byte, far out.
pub fn seek(job: &Job<Params>) -> io::Result<Seen> {
    let mut file = File::create(job.result_dir().join("far"))?;
    file.seek(SeekFrom::Start(job.params.size.unwrap_or(ENORMOUS)))?;
    file.write_all(b"x")?;
    Ok(Seen { made: 1, ..Seen::default() })
}

/// Moves one file after the other over the same name: what a quota counted must be given back each time.
///
/// # Errors
/// The directory's.
pub fn rename(job: &Job<Params>) -> Result<Seen, Failure> {
    let rounds = job.params.count.unwrap_or(ROUNDS);
    let (new, old) = (job.result_dir().join("new"), job.result_dir().join("old"));
    for round in 0..rounds {
        fs::write(&new, round.to_string())?;
        fs::rename(&new, &old)?;
    }
    Ok(Seen { made: rounds, ..Seen::default() })
}

/// Extends a file and cuts it again, over and over.
pub fn truncate(job: &Job<Params>) -> io::Result<Seen> {
    let file = File::create(job.result_dir().join("accordion"))?;
    loop {
        file.set_len(job.params.size.unwrap_or(SMALL))?;
        file.set_len(0)?;
    }
}

/// Writes the same bytes over and over.
pub fn overwrite(job: &Job<Params>) -> io::Result<Seen> {
    let mut file = File::create(job.result_dir().join("same"))?;
    loop {
        file.rewind()?;
        file.write_all(&[b'x'; CHUNK])?;
    }
}
