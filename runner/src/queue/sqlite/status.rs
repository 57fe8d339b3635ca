//! How the queue stands: read off counters, not off the jobs.

use super::fault::Fault;
use super::records::time;
use super::tubes;
use crate::job::{JobId, State, Tube};
use crate::queue::{Oldest, Status, WorkerId, WorkerStatus};
use rusqlite::{Connection, named_params};

const COUNTS: &str = "SELECT tube, state, SUM(jobs) FROM counts GROUP BY tube, state HAVING SUM(jobs) > 0";

/// Jobs are numbered as they are submitted, so the first is the oldest.
const OLDEST_READY: &str =
    "SELECT id, tube, submitted_at FROM jobs INDEXED BY jobs_state WHERE state = 'ready' ORDER BY seq LIMIT 1";

const WORKERS: &str = "
    SELECT name, started_at, (SELECT COUNT(*) FROM jobs WHERE worker = start) FROM workers
    ORDER BY name, started_at";

const HAS_WORK: &str = "
    SELECT EXISTS (SELECT 1 FROM counts
        WHERE tube = :tube AND host IN ('', :host) AND state IN ('ready', 'delayed', 'running') AND jobs > 0)";

/// How the queue stands.
pub(super) fn status(connection: &Connection, now: i64) -> Result<Status, Fault> {
    let mut status = Status { states: State::ALL.map(|state| (state, 0)).into(), ..Status::default() };
    let mut statement = connection.prepare_cached(COUNTS)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let tube: Tube = row.get::<_, String>(0)?.parse().map_err(|error| Fault::corrupt("a tube's name", error))?;
        let state: State =
            row.get::<_, String>(1)?.parse().map_err(|error| Fault::corrupt("a counted state", error))?;
        let jobs: u64 = row.get(2)?;
        *status.states.entry(state).or_default() += jobs;
        if !state.is_final() {
            status.tubes.entry(tube).or_default().insert(state, jobs);
        }
    }
    status.paused = tubes::paused(connection, now)?;
    status.oldest = oldest(connection)?;
    let mut statement = connection.prepare_cached(WORKERS)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        status.workers.push(WorkerStatus { name: row.get(0)?, started_at: time(row.get(1)?)?, running: row.get(2)? });
    }
    Ok(status)
}

fn oldest(connection: &Connection) -> Result<Option<Oldest>, Fault> {
    let mut statement = connection.prepare_cached(OLDEST_READY)?;
    let mut rows = statement.query([])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let tube = row.get::<_, String>(1)?.parse().map_err(|error| Fault::corrupt("a tube's name", error))?;
    Ok(Some(Oldest { id: JobId::from_bytes(row.get(0)?), tube, submitted_at: time(row.get(2)?)? }))
}

/// Whether anything is ready, delayed or running that the worker could ever take. What is paused is not.
pub(super) fn has_work(connection: &Connection, worker: &WorkerId, tubes: &[Tube], now: i64) -> Result<bool, Fault> {
    let mut statement = connection.prepare_cached(HAS_WORK)?;
    for tube in tubes::open(connection, tubes, now)? {
        let named = named_params! {":tube": tube.as_str(), ":host": worker.name};
        if statement.query_row(named, |row| row.get(0))? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Decision, Document, Span};
    use crate::queue::Queue;
    use crate::queue::sqlite::fixture::{Fixture, document, failed, worker};
    use std::time::Duration;

    #[tokio::test]
    async fn the_status_names_every_state_and_tube_and_worker() {
        let fixture = Fixture::new();
        assert_eq!(fixture.queue.status().await.unwrap().states.len(), State::ALL.len());
        fixture.queue.register(&worker("idle")).await.unwrap();
        let night: Tube = "night".parse().unwrap();
        fixture.submit(document()).await;
        fixture.claim("busy").await.unwrap();
        fixture.advance(Duration::from_secs(1));
        let oldest = fixture.submit(Document { tube: night.clone(), ..document() }).await;
        fixture.advance(Duration::from_secs(1));
        fixture.submit(Document { tube: night.clone(), host: Some("n".to_owned()), priority: 0, ..document() }).await;
        fixture.submit(Document { hold: true, ..document() }).await;
        let status = fixture.queue.status().await.unwrap();
        let count = |state| status.states[&state];
        assert_eq!((count(State::Ready), count(State::Running), count(State::Held)), (2, 1, 1));
        assert_eq!(status.tubes[&night], [(State::Ready, 2)].into());
        assert_eq!(status.tubes[&Tube::default()], [(State::Held, 1), (State::Running, 1)].into());
        assert_eq!(status.oldest.map(|oldest| oldest.id), Some(oldest));
        let workers: Vec<_> = status.workers.iter().map(|worker| (worker.name.as_str(), worker.running)).collect();
        assert_eq!(workers, [("busy", 1), ("idle", 0)]);
    }

    #[tokio::test]
    async fn work_is_what_the_worker_could_ever_take() {
        let fixture = Fixture::new();
        let tubes = [Tube::default()];
        let has_work = async |name: &str| fixture.queue.has_work(&worker(name), &tubes).await.unwrap();
        fixture.submit(Document { hold: true, ..document() }).await;
        fixture.submit(Document { tube: "other".parse().unwrap(), ..document() }).await;
        fixture.submit(Document { host: Some("b".to_owned()), ..document() }).await;
        assert!(!has_work("a").await);
        assert!(has_work("b").await, "one is pinned to it");
        fixture.submit(Document { delay: Some(Span(Duration::from_secs(9))), ..document() }).await;
        assert!(has_work("a").await, "one is delayed");
        fixture.advance(Duration::from_secs(9));
        let lease = fixture.claim("c").await.unwrap().lease;
        assert!(has_work("a").await, "one runs elsewhere, and may come back");
        fixture.settle("c", &lease, failed(), Decision::Bury).await.unwrap();
        assert!(!has_work("a").await);
    }
}
