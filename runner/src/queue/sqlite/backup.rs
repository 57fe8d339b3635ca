//! Copying the file while others use it.

use super::fault::Fault;
use super::file::Copied;
use super::open;
use super::sharing::Sharing;
use std::fs::File;
use std::path::Path;

/// Copies the queue, as it is at one moment, into a file that is empty or not there.
pub(super) fn copy(path: &Path, sharing: Sharing, target: &Path) -> Result<Copied, Fault> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Decision, State, Verdict};
    use crate::queue::Queue;
    use crate::queue::sqlite::SqliteQueue;
    use crate::queue::sqlite::file::QueueFile;
    use crate::queue::sqlite::fixture::{Fixture, document, failed, worker};
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
