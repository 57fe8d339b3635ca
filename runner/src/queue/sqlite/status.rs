//! How the queue stands: read off counters and by seeks in indexes, not off all jobs.
//!
//! Jobs that have expired are counted as cancelled, also before that is written down; a bounded number of
//! them is looked at.

use super::columns::time;
use super::fault::Fault;
use super::{timings, tubes};
use crate::job::{JobId, State, Tube};
use crate::queue::{COUNTED, LISTED, Oldest, Recent, Status, WorkerId, WorkerStatus};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, named_params};
use std::collections::BTreeMap;

/// As many jobs that have expired are looked at before a worker is told that there may be work. Should they
/// be more, it finds none, and its claim has cancelled some.
const EXPIRED: i64 = 1_000;

const COUNTS: &str = "SELECT tube, state, jobs FROM counts ORDER BY tube";

/// Jobs have been numbered without a gap since the queue was made.
const SUBMITTED: &str = "SELECT seq FROM sqlite_sequence WHERE name = 'jobs'";

const WORKERS: &str = "
    SELECT name, started_at, (SELECT COUNT(*) FROM jobs WHERE worker = start) FROM workers
    ORDER BY name, started_at";

const HAS_WORK: &str = "
    SELECT (
        SELECT COALESCE(SUM(jobs), 0) FROM counts
        WHERE tube = :tube AND host IN ('', :host) AND state IN ('ready', 'delayed', 'running')
    ) > (
        SELECT COUNT(*) FROM (
            SELECT state, tube, host FROM jobs INDEXED BY jobs_expiring
            WHERE expires_at IS NOT NULL AND expires_at <= :now LIMIT :expired)
        WHERE tube = :tube AND host IN ('', :host) AND state IN ('ready', 'delayed')
    )";

/// How the queue stands at the time `now`.
pub(super) fn status(connection: &Connection, now: i64) -> Result<Status, Fault> {
    let mut status = Status {
        submitted: connection.prepare_cached(SUBMITTED)?.query_row([], |row| row.get(0)).optional()?.unwrap_or(0),
        ages: ages(connection, now)?,
        oldest: oldest(connection, now)?,
        recent: recent(connection, now)?,
        paused: tubes::paused(connection, now)?,
        ..Status::default()
    };
    count(connection, &mut status)?;
    expire(connection, &mut status, now)?;
    (status.timings, status.attempts) = timings::read(connection)?;
    let mut statement = connection.prepare_cached(WORKERS)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        status.workers.push(WorkerStatus { name: row.get(0)?, started_at: time(row.get(1)?)?, running: row.get(2)? });
    }
    Ok(status)
}

/// Counts jobs by state, and by tube those that have not ended.
fn count(connection: &Connection, status: &mut Status) -> Result<(), Fault> {
    status.states = State::ALL.map(|state| (state, 0)).into();
    let mut statement = connection.prepare_cached(COUNTS)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let state: State =
            row.get::<_, String>(1)?.parse().map_err(|error| Fault::corrupt("a counted state", error))?;
        let jobs: u64 = row.get(2)?;
        *status.states.entry(state).or_default() += jobs;
        if !state.is_final() {
            let tube = tube(row.get(0)?)?;
            if status.tubes.len() < LISTED || status.tubes.contains_key(&tube) {
                *status.tubes.entry(tube).or_default().entry(state).or_default() += jobs;
            }
        }
    }
    Ok(())
}

fn tube(name: String) -> Result<Tube, Fault> {
    name.try_into().map_err(|error| Fault::corrupt("a tube's name", error))
}

/// Whether anything is ready, delayed or running that the worker could ever take. What is paused without an
/// end is not.
pub(super) fn has_work(connection: &Connection, worker: &WorkerId, tubes: &[Tube], now: i64) -> Result<bool, Fault> {
    let mut statement = connection.prepare_cached(HAS_WORK)?;
    for tube in tubes {
        if tubes::is_paused_for_good(connection, tube)? {
            continue;
        }
        let named = named_params! {":tube": tube.as_str(), ":host": worker.name, ":now": now, ":expired": EXPIRED};
        if statement.query_row(named, |row| row.get(0))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// As many jobs that have expired are passed over in the search for one that has not.
const EXPIRED_PASSED: usize = 10_000;

/// Jobs are numbered as they are submitted, so the first is the oldest.
const FIRST: &str = "
    SELECT id, tube, submitted_at, expires_at <= :now FROM jobs INDEXED BY jobs_state WHERE state = :state
    ORDER BY seq";
const LAST: &str = "
    SELECT id, tube, submitted_at, expires_at <= :now FROM jobs INDEXED BY jobs_state WHERE state = :state
    ORDER BY seq DESC";

/// When the oldest and the newest job of each state were submitted.
fn ages(connection: &Connection, now: i64) -> Result<BTreeMap<State, (Timestamp, Timestamp)>, Fault> {
    let mut ages = BTreeMap::new();
    for state in State::ALL {
        if let Some(oldest) = first(connection, FIRST, state, now)?
            && let Some(newest) = first(connection, LAST, state, now)?
        {
            ages.insert(state, (oldest.submitted_at, newest.submitted_at));
        }
    }
    Ok(ages)
}

/// The job that is ready and was submitted first.
fn oldest(connection: &Connection, now: i64) -> Result<Option<Oldest>, Fault> {
    first(connection, FIRST, State::Ready, now)
}

/// The first job in the order of `sql` that has not expired.
fn first(connection: &Connection, sql: &str, state: State, now: i64) -> Result<Option<Oldest>, Fault> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(named_params! {":state": state.as_str(), ":now": now})?;
    for _ in 0..=EXPIRED_PASSED {
        let Some(row) = rows.next()? else { break };
        if row.get::<_, Option<bool>>(3)? != Some(true) {
            let (id, submitted_at) = (JobId::from_bytes(row.get(0)?), time(row.get(2)?)?);
            return Ok(Some(Oldest { id, tube: tube(row.get(1)?)?, submitted_at }));
        }
    }
    Ok(None)
}

/// How many hours are looked back.
const HOURS: [u32; 2] = [1, 24];
/// As many jobs that have expired are looked at; the others are counted as if they had not.
const EXPIRED_COUNTED: i64 = 100_000;

const ENDED: &str = "
    SELECT COUNT(*) FROM (
        SELECT 1 FROM jobs INDEXED BY jobs_ended
        WHERE state = :state AND finished_at IS NOT NULL AND finished_at > :since LIMIT :most)";

const HAVE_EXPIRED: &str = "
    SELECT state, tube, submitted_at, MAX(expires_at, submitted_at) FROM jobs INDEXED BY jobs_expiring
    WHERE expires_at IS NOT NULL AND expires_at <= :now
    ORDER BY expires_at LIMIT :most";

fn hours_before(now: i64, hours: u32) -> i64 {
    now.saturating_sub(i64::from(hours) * 3_600_000)
}

/// How many jobs ended in the last hours.
fn recent(connection: &Connection, now: i64) -> Result<Vec<Recent>, Fault> {
    let mut statement = connection.prepare_cached(ENDED)?;
    let mut count = |state: State, hours| {
        let since = hours_before(now, hours);
        let named = named_params! {":state": state.as_str(), ":since": since, ":most": COUNTED};
        Ok((state, statement.query_row(named, |row| row.get(0))?))
    };
    let mut recent = |hours| {
        let ended = State::ALL.into_iter().filter(|state| state.is_final()).map(|state| count(state, hours));
        Ok(Recent { hours, jobs: ended.collect::<Result<_, Fault>>()? })
    };
    HOURS.into_iter().map(&mut recent).collect()
}

/// Has the status tell of jobs that have expired as if somebody had cancelled them already.
fn expire(connection: &Connection, status: &mut Status, now: i64) -> Result<(), Fault> {
    let mut statement = connection.prepare_cached(HAVE_EXPIRED)?;
    let mut rows = statement.query(named_params! {":now": now, ":most": EXPIRED_COUNTED})?;
    while let Some(row) = rows.next()? {
        let state: State = row.get::<_, String>(0)?.parse().map_err(|error| Fault::corrupt("a job's state", error))?;
        let (submitted_at, ended_at) = (time(row.get(2)?)?, row.get::<_, i64>(3)?);
        for (state, change) in [(state, -1), (State::Cancelled, 1)] {
            let jobs = status.states.entry(state).or_default();
            *jobs = jobs.saturating_add_signed(change);
        }
        let tube = tube(row.get(1)?)?;
        if let Some(states) = status.tubes.get_mut(&tube) {
            if let Some(jobs) = states.get_mut(&state) {
                *jobs = jobs.saturating_sub(1);
            }
            states.retain(|_, jobs| *jobs > 0);
            if states.is_empty() {
                status.tubes.remove(&tube);
            }
        }
        let (oldest, newest) = status.ages.entry(State::Cancelled).or_insert((submitted_at, submitted_at));
        (*oldest, *newest) = ((*oldest).min(submitted_at), (*newest).max(submitted_at));
        for recent in status.recent.iter_mut().filter(|recent| ended_at > hours_before(now, recent.hours)) {
            *recent.jobs.entry(State::Cancelled).or_default() += 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Decision, Document, Span, Verdict};
    use crate::queue::sqlite::fixture::{Fixture, document, failed, worker};
    use crate::queue::{Jobs, Work};
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
        assert_eq!(status.submitted, 4);
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

    #[tokio::test]
    async fn of_a_tube_in_which_nothing_is_left_nothing_is_kept() {
        let fixture = Fixture::new();
        for name in ["one", "two"] {
            let id = fixture.submit(Document { tube: name.parse().unwrap(), ..document() }).await;
            let deleted = fixture.queue.act(&[id], &crate::queue::Action::Delete).await.unwrap();
            assert!(deleted[0].outcome.is_ok());
        }
        let counted: u32 = fixture.reader().query_row("SELECT COUNT(*) FROM counts", [], |row| row.get(0)).unwrap();
        assert_eq!(counted, 0);
    }

    fn seconds(span: (jiff::Timestamp, jiff::Timestamp), start: jiff::Timestamp) -> (i64, i64) {
        (span.0.duration_since(start).as_secs(), span.1.duration_since(start).as_secs())
    }

    #[tokio::test]
    async fn ages_are_of_the_first_and_last_jobs_of_a_state_that_have_not_expired() {
        let fixture = Fixture::new();
        let start = fixture.now();
        let expires = Some("10s".parse().unwrap());
        for expires in [expires, None, None, expires] {
            fixture.submit(Document { expires, ..document() }).await;
            fixture.advance(Duration::from_secs(1));
        }
        let ages = fixture.queue.status().await.unwrap().ages;
        assert_eq!(
            ages.into_iter().map(|(state, span)| (state, seconds(span, start))).collect::<Vec<_>>(),
            [(State::Ready, (0, 3))]
        );
        fixture.advance(Duration::from_secs(10));
        let status = fixture.queue.status().await.unwrap();
        assert_eq!(seconds(status.ages[&State::Ready], start), (1, 2));
        assert_eq!(seconds(status.ages[&State::Cancelled], start), (0, 3));
        assert_eq!(status.oldest.map(|oldest| oldest.submitted_at), Some(status.ages[&State::Ready].0));
    }

    #[tokio::test]
    async fn jobs_that_have_expired_are_counted_alike_before_and_after_somebody_has_written_that_down() {
        let fixture = Fixture::new();
        let expires = Some("10s".parse().unwrap());
        let night: Tube = "night".parse().unwrap();
        for (tube, hold) in [(Tube::default(), false), (Tube::default(), true), (night.clone(), false)] {
            fixture.submit(Document { tube, hold, expires, ..document() }).await;
        }
        fixture.submit(document()).await;
        fixture.advance(Duration::from_secs(10));
        assert!(!fixture.queue.has_work(&worker("a"), std::slice::from_ref(&night)).await.unwrap());
        let before = fixture.queue.status().await.unwrap();
        assert_eq!((before.states[&State::Ready], before.states[&State::Held]), (1, 0));
        assert_eq!((before.states[&State::Cancelled], before.recent[0].jobs[&State::Cancelled]), (3, 3));
        assert_eq!(before.tubes, [(Tube::default(), [(State::Ready, 1)].into())].into());
        assert!(fixture.queue.claim(&worker("a"), &[night], 1).await.unwrap().is_empty());
        let after = fixture.queue.status().await.unwrap();
        assert_eq!(crate::queue::Status { workers: Vec::new(), ..after }, before);
    }

    #[tokio::test]
    async fn jobs_that_ended_lately_are_counted_by_the_hour_and_the_day() {
        let fixture = Fixture::new();
        for wait in [7_200, 3_600, 3_599] {
            fixture.submit(document()).await;
            let lease = fixture.claim("a").await.unwrap().lease;
            fixture.settle("a", &lease, Verdict::Done, Decision::Finish).await.unwrap();
            fixture.advance(Duration::from_secs(wait));
        }
        let recent = fixture.queue.status().await.unwrap().recent;
        let done: Vec<_> = recent.iter().map(|recent| (recent.hours, recent.jobs[&State::Done])).collect();
        assert_eq!(done, [(1, 1), (24, 3)]);
        fixture.advance(Duration::from_secs(86_400));
        assert!(fixture.queue.status().await.unwrap().recent.iter().all(|recent| recent.jobs[&State::Done] == 0));
    }

    #[tokio::test]
    async fn only_so_many_tubes_are_told_of_whatever_submitters_call_theirs() {
        let fixture = Fixture::new();
        let tubes = (0..LISTED + 5).map(|number| format!("t{number}").parse().unwrap());
        fixture.submit_all(tubes.map(|tube| Document { tube, ..document() }).collect()).await;
        let status = fixture.queue.status().await.unwrap();
        assert_eq!((status.tubes.len(), status.states[&State::Ready]), (LISTED, LISTED as u64 + 5));
    }

    #[test]
    fn no_step_looks_at_all_jobs() {
        let fixture = Fixture::new();
        for (sql, step) in [
            (FIRST, "jobs USING INDEX jobs_state (state=?)"),
            (LAST, "jobs USING INDEX jobs_state (state=?)"),
            (ENDED, "jobs USING COVERING INDEX jobs_ended (state=? AND finished_at>?)"),
            (HAVE_EXPIRED, "jobs USING INDEX jobs_expiring (expires_at>? AND expires_at<?)"),
            (HAS_WORK, "jobs USING INDEX jobs_expiring (expires_at>? AND expires_at<?)"),
        ] {
            let plan = fixture.plan(sql);
            assert!(plan.contains(step) && !plan.contains("SCAN jobs") && !plan.contains("TEMP"), "{sql}: {plan}");
        }
    }
}
