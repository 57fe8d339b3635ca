//! Which attempts have begun, in a file that outlives the worker that made them.
//!
//! A worker claims jobs before it has a slot for them. If it is killed, what it was running counts as lost, and what
//! had only been claimed must not. A commit for each beginning would cost as much as the claim has saved; a few bytes
//! in a file that is never synced cost nothing, and the system keeps them when a process dies. When the system itself
//! has gone down they mean nothing any more: then, and whenever else they cannot be had, all that was claimed counts.
//!
//! A process keeps its workers' files locked while it lives, by which others tell that it does.

use super::{Sharing, lock};
use crate::job::JobId;
use crate::queue::Lease;
use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// An attempt that has begun and is not settled, in the file: the job's id, and the attempt.
const MARK: usize = 20;
/// More than a worker can have begun at a time. Whoever reads does not trust whoever wrote.
const MOST: u64 = 1 << 20;

/// What tells one run of this system from the next; it comes first in each file.
/// <https://docs.kernel.org/admin-guide/sysctl/kernel.html#random>
fn boot() -> Option<Vec<u8>> {
    fs::read("/proc/sys/kernel/random/boot_id").ok().filter(|boot| !boot.is_empty())
}

/// The marks of the workers that use a queue's file.
#[derive(Debug)]
pub(super) struct Begun {
    /// What their files' names begin with.
    prefix: PathBuf,
    /// None where it is not told, and where workers may be on other machines.
    boot: Option<Vec<u8>>,
    /// Those of this process's workers.
    own: Mutex<HashMap<JobId, Marks>>,
}

impl Begun {
    /// Those beside the queue's file.
    pub(super) fn beside(queue: &Path, sharing: Sharing) -> Self {
        // Behind a link, if the file is one, as SQLite's own files are.
        let mut prefix = queue.canonicalize().unwrap_or_else(|_| queue.to_owned()).into_os_string();
        prefix.push("-begun-");
        let boot = Some(sharing).filter(|sharing| *sharing == Sharing::OneMachine).and_then(|_| boot());
        Self { prefix: prefix.into(), boot, own: Mutex::default() }
    }

    fn path(&self, start: JobId) -> PathBuf {
        let mut path = self.prefix.clone().into_os_string();
        path.push(start.to_string());
        path.into()
    }

    /// Makes marks for a worker of this process that is known by now and has claimed nothing yet.
    pub(super) fn register(&self, start: JobId) {
        let Some(boot) = &self.boot else { return };
        let path = self.path(start);
        match Marks::new(&path, boot) {
            Ok(marks) => drop(lock(&self.own).insert(start, marks)),
            Err(error) => {
                tracing::warn!(%error, "what this worker claims counts as begun, for {} cannot be made", path.display());
            }
        }
    }

    /// Marks an attempt that is about to begin.
    pub(super) fn begin(&self, start: JobId, lease: &Lease) {
        self.change(start, |marks| marks.begin(lease));
    }

    /// Wipes the mark of an attempt that is settled.
    pub(super) fn end(&self, start: JobId, lease: &Lease) {
        self.change(start, |marks| marks.end(lease));
    }

    fn change(&self, start: JobId, change: impl FnOnce(&mut Marks) -> io::Result<()>) {
        let mut own = lock(&self.own);
        let Some(marks) = own.get_mut(&start) else { return };
        if let Err(error) = change(marks) {
            tracing::warn!(%error, "what this worker claims counts as begun, for its marks cannot be written");
            own.remove(&start);
        }
    }

    /// The attempts of a worker, which runs no more, that have begun and are not settled; none if that is unknown.
    pub(super) fn read(&self, start: JobId) -> Option<HashSet<Lease>> {
        let (boot, mut bytes) = (self.boot.as_deref()?, Vec::new());
        let read = File::open(self.path(start)).and_then(|file| file.take(MOST + 1).read_to_end(&mut bytes));
        let marks = bytes.strip_prefix(boot).filter(|_| read.is_ok_and(|read| read as u64 <= MOST))?;
        let (marks, _) = marks.as_chunks::<MARK>();
        Some(marks.iter().map(lease).collect())
    }

    /// Removes the marks of a worker that is known no more.
    pub(super) fn forget(&self, start: JobId) {
        lock(&self.own).remove(&start);
        // What stays behind is removed when the next worker registers.
        let _ = fs::remove_file(self.path(start));
    }

    /// Whether the process that keeps a worker's marks lives; if that cannot be told, it does not.
    pub(super) fn is_kept(&self, start: JobId) -> bool {
        File::open(self.path(start)).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// The files with marks that there are.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let (Some(directory), Some(prefix)) = (self.prefix.parent(), self.prefix.file_name()) else {
            return Vec::new();
        };
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let is_one = |entry: &fs::DirEntry| entry.file_name().as_encoded_bytes().starts_with(prefix.as_encoded_bytes());
        entries.filter(is_one).map(|entry| entry.path()).collect()
    }

    /// Removes those of the files that are none of the workers' who were known after they were found; a worker is known
    /// before it makes its file.
    pub(super) fn sweep(&self, files: Vec<PathBuf>, known: &[JobId]) {
        let known: HashSet<PathBuf> = known.iter().map(|start| self.path(*start)).collect();
        for file in files {
            if !known.contains(&file) && is_nobodys(&file) {
                let _ = fs::remove_file(file);
            }
        }
    }
}

/// Whether no process that lives writes marks there.
fn is_nobodys(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| file.try_lock_shared().is_ok())
}

fn mark(lease: &Lease) -> [u8; MARK] {
    let mut mark = [0; MARK];
    let (id, attempt) = mark.split_at_mut(16);
    id.copy_from_slice(lease.id.as_bytes());
    attempt.copy_from_slice(&lease.attempt.to_le_bytes());
    mark
}

fn lease(mark: &[u8; MARK]) -> Lease {
    let (mut id, mut attempt) = ([0; 16], [0; 4]);
    id.copy_from_slice(&mark[..16]);
    attempt.copy_from_slice(&mark[16..]);
    Lease { id: JobId::from_bytes(id), attempt: u32::from_le_bytes(attempt) }
}

/// The marks of one worker, which keeps its file locked while it lives: others may have given it up, and it may go on.
#[derive(Debug)]
struct Marks {
    file: File,
    path: PathBuf,
    /// Where the first one is.
    first: u64,
    places: HashMap<Lease, u64>,
    /// Places of attempts that are settled.
    free: Vec<u64>,
}

impl Marks {
    fn new(path: &Path, boot: &[u8]) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let (places, free) = (HashMap::new(), Vec::new());
        let marks = Self { file, path: path.to_owned(), first: boot.len() as u64, places, free };
        marks.file.try_lock()?;
        marks.file.write_all_at(boot, 0)?;
        Ok(marks)
    }

    fn begin(&mut self, lease: &Lease) -> io::Result<()> {
        let place = self.free.pop().unwrap_or(self.places.len() as u64);
        self.places.insert(lease.clone(), place);
        self.write(place, mark(lease))
    }

    fn end(&mut self, lease: &Lease) -> io::Result<()> {
        let Some(place) = self.places.remove(lease) else { return Ok(()) };
        self.free.push(place);
        self.write(place, [0; MARK])
    }

    fn write(&self, place: u64, mark: [u8; MARK]) -> io::Result<()> {
        self.file.write_all_at(&mark, self.first + place * MARK as u64)
    }
}

/// Marks that cannot be kept must not be read either.
impl Drop for Marks {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(attempt: u32) -> Lease {
        Lease { id: JobId::new(), attempt }
    }

    fn begun() -> (tempfile::TempDir, Begun) {
        let directory = tempfile::tempdir().unwrap();
        let begun = Begun::beside(&directory.path().join("queue.db"), Sharing::OneMachine);
        (directory, begun)
    }

    #[test]
    fn what_has_begun_and_is_not_settled_is_known_to_others_for_as_long_as_the_worker_is() {
        let ((_directory, begun), start) = (begun(), JobId::new());
        begun.register(start);
        let leases = [lease(1), lease(u32::MAX), lease(3), lease(4)];
        leases[..3].iter().for_each(|lease| begun.begin(start, lease));
        begun.end(start, &leases[1]);
        begun.end(start, &leases[3]);
        let told = begun.read(start).unwrap();
        assert_eq!([0, 1, 2, 3].map(|one| told.contains(&leases[one])), [true, false, true, false]);
        begun.begin(start, &leases[3]);
        assert!(begun.read(start).unwrap().contains(&leases[3]));
        let size = fs::metadata(begun.path(start)).unwrap().len();
        assert_eq!(size, begun.boot.as_ref().unwrap().len() as u64 + 3 * MARK as u64, "places are used again");
        begun.forget(start);
        assert_eq!(begun.read(start), None);
    }

    #[test]
    fn marks_from_before_the_system_went_down_say_nothing() {
        let ((_directory, mut begun), start) = (begun(), JobId::new());
        begun.register(start);
        assert_eq!(begun.read(start), Some(HashSet::new()));
        begun.boot = Some(b"another run of this system".to_vec());
        assert_eq!(begun.read(start), None);
    }

    #[test]
    fn marks_that_were_left_behind_are_removed_and_others_are_not() {
        let ((directory, begun), starts) = (begun(), [(); 4].map(|()| JobId::new()));
        for start in &starts[..2] {
            fs::write(begun.path(*start), begun.boot.as_ref().unwrap()).unwrap();
        }
        // Given up, but alive.
        let stranger = Marks::new(&begun.path(starts[2]), begun.boot.as_ref().unwrap()).unwrap();
        let other = directory.path().join("queue.db-wal");
        fs::write(&other, "").unwrap();
        begun.register(starts[3]);
        begun.sweep(begun.files(), &[starts[1], starts[3]]);
        assert_eq!(starts.map(|start| begun.read(start).is_some()), [false, true, true, true]);
        assert!(other.exists());
        assert_eq!(starts.map(|start| begun.is_kept(start)), [false, false, true, true]);
        drop(stranger);
        assert_eq!(begun.read(starts[2]), None);
    }
}
