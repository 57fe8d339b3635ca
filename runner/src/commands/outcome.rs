//! What attempts left: logs and documents in the queue, files on this node, and where the files of other
//! nodes are.

use super::Usage;
use super::node::{Node, find};
use crate::output;
use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use longboat::job::{AttemptRecord, FileEntry, JobId, Record, Verdict};
use longboat::policy::display_url;
use longboat::queue::{Published, Queue};
use longboat::results::Files;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Component, Path};
use std::time::Duration;
use url::Url;

/// The longest log that is read, in bytes.
const MOST: usize = 256 << 20;
/// How often the log of a cancelled attempt is looked for, and how long each wait is.
const CANCELLED_LOOKS: (u32, Duration) = (40, Duration::from_millis(50));

/// The attempt of this number in a job's history.
pub fn made(record: &Record, attempt: u32) -> Option<&AttemptRecord> {
    record.history.iter().flatten().find(|made| made.attempt == attempt)
}

/// The result document of an attempt, as JSON.
///
/// # Errors
/// If a version before 0.2 made it, and it is on another node.
pub async fn document(node: &Node, queue: &dyn Queue, id: JobId, published: Published) -> anyhow::Result<Vec<u8>> {
    if !published.document.is_empty() {
        return Ok(published.document);
    }
    let reader = node.reader();
    match reader.old_document(id, published.attempt) {
        Ok(document) => Ok(document),
        Err(error) => Err(elsewhere(&find(queue, id).await?, published.attempt, &reader.directory(id), "", &error)),
    }
}

/// Reads the log that is kept of an attempt that has ended; nothing if it was lost or cancelled before it
/// logged.
///
/// # Errors
/// The queue's, or the disk's; that another node has the log, if the attempt was made by a version before
/// 0.2.
pub async fn kept_log(
    node: &Node,
    queue: &dyn Queue,
    record: &Record,
    attempt: u32,
) -> anyhow::Result<Option<Vec<u8>>> {
    let made = made(record, attempt);
    // A cancel ends the attempt at once. The worker stops the guest a moment later, and then keeps its log.
    let is_cancelled = made.is_some_and(|made| {
        let since = |at| Timestamp::now().duration_since(at);
        let is_recent = made.finished_at.is_some_and(|at| since(at) < SignedDuration::from_secs(5));
        is_recent && matches!(made.verdict, Some(Verdict::Cancelled { .. }))
    });
    let (looks, wait) = CANCELLED_LOOKS;
    let mut looks = if is_cancelled { looks } else { 0 };
    let mut found = read_log(queue, record.id, attempt, 0).await?;
    while looks > 0 && found.as_ref().is_none_or(|log| !log.is_complete) {
        tokio::time::sleep(wait).await;
        found = read_log(queue, record.id, attempt, 0).await?;
        looks -= 1;
    }
    if let Some(log) = found {
        return Ok(Some(log.bytes));
    }
    let reader = node.reader();
    match reader.old_log(record.id, attempt) {
        Ok(log) => Ok(Some(log)),
        Err(error) if error.kind() == ErrorKind::NotFound => match made.and_then(|made| made.verdict.as_ref()) {
            None | Some(Verdict::Lost { .. } | Verdict::Cancelled { .. }) => Ok(None),
            Some(_) => Err(elsewhere(record, attempt, &reader.directory(record.id), ".log", &error)),
        },
        Err(error) => Err(elsewhere(record, attempt, &reader.directory(record.id), ".log", &error)),
    }
}

/// A log from some byte on.
pub struct LogPart {
    pub bytes: Vec<u8>,
    /// Whether the attempt has ended, and this is the end of its log.
    pub is_complete: bool,
}

/// Reads a log from byte `from` on, as far as it goes at this moment; nothing if the queue has no log of the
/// attempt.
pub async fn read_log(queue: &dyn Queue, id: JobId, attempt: u32, from: u64) -> anyhow::Result<Option<LogPart>> {
    let mut log: Option<LogPart> = None;
    loop {
        let known = log.as_ref().map_or(0, |log| log.bytes.len());
        let Some(piece) = queue.log(id, attempt, from + known as u64).await? else { return Ok(log) };
        let is_end = piece.is_last || piece.bytes.is_empty() || known >= MOST;
        let log = log.get_or_insert(LogPart { bytes: Vec::new(), is_complete: false });
        log.bytes.extend_from_slice(&piece.bytes);
        log.is_complete = piece.is_last;
        if is_end {
            break;
        }
    }
    Ok(log)
}

/// Why files were not copied.
pub enum CopyError {
    /// This file cannot be read.
    Read(String, io::Error),
    /// The target cannot be written.
    Write(anyhow::Error),
}

/// Copies the listed files of an attempt into a directory, which is created.
///
/// # Errors
/// At the first file that cannot be copied; files that were copied before stay.
pub fn copy_files(files: &Files, listed: &[FileEntry], target: &Path) -> Result<(), CopyError> {
    let create = |directory: &Path| {
        fs::create_dir_all(directory)
            .with_context(|| format!("creating {} failed", directory.display()))
            .map_err(CopyError::Write)
    };
    create(target)?;
    for FileEntry { name, size, .. } in listed {
        let unreadable = |error| CopyError::Read(name.clone(), error);
        // A damaged document must not name a path outside the target.
        if !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(unreadable(io::Error::other("this is not the name of a file")));
        }
        let (mut source, _) = files.open(name).map_err(unreadable)?;
        let path = target.join(name);
        path.parent().map_or(Ok(()), create)?;
        let copied = File::create(&path)
            .and_then(|mut file| io::copy(&mut source, &mut file))
            .with_context(|| format!("writing {} failed", path.display()))
            .map_err(CopyError::Write)?;
        if copied != *size {
            return Err(unreadable(io::Error::other(format!("it has {copied} bytes in place of {size}"))));
        }
    }
    Ok(())
}

/// Refuses a directory that has something in it; `option` named it.
pub fn check_empty(directory: &Path, option: &str) -> anyhow::Result<()> {
    match fs::read_dir(directory).map(|mut entries| entries.next().is_some()) {
        Ok(true) => Err(Usage(format!("{option}: {} is not empty", directory.display())).into()),
        Ok(false) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            Err(Usage(format!("{option}: {} is not a directory", directory.display())).into())
        }
        Err(error) => Err(error).with_context(|| format!("reading {} failed", directory.display())),
    }
}

/// Where a node serves the result of a job.
pub fn served_at(public_url: &Url, id: JobId) -> String {
    format!("{}/{id}", display_url(public_url).trim_end_matches('/'))
}

/// The error for something of an attempt that cannot be read here, with the place where it may be. `suffix`
/// follows the job's URL.
pub fn elsewhere(record: &Record, attempt: u32, path: &Path, suffix: &str, error: &io::Error) -> anyhow::Error {
    if error.kind() != ErrorKind::NotFound {
        return anyhow::anyhow!("reading {} failed: {error}", path.display());
    }
    let history = record.history.iter().flatten();
    let worker = history.filter(|made| made.attempt == attempt).map(|made| output::plain(&made.worker)).next();
    let worker = worker.map_or_else(|| "another worker".to_owned(), |worker| format!("worker {worker}"));
    // The record has the URL of its published attempt only.
    match record.public_url.as_ref().filter(|_| record.published == Some(attempt)) {
        Some(url) => anyhow::anyhow!(
            "{} is not there: {worker} made attempt {attempt}, and serves it at {}{suffix}",
            path.display(),
            served_at(url, record.id)
        ),
        None => anyhow::anyhow!(
            "{} is not there: {worker} made attempt {attempt}; look in its data directory (--data-dir), or at its \
             HTTP address",
            path.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use longboat::results::Reader;

    #[test]
    fn only_whole_files_below_the_target_are_copied() {
        let directory = tempfile::tempdir().unwrap();
        let (reader, id) = (Reader::new(&directory.path().join("results")), JobId::from_bytes([7; 16]));
        let place = reader.directory(id).join("1");
        fs::create_dir_all(place.join("a")).unwrap();
        fs::write(place.join("a/b.csv"), "1,2").unwrap();
        let target = directory.path().join("x/y");
        let copy = |name: &str, size| {
            let listed = [FileEntry { name: name.to_owned(), size, sha256: String::new() }];
            copy_files(&reader.files(id, 1), &listed, &target)
        };
        assert!(copy("a/b.csv", 3).is_ok());
        assert_eq!(fs::read(target.join("a/b.csv")).unwrap(), b"1,2");
        for (name, size) in [("a/b.csv", 4), ("../z", 3), ("/z", 3), ("a", 0), ("missing", 0)] {
            assert!(matches!(copy(name, size), Err(CopyError::Read(found, _)) if found == name), "{name}");
        }
        assert!(!directory.path().join("x/z").exists());
    }
}
