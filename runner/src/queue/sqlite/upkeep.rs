//! Looking after a queue's file while workers go on with the queue in it.

use super::check::{self, Health};
use super::columns::integer;
use super::export::{self, ExportError, Exported};
use super::fault::Fault;
use super::import::{self, ImportError, Imported};
use super::open::{self, Sharing};
use crate::job::{Digest, JobId};
use crate::queue::QueueError;
use jiff::Timestamp;
use rusqlite::Connection;
use serde::Serialize;
use std::fs::File;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

/// A queue's file.
///
/// What is done here takes as long as the file is large, and blocks.
#[derive(Debug, Clone)]
pub struct QueueFile {
    path: PathBuf,
    sharing: Sharing,
}

/// A copy of a queue's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Copied {
    /// Jobs in it.
    pub jobs: u64,
    /// Its length in bytes.
    pub size: u64,
}

/// A job that a server of the old version may still have: it is done, and its result is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldBuried {
    /// The server, as the old version was given it.
    pub server: String,
    /// The server's number for it.
    pub number: u64,
    /// Its id.
    pub id: JobId,
    /// The digest of its body at the server, which may give the number to another job.
    pub body: Digest,
}

impl QueueFile {
    /// The file at this path, which is used in this way by all who use it.
    pub fn new(path: &Path, sharing: Sharing) -> Self {
        Self { path: path.to_owned(), sharing }
    }

    /// Copies the queue, as it is at one moment, into the file at `target`, which is empty or not there.
    /// The copy is on disk when this returns. After an error the target is to be thrown away.
    ///
    /// Workers go on meanwhile; on a directory that several machines share they wait with their commits.
    ///
    /// # Errors
    /// [`QueueError::Backend`] if the file is no queue, or damaged, or the target cannot be written.
    pub fn copy(&self, target: &Path) -> Result<Copied, QueueError> {
        copy(&self.path, self.sharing, target).map_err(|fault| fault.at(&self.path))
    }

    /// Looks whether the file is whole, and whether what is in it fits together. Nothing is changed.
    ///
    /// # Errors
    /// [`QueueError::Backend`] if the file cannot be looked at, or is no queue.
    pub fn check(&self) -> Result<Health, QueueError> {
        check::check(&self.path, self.sharing).map_err(|fault| fault.at(&self.path))
    }

    /// Writes all jobs with their history, as they are at one moment, as JSON lines. Running ones are
    /// written as if their workers had given them back just then.
    ///
    /// Where several machines share the file, it is not one moment for all jobs, but for each some hundred
    /// of them: nobody could commit meanwhile.
    ///
    /// # Errors
    /// [`ExportError`]. A job that cannot be read is none: it is left out and told of.
    pub fn export(&self, to: &mut dyn Write) -> Result<Exported, ExportError> {
        export::export(&self.path, self.sharing, Timestamp::now(), to)
    }

    /// Takes in what was exported. Jobs keep their order and everything else, and come after those that are
    /// there.
    ///
    /// A job that is known, with the document that it was submitted with, is left as it is; so an import
    /// that broke off is simply repeated. Each thousand lines are a transaction.
    ///
    /// # Errors
    /// [`ImportError`], with the line; what stands before it is in the queue.
    pub fn import(&self, from: &mut dyn BufRead) -> Result<Imported, ImportError> {
        import::import(&self.path, self.sharing, Timestamp::now(), from)
    }
}

/// Copies the queue, as it is at one moment, into a file that is empty or not there.
fn copy(path: &Path, sharing: Sharing, target: &Path) -> Result<Copied, Fault> {
    let source = open::spectator(path, sharing)?;
    let Some(name) = target.to_str() else {
        return Err(Fault::Unusable(format!("it is not copied to {}, a name that is not UTF-8", target.display())));
    };
    // The copy is written through this connection too, so it must be allowed to write.
    source.pragma_update(None, "query_only", false)?;
    source.execute("VACUUM INTO ?1", [name])?;
    let unwritten = |error| Fault::Unusable(format!("its copy could not be written to disk: {error}"));
    let file = File::open(target).map_err(unwritten)?;
    file.sync_all().map_err(unwritten)?;
    let size = file.metadata().map_err(unwritten)?.len();
    drop(file);
    source.execute("ATTACH ?1 AS copy", [name])?;
    let jobs = source.query_row("SELECT COUNT(*) FROM copy.jobs", [], |row| row.get(0))?;
    Ok(Copied { jobs, size })
}

const OLD_BURIED: &str = "SELECT server, number, id, body FROM old_buried ORDER BY server, number LIMIT ?1";

/// Jobs that servers of the old version may still have.
pub(super) fn old_buried(connection: &Connection, most: usize) -> Result<Vec<OldBuried>, Fault> {
    let mut statement = connection.prepare_cached(OLD_BURIED)?;
    let jobs = statement.query_map([integer(most)], |row| {
        Ok(OldBuried {
            server: row.get(0)?,
            number: row.get(1)?,
            id: JobId::from_bytes(row.get(2)?),
            body: Digest::from_bytes(row.get(3)?),
        })
    })?;
    Ok(jobs.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Decision, State, Verdict};
    use crate::queue::sqlite::SqliteQueue;
    use crate::queue::sqlite::fixture::{Fixture, document, failed, worker};
    use crate::queue::{Jobs, Work};
    use std::time::{Duration, Instant};

    #[tokio::test]
    async fn a_copy_is_a_queue_of_its_own_in_which_what_ran_is_taken_over() {
        let fixture = Fixture::new();
        let done = fixture.submit(document()).await;
        let lease = fixture.claim("a").await.unwrap().lease;
        fixture.settle("a", &lease, Verdict::Done, Decision::Finish).await.unwrap();
        let running = fixture.submit(document()).await;
        let lease = fixture.claim("a").await.unwrap().lease;
        let waiting = fixture.submit(document()).await;
        let target = fixture.directory.path().join("copy.db");
        let copied = QueueFile::new(&fixture.directory.path().join("queue.db"), Sharing::OneMachine).copy(&target);
        let copied = copied.unwrap();
        assert_eq!((copied.jobs, copied.size), (3, target.metadata().unwrap().len()));
        // The queue goes on; the copy does not notice.
        fixture.settle("a", &lease, failed(), Decision::Bury).await.unwrap();

        let health = QueueFile::new(&target, Sharing::OneMachine).check().unwrap();
        assert!(health.faults.is_empty(), "{health:?}");
        let copy = SqliteQueue::open(&target).unwrap();
        for (id, state) in [(done, State::Done), (running, State::Running), (waiting, State::Ready)] {
            assert_eq!(copy.find(id).await.unwrap().unwrap().state, state);
        }
        let start = Instant::now();
        let observer = worker("observer");
        for (seconds, taken) in [(0, 0), (14, 0), (15, 1)] {
            let clock = || start + Duration::from_secs(seconds);
            assert_eq!(copy.take_over_by(clock, &observer).await.unwrap().len(), taken, "after {seconds} s");
        }
        let record = copy.find(running).await.unwrap().unwrap();
        assert!(matches!(record.verdict, Some(Verdict::Lost { .. })), "{record:?}");
        let again = copy.claim(&observer, std::slice::from_ref(&record.document.tube), 1).await.unwrap().remove(0);
        assert_eq!((again.lease.id, again.lease.attempt), (running, 2));
        assert_eq!(fixture.find(running).await.state, State::Dead, "the queue itself is untouched");
    }

    #[tokio::test]
    async fn a_copy_of_a_file_for_several_machines_is_one_too() {
        let directory = tempfile::tempdir().unwrap();
        let (path, target) = (directory.path().join("queue.db"), directory.path().join("copy.db"));
        let _queue = SqliteQueue::open_as(&path, Sharing::ManyMachines).unwrap();
        QueueFile::new(&path, Sharing::ManyMachines).copy(&target).unwrap();
        let refusal = SqliteQueue::open(&target).err().unwrap().to_string();
        assert!(refusal.contains("give --shared"), "{refusal}");
        SqliteQueue::open_as(&target, Sharing::ManyMachines).unwrap();
    }

    #[test]
    fn what_is_there_is_not_written_over_and_what_is_no_queue_is_not_copied() {
        let fixture = Fixture::new();
        let file = QueueFile::new(&fixture.directory.path().join("queue.db"), Sharing::OneMachine);
        let target = fixture.directory.path().join("copy.db");
        std::fs::write(&target, "precious").unwrap();
        assert!(file.copy(&target).is_err());
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "precious");
        let missing = QueueFile::new(&fixture.directory.path().join("none.db"), Sharing::OneMachine);
        let refusal = missing.copy(&fixture.directory.path().join("other.db")).unwrap_err().to_string();
        assert!(refusal.contains("none.db"), "{refusal}");
        assert!(!fixture.directory.path().join("none.db").exists());
    }
}
