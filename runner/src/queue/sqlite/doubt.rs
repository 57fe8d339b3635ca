//! Claims that are to be undone as soon as that can be written: those that may have been made although the queue has said
//! that they were not, since a commit may fail after it was made, and those that could not be given back.
//!
//! Such jobs would run for ever, since their worker's heart goes on to beat, and nobody knows that they are its. The next
//! claim undoes them first, or the next look for silent workers, as a worker without a free slot takes too.

use super::{Fault, SqliteQueue, claim, lock, settle};
use crate::job::Tube;
use crate::queue::{Claimed, Lease, QueueError, WorkerId};
use rusqlite::Connection;
use std::sync::{Arc, Mutex};

/// The claims of this process that are to be undone.
#[derive(Debug, Default)]
pub(super) struct Doubtful(Mutex<Vec<Doubt>>);

impl Doubtful {
    /// Gives back what may have been leased, and returns what that was, of which nobody has doubts if this is committed.
    fn undo(&self, connection: &Connection) -> Result<Vec<Doubt>, Fault> {
        let mut doubts = lock(&self.0);
        for doubt in &*doubts {
            doubt.undo(connection)?;
        }
        Ok(std::mem::take(&mut *doubts))
    }
}

#[derive(Debug)]
struct Doubt {
    worker: WorkerId,
    lease: Lease,
}

impl Doubt {
    fn of(worker: &WorkerId, lease: Lease) -> Self {
        Self { worker: worker.clone(), lease }
    }

    fn undo(&self, connection: &Connection) -> Result<(), Fault> {
        match settle::give_back(connection, &self.worker, &self.lease) {
            // It was not made, or is undone, or has ended otherwise.
            Ok(()) | Err(Fault::Refused(QueueError::Stale { .. })) => Ok(()),
            Err(fault) => Err(fault),
        }
    }
}

/// Gives back what earlier claims may have leased.
pub(super) async fn undo(queue: &SqliteQueue) -> Result<(), QueueError> {
    if lock(&queue.shared.doubtful.0).is_empty() {
        return Ok(());
    }
    let doubtful = Arc::clone(&queue.shared.doubtful);
    let work = move |connection: &Connection| doubtful.undo(connection);
    let doubtful = Arc::clone(&queue.shared.doubtful);
    let doubt = move |doubts: Option<Vec<Doubt>>| lock(&doubtful.0).extend(doubts.unwrap_or_default());
    queue.shared.writer.call_or_doubt(work, doubt).await.map(drop)
}

/// Gives a job back that has not begun, at once or as soon as that can be written; whoever claims next is told what is in
/// the way, if anything is still. Until then nobody else gets it, and this worker does not either, since every claim
/// undoes first what is to be undone.
pub(super) async fn give_back(queue: &SqliteQueue, worker: &WorkerId, lease: &Lease) -> Result<(), QueueError> {
    let doubt = Doubt::of(worker, lease.clone());
    let (worker, lease) = (worker.clone(), lease.clone());
    let work = move |connection: &Connection| match settle::give_back(connection, &worker, &lease) {
        Err(Fault::Refused(stale)) => Ok(Err(stale)),
        given_back => given_back.map(Ok),
    };
    let doubtful = Arc::clone(&queue.shared.doubtful);
    match queue.shared.writer.call_or_doubt(work, move |_| lock(&doubtful.0).push(doubt)).await {
        Ok(given_back) => given_back,
        Err(_) => Ok(()),
    }
}

/// Leases jobs, once what earlier claims may have leased is given back.
pub(super) async fn claim(
    queue: &SqliteQueue,
    worker: &WorkerId,
    tubes: &[Tube],
    most: usize,
) -> Result<Vec<Claimed>, QueueError> {
    let (clock, doubtful) = (Arc::clone(&queue.shared.clock), Arc::clone(&queue.shared.doubtful));
    let (for_worker, tubes) = (worker.clone(), tubes.to_vec());
    // All of this runs in the writing thread, so that no other claim comes between a commit and the doubts about it.
    let work = move |connection: &Connection| {
        let doubts = doubtful.undo(connection)?;
        match claim::claim(connection, &for_worker, &tubes, most, clock().as_millisecond()) {
            Ok(claimed) => Ok((claimed, doubts)),
            Err(fault) => {
                lock(&doubtful.0).extend(doubts);
                Err(fault)
            }
        }
    };
    let (doubtful, worker) = (Arc::clone(&queue.shared.doubtful), worker.clone());
    let doubt = move |made: Option<(Vec<Claimed>, Vec<Doubt>)>| {
        let (claimed, doubts) = made.unwrap_or_default();
        let new = claimed.into_iter().map(|claimed| Doubt::of(&worker, claimed.lease));
        lock(&doubtful.0).extend(doubts.into_iter().chain(new));
    };
    queue.shared.writer.call_or_doubt(work, doubt).await.map(|(claimed, _)| claimed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Document, State};
    use crate::queue::Queue;
    use crate::queue::sqlite::fixture::{Fixture, document, worker};
    use crate::queue::sqlite::{Sharing, open};
    use std::time::Duration;

    /// Has the next commit fail after all that was to be in it was done.
    fn break_commits(fixture: &Fixture) {
        fixture.sql(
            "CREATE TABLE broken (job INTEGER REFERENCES jobs DEFERRABLE INITIALLY DEFERRED);
            CREATE TRIGGER broken AFTER UPDATE OF state ON jobs WHEN new.state = 'running' BEGIN
                INSERT INTO broken VALUES (-1);
            END",
        );
    }

    #[tokio::test]
    async fn a_claim_whose_commit_has_failed_is_in_doubt_until_the_next_one() {
        let fixture = Fixture::new();
        let id = fixture.submit(document()).await;
        break_commits(&fixture);
        let tubes = [Tube::default()];
        assert!(fixture.queue.claim(&worker("a"), &tubes, 1).await.is_err());
        let doubts = |fixture: &Fixture| lock(&fixture.queue.shared.doubtful.0).len();
        assert_eq!(doubts(&fixture), 1);
        assert!(fixture.queue.claim(&worker("a"), &tubes, 1).await.is_err());
        assert_eq!(doubts(&fixture), 2, "nothing that was in doubt is forgotten when another commit fails");
        fixture.sql("DROP TRIGGER broken");
        let claimed = fixture.claim("b").await.unwrap();
        assert_eq!((claimed.lease.id, claimed.lease.attempt, doubts(&fixture)), (id, 1, 0));
    }

    #[tokio::test]
    async fn what_cannot_be_given_back_because_the_file_is_locked_is_given_back_before_the_next_claim() {
        let fixture = Fixture::new();
        let id = fixture.submit(Document { expires: Some("1h".parse().unwrap()), ..document() }).await;
        let before = fixture.find(id).await;
        let claimed = fixture.claim("a").await.unwrap();
        let other = open::writer(&fixture.path(), Sharing::OneMachine).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        fixture.queue.give_back(&worker("a"), &claimed).await.unwrap();
        other.execute_batch("ROLLBACK").unwrap();
        assert!(fixture.queue.claim(&worker("b"), &["other".parse().unwrap()], 1).await.unwrap().is_empty());
        assert_eq!(fixture.find(id).await, before);
        let again = fixture.queue.give_back(&worker("a"), &claimed).await;
        assert!(matches!(again, Err(QueueError::Stale { .. })), "{again:?}");
    }

    #[tokio::test]
    async fn a_claim_that_was_made_although_it_failed_is_undone_by_the_next_one_or_by_a_look_for_silent_workers() {
        let fixture = Fixture::new();
        let id = fixture.submit(Document { expires: Some("1h".parse().unwrap()), ..document() }).await;
        let before = fixture.find(id).await;
        // As if this had been answered with an error.
        let made = fixture.claim("a").await.unwrap();
        lock(&fixture.queue.shared.doubtful.0).push(Doubt::of(&worker("a"), made.lease));
        assert!(fixture.queue.claim(&worker("b"), &["other".parse().unwrap()], 1).await.unwrap().is_empty());
        assert_eq!(fixture.find(id).await, before);
        // Nor need there be another claim.
        let made = fixture.claim("a").await.unwrap();
        lock(&fixture.queue.shared.doubtful.0).push(Doubt::of(&worker("a"), made.lease));
        fixture.queue.take_over(&worker("b")).await.unwrap();
        assert_eq!(fixture.find(id).await, before);
        // What is claimed after that is no longer in doubt.
        let lease = fixture.claim("a").await.unwrap().lease;
        assert!(fixture.claim("b").await.is_none());
        assert_eq!((lease.attempt, fixture.find(id).await.state), (1, State::Running));
        fixture.advance(Duration::from_secs(3_600));
        assert_eq!(fixture.find(id).await.state, State::Running, "it was started in time");
    }
}
