//! What an intake must remember of jobs that it has buried at a server: `intake.jsonl` in the data
//! directory.
//!
//! The file is a help, not a record: it holds at most [`MOST`] notes of each kind, the oldest ones are
//! dropped, and a line that cannot be read is ignored. Every change replaces the whole file, under a lock
//! that all processes share.

use crate::job::{JobId, Tube};
use jiff::Timestamp;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The most notes of each kind.
const MOST: usize = 1_000;
/// The longest file that is read, in bytes.
const MAX_FILE: u64 = 16 << 20;
/// The longest line that is read, in bytes.
const MAX_LINE: usize = 16 << 10;
/// How long another process may keep the file locked.
const PATIENCE: Duration = Duration::from_secs(5);

/// Something at a server that is no job that can be run here. It is buried there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rubbish {
    /// The server.
    pub server: String,
    /// The server's number for it.
    pub number: u64,
    /// The tube that it was put into.
    pub tube: Tube,
    /// Its length in bytes.
    pub length: u64,
    /// How it begins, in quotes and escaped.
    pub excerpt: String,
    /// Why it cannot be run.
    pub reason: String,
    /// The worker that found it.
    pub worker: String,
    /// When it was put.
    pub put_at: Timestamp,
    /// When it was found.
    pub found_at: Timestamp,
}

/// A dead job that is buried at its server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Dead {
    pub(super) server: String,
    pub(super) number: u64,
    pub(super) id: JobId,
    /// How often the server's job had been kicked when it was buried.
    pub(super) kicks: u32,
    pub(super) put_at: Timestamp,
}

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(super) enum Note {
    Rubbish(Rubbish),
    Dead(Dead),
}

impl Note {
    /// The server's name and its number for the job. There is one note for each.
    pub(super) fn place(&self) -> (&str, u64) {
        match self {
            Note::Rubbish(Rubbish { server, number, .. }) | Note::Dead(Dead { server, number, .. }) => {
                (server, *number)
            }
        }
    }

    pub(super) fn put_at(&self) -> Timestamp {
        match self {
            Note::Rubbish(Rubbish { put_at, .. }) | Note::Dead(Dead { put_at, .. }) => *put_at,
        }
    }
}

/// Rubbish that was found by workers of a data directory, oldest first.
///
/// # Errors
/// The file cannot be read.
pub fn rubbish(data_dir: &Path) -> io::Result<Vec<Rubbish>> {
    let rubbish = |note| if let Note::Rubbish(rubbish) = note { Some(rubbish) } else { None };
    Ok(read(&path(data_dir))?.into_iter().filter_map(rubbish).collect())
}

/// A change of the file.
#[derive(Debug)]
enum Change {
    Add(Note),
    Remove(Note),
}

/// The notes of a data directory.
#[derive(Debug)]
pub(super) struct Notes {
    path: PathBuf,
    /// Changes for the next write, which takes all of them.
    pending: Arc<Mutex<Vec<Change>>>,
    writing: tokio::sync::Mutex<()>,
}

impl Notes {
    pub(super) fn new(data_dir: &Path) -> Self {
        Self { path: path(data_dir), pending: Arc::default(), writing: tokio::sync::Mutex::default() }
    }

    /// All notes, oldest first.
    pub(super) async fn all(&self) -> io::Result<Vec<Note>> {
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || read(&path)).await.unwrap_or_else(|panic| Err(io::Error::other(panic)))
    }

    /// The note of a dead job at this place.
    pub(super) async fn dead(&self, server: &str, number: u64) -> io::Result<Option<Dead>> {
        let notes = self.all().await?;
        Ok(notes.into_iter().find(|note| note.place() == (server, number)).and_then(|note| match note {
            Note::Dead(dead) => Some(dead),
            Note::Rubbish(_) => None,
        }))
    }

    /// Adds a note in the place of an earlier one.
    pub(super) async fn add(&self, note: Note) -> io::Result<()> {
        self.change(Change::Add(note)).await
    }

    /// Removes a note, unless another one has taken its place.
    pub(super) async fn remove(&self, note: Note) -> io::Result<()> {
        self.change(Change::Remove(note)).await
    }

    async fn change(&self, change: Change) -> io::Result<()> {
        lock(&self.pending).push(change);
        let _turn = self.writing.lock().await;
        let (path, pending) = (self.path.clone(), Arc::clone(&self.pending));
        let written = tokio::task::spawn_blocking(move || {
            let changes = std::mem::take(&mut *lock(&pending));
            // The turn before has written this change too.
            if changes.is_empty() { Ok(()) } else { write(&path, changes) }
        });
        written.await.unwrap_or_else(|panic| Err(io::Error::other(panic)))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("intake.jsonl")
}

fn read(path: &Path) -> io::Result<Vec<Note>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?,
    };
    let mut notes = Vec::new();
    for line in BufReader::new(file.take(MAX_FILE)).split(b'\n') {
        let line = line?;
        if line.len() <= MAX_LINE
            && let Ok(note) = serde_json::from_slice(&line)
        {
            notes.push(note);
        }
    }
    Ok(trimmed(notes))
}

/// The newest [`MOST`] of each kind, in the same order.
fn trimmed(mut notes: Vec<Note>) -> Vec<Note> {
    let (mut rubbish, mut dead) = (0, 0);
    notes.reverse();
    notes.retain(|note| {
        let count = match note {
            Note::Rubbish(_) => &mut rubbish,
            Note::Dead(_) => &mut dead,
        };
        *count += 1;
        *count <= MOST
    });
    notes.reverse();
    notes
}

fn write(path: &Path, changes: Vec<Change>) -> io::Result<()> {
    let _lock = locked(&path.with_extension("lock"))?;
    let mut notes = read(path)?;
    for change in changes {
        match change {
            Change::Add(new) => {
                notes.retain(|note| note.place() != new.place());
                notes.push(new);
            }
            Change::Remove(old) => notes.retain(|note| *note != old),
        }
    }
    let mut text = Vec::new();
    for note in trimmed(notes) {
        serde_json::to_writer(&mut text, &note)?;
        text.push(b'\n');
    }
    let directory = path.parent().ok_or(io::ErrorKind::NotFound)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(&text)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// The lock that processes share; it ends with the file's handle.
fn locked(path: &Path) -> io::Result<File> {
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    let started = Instant::now();
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) if started.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(number: u64) -> Note {
        Note::Rubbish(Rubbish {
            server: "beanstalkd://x:1".to_owned(),
            number,
            tube: Tube::default(),
            length: 5,
            excerpt: "\"hello\"".to_owned(),
            reason: "it is not JSON".to_owned(),
            worker: "a".to_owned(),
            put_at: Timestamp::UNIX_EPOCH,
            found_at: Timestamp::UNIX_EPOCH,
        })
    }

    fn dead(number: u64, kicks: u32) -> Note {
        let (server, put_at) = ("beanstalkd://x:1".to_owned(), Timestamp::UNIX_EPOCH);
        Note::Dead(Dead { server, number, id: JobId::from_bytes([7; 16]), kicks, put_at })
    }

    #[tokio::test]
    async fn notes_survive_and_replace_each_other() {
        let directory = tempfile::tempdir().unwrap();
        let (notes, other) = (Notes::new(directory.path()), Notes::new(directory.path()));
        notes.add(found(1)).await.unwrap();
        other.add(dead(2, 0)).await.unwrap();
        notes.add(dead(2, 1)).await.unwrap();
        assert_eq!(notes.all().await.unwrap(), [found(1), dead(2, 1)]);
        assert_eq!(notes.dead("beanstalkd://x:1", 2).await.unwrap().map(|dead| dead.kicks), Some(1));
        assert_eq!(notes.dead("beanstalkd://x:1", 1).await.unwrap(), None);
        notes.remove(dead(2, 0)).await.unwrap();
        other.remove(found(1)).await.unwrap();
        assert_eq!(notes.all().await.unwrap(), [dead(2, 1)]);
        assert_eq!(rubbish(directory.path()).unwrap(), []);
    }

    #[tokio::test]
    async fn notes_are_bounded_and_damage_is_ignored() {
        let directory = tempfile::tempdir().unwrap();
        let notes = Notes::new(directory.path());
        notes.add(dead(1, 0)).await.unwrap();
        let mut file = File::options().append(true).open(path(directory.path())).unwrap();
        file.write_all(b"{\"kind\":\"rub\n\xff\0\n\n").unwrap();
        file.write_all(&vec![b'x'; MAX_LINE + 1]).unwrap();
        file.write_all(b"\n").unwrap();
        for number in 0..1_100 {
            file.write_all(&[serde_json::to_vec(&found(number)).unwrap(), b"\n".to_vec()].concat()).unwrap();
        }
        file.write_all(b"{\"kind\":\"dead\",").unwrap();
        notes.add(found(1_100)).await.unwrap();
        let all = notes.all().await.unwrap();
        assert_eq!((all.len(), &all[0], &all[1], all.last()), (1_001, &dead(1, 0), &found(101), Some(&found(1_100))));
        assert_eq!(std::fs::read_to_string(path(directory.path())).unwrap().lines().count(), 1_001);
    }

    #[tokio::test]
    async fn notes_added_together_are_all_there() {
        let directory = tempfile::tempdir().unwrap();
        let notes = Notes::new(directory.path());
        futures_util::future::try_join_all((0..50).map(|number| notes.add(found(number)))).await.unwrap();
        assert_eq!(notes.all().await.unwrap().len(), 50);
    }
}
