//! Looking whether a queue's file is whole, and whether what is in it fits together.

use super::fault::Fault;
use super::file::{Faults, Health};
use super::records::{history, parsed, time};
use super::sharing::Sharing;
use super::{open, schema};
use crate::job::{Document, JobId, State, Verdict};
use rusqlite::{Connection, Row};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const JOBS: &str = "
    SELECT jobs.seq, id, state, submitted_at, ready_at, expires_at, started_at, finished_at, attempts, uncounted,
        published, verdict, json, tube, host, priority, algorithm, max_attempts, seed_pinned
    FROM jobs LEFT JOIN documents ON documents.seq = jobs.seq ORDER BY jobs.seq";

const UNWATCHED: &str = "SELECT id FROM jobs WHERE worker IS NOT NULL AND worker NOT IN (SELECT start FROM workers)
    AND unicode(host) IS NOT 1";

const TWICE: &str = "SELECT id FROM forgotten WHERE id IN (SELECT id FROM jobs)";

/// How the host of a job begins that a server keeps (`ledger`), as no document's can.
const SERVER: char = '\u{1}';

/// How many jobs there are, by tube, host and state.
type Counts = BTreeMap<(String, String, String), i64>;

/// Looks at everything, in a state that it had at one moment.
pub(super) fn check(path: &Path, sharing: Sharing) -> Result<Health, Fault> {
    let connection = open::spectator(path, sharing)?;
    schema::expect_newest(&connection)?;
    let snapshot = connection.unchecked_transaction()?;
    let mut health = Health { jobs: 0, faults: Faults::default() };
    sqlites_own(&snapshot, &mut health.faults)?;
    match queues_own(&snapshot, &mut health) {
        // What is damaged in one place may keep from looking at others.
        Err(fault) if !health.faults.is_empty() => {
            health.faults.add(format!("the rest was not looked at: {}", fault.at(path)));
        }
        looked => looked?,
    }
    snapshot.commit()?;
    Ok(health)
}

fn sqlites_own(connection: &Connection, faults: &mut Faults) -> Result<(), Fault> {
    let mut statement = connection.prepare("PRAGMA integrity_check(200)")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let said: String = row.get(0)?;
        if said != "ok" {
            faults.add(said);
        }
    }
    let mut statement = connection.prepare("SELECT \"table\", rowid, parent FROM pragma_foreign_key_check")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (table, place, parent): (String, Option<i64>, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let place = place.map_or_else(String::new, |place| format!(" {place}"));
        faults.add(format!("row{place} of {table} belongs to a row of {parent} that is not there"));
    }
    Ok(())
}

fn queues_own(connection: &Connection, health: &mut Health) -> Result<(), Fault> {
    let mut found = Counts::new();
    let mut statement = connection.prepare(JOBS)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        health.jobs += 1;
        *found.entry((row.get(13)?, row.get(14)?, row.get(2)?)).or_default() += 1;
        let id = JobId::from_bytes(row.get(1)?);
        match job(connection, row, id) {
            Ok(faults) => faults.into_iter().for_each(|what| health.faults.add(format!("job {id}: {what}"))),
            Err(Fault::Corrupt(what)) => health.faults.add(what),
            Err(fault) => return Err(fault),
        }
    }
    counts(connection, found, &mut health.faults)?;
    for (sql, what) in [
        (UNWATCHED, "it runs, but its worker is not known, so that nobody would take it over"),
        (TWICE, "it is there, but its id is also among those of deleted jobs"),
    ] {
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            health.faults.add(format!("job {}: {what}", JobId::from_bytes(row.get(0)?)));
        }
    }
    Ok(())
}

/// Compares the counters of the status with what there is.
fn counts(connection: &Connection, mut found: Counts, faults: &mut Faults) -> Result<(), Fault> {
    let mut told = |place: &(String, String, String), counted: i64, jobs: i64| {
        if counted != jobs {
            let (tube, host, state) = place;
            let host = if host.is_empty() { String::new() } else { format!(", pinned to {host},") };
            faults
                .add(format!("the counter of {state} jobs in tube {tube}{host} says {counted}, but there are {jobs}"));
        }
    };
    let mut statement = connection.prepare("SELECT tube, host, state, jobs FROM counts")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let place = (row.get(0)?, row.get(1)?, row.get(2)?);
        let jobs = found.remove(&place).unwrap_or(0);
        told(&place, row.get(3)?, jobs);
    }
    found.iter().for_each(|(place, jobs)| told(place, 0, *jobs));
    Ok(())
}

/// What is wrong with one job.
fn job(connection: &Connection, row: &Row<'_>, id: JobId) -> Result<Vec<String>, Fault> {
    let seq: i64 = row.get(0)?;
    let state: State = row.get::<_, String>(2)?.parse().map_err(|error| Fault::corrupt("a job's state", error))?;
    let mut faults = Vec::new();
    for column in 3..=7 {
        row.get::<_, Option<i64>>(column)?.map(time).transpose()?;
    }
    if state.is_final() && row.get::<_, Option<i64>>(7)?.is_none() {
        faults.push(format!("it is {state}, but nothing says since when"));
    }
    let verdict: Option<String> = row.get(11)?;
    verdict.map(|json| parsed::<Verdict>("verdict", id, &json)).transpose()?;
    let (attempts, uncounted): (u32, u32) = (row.get(8)?, row.get(9)?);
    let history = history(connection, id, seq)?;
    // Of a server's job only the attempts that were made from here are known.
    let is_servers = row.get::<_, String>(14)?.starts_with(SERVER);
    if !is_servers && !history.iter().map(|one| one.attempt).eq(1..=attempts) {
        let numbers: Vec<_> = history.iter().take(20).map(|one| one.attempt.to_string()).collect();
        faults.push(format!(
            "it had {attempts} attempts, but its history has {}: {}",
            history.len(),
            numbers.join(", ")
        ));
    }
    let open: Vec<_> = history.iter().filter(|one| one.finished_at.is_none()).map(|one| one.attempt).collect();
    let expected = if state == State::Running { vec![attempts] } else { Vec::new() };
    if !is_servers && open != expected {
        faults.push(format!("it is {state}, but the attempts that have not ended are {open:?}"));
    }
    let published: Option<u32> = row.get(10)?;
    if uncounted > attempts || published.is_some_and(|attempt| !(1..=attempts).contains(&attempt)) {
        faults.push(format!("of its {attempts} attempts {uncounted} do not count, and {published:?} is published"));
    }
    faults.extend(document(connection, row, id, seq)?);
    Ok(faults)
}

/// What is wrong with a job's document, and with what is kept of it in columns.
fn document(connection: &Connection, row: &Row<'_>, id: JobId, seq: i64) -> Result<Vec<String>, Fault> {
    let Some(json) = row.get::<_, Option<String>>(12)? else { return Ok(vec!["it has no document".to_owned()]) };
    let document: Document = parsed("document", id, &json)?;
    let columns: (String, String, u32, String, u32, bool) =
        (row.get(13)?, row.get(14)?, row.get(15)?, row.get(16)?, row.get(17)?, row.get(18)?);
    let expected = (
        document.tube.as_str().to_owned(),
        // That of a server's job stands for the server.
        if columns.1.starts_with(SERVER) { columns.1.clone() } else { document.host.unwrap_or_default() },
        document.priority,
        document.algorithm.name.as_str().to_owned(),
        document.max_attempts,
        document.seed.is_some(),
    );
    let mut faults = Vec::new();
    if columns != expected {
        faults.push(format!("it is kept as {columns:?}, but its document says {expected:?}"));
    }
    let mut statement = connection.prepare_cached("SELECT tag FROM tags WHERE seq = ?1")?;
    let tags = statement.query_map([seq], |row| row.get(0))?.collect::<Result<BTreeSet<String>, _>>()?;
    if tags != document.tags.into_iter().collect() {
        faults.push(format!("it is found by the tags {tags:?}, which are not its document's"));
    }
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Decision;
    use crate::queue::sqlite::fixture::{Fixture, document, failed};
    use std::time::Duration;

    /// A queue with a job that was tried twice and runs, and one that waits.
    async fn fixture() -> Fixture {
        let fixture = Fixture::new();
        let tags = vec!["a".to_owned()];
        fixture.submit(Document { tags, priority: 0, host: Some("a".to_owned()), ..document() }).await;
        fixture.submit(document()).await;
        let lease = fixture.claim("a").await.unwrap().lease;
        fixture.settle("a", &lease, failed(), Decision::Retry(Duration::ZERO)).await.unwrap();
        fixture.claim("a").await.unwrap();
        fixture
    }

    fn faults(fixture: &Fixture) -> Vec<String> {
        check(&fixture.path(), Sharing::OneMachine).unwrap().faults.told
    }

    #[tokio::test]
    async fn a_queue_that_is_in_use_is_sound() {
        let health = check(&fixture().await.path(), Sharing::OneMachine).unwrap();
        assert_eq!(health, Health { jobs: 2, faults: Faults::default() });
    }

    #[tokio::test]
    async fn what_does_not_fit_together_is_told_with_the_job() {
        for (damage, part) in [
            ("UPDATE counts SET jobs = jobs + 2", "the counter of ready jobs in tube default says 3, but there are 1"),
            (
                "DELETE FROM counts WHERE host = 'a'",
                "running jobs in tube default, pinned to a, says 0, but there are 1",
            ),
            ("DELETE FROM workers", "its worker is not known"),
            ("DELETE FROM attempts WHERE attempt = 1", "it had 2 attempts, but its history has 1: 2"),
            ("UPDATE attempts SET finished_at = 1", "it is running, but the attempts that have not ended are []"),
            ("UPDATE attempts SET verdict = '7'", "the verdict of job"),
            ("UPDATE jobs SET published = 9 WHERE seq = 1", "Some(9) is published"),
            ("UPDATE jobs SET submitted_at = 9223372036854775807", "a time cannot be read"),
            ("UPDATE jobs SET state = 'dead' WHERE seq = 2", "it is dead, but nothing says since when"),
            ("UPDATE jobs SET priority = 9 WHERE seq = 1", "but its document says (\"default\", \"a\", 0,"),
            ("UPDATE documents SET json = 'null'", "the document of job"),
            ("DELETE FROM documents WHERE seq = 2", "it has no document"),
            ("DELETE FROM tags", "it is found by the tags {}, which are not its document's"),
            (
                "PRAGMA foreign_keys = 0; DELETE FROM jobs WHERE seq = 1",
                "of tags belongs to a row of jobs that is not there",
            ),
            ("INSERT INTO forgotten (id, document, forgotten_at) SELECT id, zeroblob(32), 0 FROM jobs", "deleted jobs"),
            ("PRAGMA ignore_check_constraints = 1; UPDATE jobs SET worker = NULL", "CHECK constraint failed in jobs"),
        ] {
            let fixture = fixture().await;
            fixture.sql(damage);
            let faults = faults(&fixture);
            assert!(faults.iter().any(|fault| fault.contains(part)), "{damage}: {faults:?}");
            assert!(!part.starts_with("it ") || faults.iter().any(|fault| fault.starts_with("job ")), "{faults:?}");
        }
    }

    #[tokio::test]
    async fn however_much_is_wrong_a_hundred_faults_are_told_and_the_rest_is_counted() {
        let fixture = Fixture::new();
        fixture.submit_all(vec![document(); 250]).await;
        fixture.sql("DELETE FROM documents");
        let Health { jobs, faults } = check(&fixture.path(), Sharing::OneMachine).unwrap();
        assert_eq!((jobs, faults.told.len(), faults.more), (250, 100, 150));
    }

    #[tokio::test]
    async fn damage_to_the_file_itself_is_found_wherever_it_is() {
        let fixture = Fixture::new();
        fixture.submit_all(vec![document(); 300]).await;
        let Fixture { directory, queue, .. } = fixture;
        drop(queue);
        let path = directory.path().join("queue.db");
        let whole = std::fs::read(&path).unwrap();
        let (mut found, mut pages) = (0, 0);
        for page in (4096..whole.len()).step_by(4096) {
            let mut damaged = whole.clone();
            damaged[page..page + 512].iter_mut().for_each(|byte| *byte = !*byte);
            std::fs::write(&path, damaged).unwrap();
            let looked = check(&path, Sharing::OneMachine);
            pages += 1;
            found += usize::from(looked.is_err() || looked.is_ok_and(|health| !health.faults.is_empty()));
        }
        // A free page may hold anything.
        assert!(pages > 20 && found + 2 >= pages, "{found} of {pages}");
    }

    #[test]
    fn a_file_of_an_older_version_is_not_changed_by_looking_at_it() {
        let fixture = Fixture::new();
        fixture.sql("PRAGMA user_version = 1");
        let refusal = check(&fixture.path(), Sharing::OneMachine).unwrap_err().at(&fixture.path()).to_string();
        assert!(refusal.contains("its schema is version 1"), "{refusal}");
    }
}
