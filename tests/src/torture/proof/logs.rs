//! What the workers said while they lived: evidence that does not come from the queue.

use anyhow::{Context, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Checks that no two workers ever began, or ended, the same attempt, and that only what is published was completed.
pub fn check(logs: &Path, published: &BTreeMap<String, u64>) -> anyhow::Result<()> {
    let (mut started, mut ended) = (BTreeSet::new(), BTreeSet::new());
    for entry in fs::read_dir(logs)? {
        let path = entry?.path();
        // A worker that was killed may have left half a character.
        let text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
        // What a guest has logged is marked; some of them panic, as they should.
        if let Some(panic) = text.lines().find(|line| !line.starts_with(" | ") && line.contains("panicked at")) {
            bail!("{} tells of a panic: {panic}", path.display());
        }
        let mut last = None;
        for line in text.lines() {
            if let Some(attempt) = attempt(line, "### Started job ") {
                ensure!(started.insert(attempt.clone()), "attempt {} of {} began twice", attempt.1, attempt.0);
            } else if let Some(attempt) = attempt(line, "### Ended job ") {
                ensure!(ended.insert(attempt.clone()), "attempt {} of {} ended twice", attempt.1, attempt.0);
                last = Some(attempt);
            } else if line.starts_with(" + job completed") {
                let (id, attempt) = last.take().context("a job that was completed has ended")?;
                ensure!(published.get(&id) == Some(&attempt), "attempt {attempt} of {id} was completed as well");
            }
        }
    }
    ensure!(!ended.is_empty(), "no worker said anything");
    Ok(())
}

/// The job and the attempt that a line such as `### Started job ID, …, attempt 2` tells of.
fn attempt(line: &str, beginning: &str) -> Option<(String, u64)> {
    let (id, rest) = line.strip_prefix(beginning)?.split_once(',')?;
    let number = rest.split_once("attempt ")?.1;
    let number = number.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((id.to_owned(), number.parse().ok()?))
}
