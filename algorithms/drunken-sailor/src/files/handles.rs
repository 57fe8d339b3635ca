//! Ways to hold more than one can carry.

use crate::{Params, Seen};
use longboat_sdk::{Failure, Job};
use std::fs::{self, File};
use std::hint::black_box;
use std::io;

/// How many handles it wants.
const HANDLES: u64 = 100_000;
/// How many files it makes to list them.
const LISTED: u64 = 500;

/// Opens one file until that is refused, and keeps all of the handles.
pub fn open_files(job: &Job<Params>) -> Seen {
    keep(job, || File::create(job.result_dir().join("one")))
}

/// Starts listings until one is refused, and keeps all of them.
pub fn open_directories(job: &Job<Params>) -> Seen {
    keep(job, || fs::read_dir(job.result_dir()))
}

fn keep<T>(job: &Job<Params>, mut open: impl FnMut() -> io::Result<T>) -> Seen {
    let (mut seen, mut kept) = (Seen::default(), Vec::new());
    while seen.refused == 0 && seen.made < job.params.count.unwrap_or(HANDLES) {
        kept.extend(seen.count(open()));
    }
    black_box(kept);
    seen
}

/// Lists a directory of many files over and over.
pub fn list_for_ever(job: &Job<Params>) -> Result<Seen, Failure> {
    for number in 0..job.params.count.unwrap_or(LISTED) {
        File::create(job.result_dir().join(number.to_string()))?;
    }
    loop {
        black_box(fs::read_dir(job.result_dir())?.count());
    }
}
