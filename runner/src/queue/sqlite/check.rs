//! Looking whether a queue's file is whole, and whether what is in it fits together.

use super::columns::{UNTIL_ENDED, named, parsed, time};
use super::fault::Fault;
use super::open::{self, Sharing};
use super::records::history;
use super::schema;
use crate::job::{Document, JobId, State, Verdict};
use rusqlite::{Connection, Row, named_params};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// As many faults are told; the rest is counted.
const TOLD: usize = 100;

const JOBS: &str = "
    SELECT jobs.seq, id, state, submitted_at, ready_at, expires_at, started_at, finished_at, attempts, uncounted,
        published, verdict, json, tube, host, priority, algorithm, max_attempts, seed_pinned,
        unique_key IS NOT NULL AND unique_until IS :until_ended
    FROM jobs LEFT JOIN documents ON documents.seq = jobs.seq ORDER BY jobs.seq";

const UNWATCHED: &str =
    "SELECT seq, id FROM jobs WHERE worker IS NOT NULL AND worker NOT IN (SELECT start FROM workers)";

const TWICE: &str = "SELECT place, id FROM forgotten WHERE id IN (SELECT id FROM jobs)";

const UNSENDABLE: &str = "
    SELECT COUNT(*) FROM deliveries WHERE seq = ?1 AND (state = 'pending') <> (next_at IS NOT NULL)";

/// Outcomes of attempts that are not there or run, and large parts of outcomes that are not whole.
const OUTCOMES: &str = "
    SELECT outcomes.seq, id, outcomes.attempt, attempts.finished_at IS NULL,
        (document_size IS NOT NULL AND document IS NULL AND document_size IS NOT (
            SELECT SUM(size) FROM pieces WHERE pieces.seq = outcomes.seq AND pieces.attempt = outcomes.attempt
                AND kind = 'document'))
        OR (log IS NULL AND log_size IS NOT (
            SELECT SUM(size) FROM pieces WHERE pieces.seq = outcomes.seq AND pieces.attempt = outcomes.attempt
                AND kind = 'log'))
        OR length(document) > document_size OR length(log) > log_size
    FROM outcomes JOIN jobs USING (seq) LEFT JOIN attempts USING (seq, attempt)
    ORDER BY outcomes.seq";

/// Modules whose pieces are not all there.
const MODULES: &str = "
    SELECT hex(digest), size, (SELECT SUM(length(bytes)) FROM module_pieces WHERE module_pieces.digest = modules.digest)
    FROM modules";

/// What is wrong, as far as anybody wants to read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// The first hundred.
    pub told: Vec<String>,
    /// How many others there are.
    pub more: u64,
}

impl Faults {
    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    pub(super) fn add(&mut self, what: String) {
        if self.told.len() < TOLD {
            self.told.push(what);
        } else {
            self.more += 1;
        }
    }
}

/// How a queue's file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Jobs that were looked at.
    pub jobs: u64,
    /// What is wrong.
    pub faults: Faults,
}

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
    let mut rows = statement.query(named_params! {":until_ended": UNTIL_ENDED})?;
    while let Some(row) = rows.next()? {
        health.jobs += 1;
        let looked = counted(row, 13, 14, 2).map_err(Fault::from).and_then(|place| {
            *found.entry(place).or_default() += 1;
            job(connection, row, JobId::from_bytes(row.get(1)?))
        });
        match looked {
            Ok(faults) => faults.into_iter().for_each(|what| health.faults.add(format!("{}: {what}", named(row)))),
            Err(fault) if fault.is_of_a_row() => health.faults.add(format!("{}: {fault}", named(row))),
            Err(fault) => return Err(fault),
        }
    }
    counts(connection, found, &mut health.faults)?;
    contents(connection, &mut health.faults)?;
    for (sql, what) in [
        (UNWATCHED, "it runs, but its worker is not known, so that nobody would take it over"),
        (TWICE, "it is there, but its id is also among those of deleted jobs"),
    ] {
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            health.faults.add(format!("{}: {what}", named(row)));
        }
    }
    Ok(())
}

/// Looks whether outcomes and modules are whole.
fn contents(connection: &Connection, faults: &mut Faults) -> Result<(), Fault> {
    let mut statement = connection.prepare(OUTCOMES)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (attempt, runs, is_broken): (i64, bool, Option<bool>) = (row.get(2)?, row.get(3)?, row.get(4)?);
        if runs {
            faults.add(format!("{}: attempt {attempt} has an outcome, but has not ended", named(row)));
        }
        if is_broken == Some(true) {
            faults.add(format!("{}: the document or the log of attempt {attempt} is not whole", named(row)));
        }
    }
    let mut statement = connection.prepare(MODULES)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (digest, size, found): (String, i64, Option<i64>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let found = found.unwrap_or(0);
        if found != size {
            faults.add(format!("module sha256:{} has {found} bytes instead of {size}", digest.to_lowercase()));
        }
    }
    Ok(())
}

/// The tube, host and state in which a row counts, from these columns.
fn counted(row: &Row<'_>, tube: usize, host: usize, state: usize) -> rusqlite::Result<(String, String, String)> {
    Ok((row.get(tube)?, row.get(host)?, row.get(state)?))
}

/// Compares the counters of the status with what there is.
fn counts(connection: &Connection, mut found: Counts, faults: &mut Faults) -> Result<(), Fault> {
    let told = |(tube, host, state): &(String, String, String), counted: i64, jobs: i64| {
        let host = if host.is_empty() { String::new() } else { format!(", pinned to {host},") };
        format!("the counter of {state} jobs in tube {tube}{host} says {counted}, but there are {jobs}")
    };
    let mut statement = connection.prepare("SELECT tube, host, state, jobs FROM counts")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        match counted(row, 0, 1, 2).and_then(|place| Ok((place, row.get(3)?))).map_err(Fault::from) {
            Ok((place, counted)) => {
                let jobs = found.remove(&place).unwrap_or(0);
                if counted != jobs {
                    faults.add(told(&place, counted, jobs));
                }
            }
            Err(fault) if fault.is_of_a_row() => faults.add(format!("a counter: {fault}")),
            Err(fault) => return Err(fault),
        }
    }
    found.iter().for_each(|(place, jobs)| faults.add(told(place, 0, *jobs)));
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
    match (state.is_final(), row.get::<_, Option<i64>>(7)?) {
        (true, None) => faults.push(format!("it is {state}, but nothing says since when")),
        (false, Some(_)) => faults.push(format!("it is {state}, but has ended")),
        _ => {}
    }
    let verdict: Option<String> = row.get(11)?;
    verdict.map(|json| parsed::<Verdict>("verdict", id, &json)).transpose()?;
    let (attempts, uncounted): (u32, u32) = (row.get(8)?, row.get(9)?);
    let history = history(connection, id, seq)?;
    if !history.iter().map(|one| one.attempt).eq(1..=attempts) {
        let numbers: Vec<_> = history.iter().take(20).map(|one| one.attempt.to_string()).collect();
        faults.push(format!(
            "it had {attempts} attempts, but its history has {}: {}",
            history.len(),
            numbers.join(", ")
        ));
    }
    let open: Vec<_> = history.iter().filter(|one| one.finished_at.is_none()).map(|one| one.attempt).collect();
    let expected = if state == State::Running { vec![attempts] } else { Vec::new() };
    if open != expected {
        faults.push(format!("it is {state}, but the attempts that have not ended are {open:?}"));
    }
    let published: Option<u32> = row.get(10)?;
    if uncounted > attempts || published.is_some_and(|attempt| !(1..=attempts).contains(&attempt)) {
        faults.push(format!("of its {attempts} attempts {uncounted} do not count, and {published:?} is published"));
    }
    let may_expire = row.get::<_, Option<i64>>(5)?.is_some();
    if may_expire && (state.is_final() || state == State::Running || attempts > uncounted) {
        faults.push(format!("it is {state} after {attempts} attempts, and would still expire"));
    }
    if state.is_final() && row.get(19)? {
        faults.push(format!("it is {state}, but holds its unique key until it has ended"));
    }
    let unsendable: i64 = connection.prepare_cached(UNSENDABLE)?.query_row([seq], |row| row.get(0))?;
    if unsendable > 0 {
        faults.push(format!("{unsendable} of its deliveries are pending and never due, or due and not pending"));
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
        document.host.unwrap_or_default(),
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
            ("UPDATE jobs SET uncounted = 3 WHERE seq = 1", "of its 2 attempts 3 do not count"),
            ("UPDATE jobs SET expires_at = 9 WHERE seq = 1", "it is running after 2 attempts, and would still expire"),
            (
                "UPDATE jobs SET state = 'dead', finished_at = 1, unique_key = 'k', unique_until = 9223372036854775807
                    WHERE seq = 2",
                "it is dead, but holds its unique key until it has ended",
            ),
            ("UPDATE jobs SET submitted_at = 9223372036854775807", "a time cannot be read"),
            ("UPDATE jobs SET state = 'dead' WHERE seq = 2", "it is dead, but nothing says since when"),
            ("UPDATE jobs SET priority = 9 WHERE seq = 1", "but its document says (\"default\", \"a\", 0,"),
            ("UPDATE documents SET json = 'null'", "the document of job"),
            ("UPDATE jobs SET finished_at = 1 WHERE seq = 2", "it is ready, but has ended"),
            (
                "INSERT INTO deliveries VALUES (2, 1, 'https://h.example/', 'pending', 0, 1, NULL, NULL, NULL)",
                "1 of its deliveries are pending and never due",
            ),
            ("UPDATE jobs SET tube = CAST(x'ff' AS TEXT) WHERE seq = 1", "invalid utf-8 sequence"),
            ("UPDATE counts SET tube = CAST(x'ff' AS TEXT)", "a counter: invalid utf-8 sequence"),
            ("DELETE FROM documents WHERE seq = 2", "it has no document"),
            ("UPDATE outcomes SET log = NULL", "the document or the log of attempt 1 is not whole"),
            ("UPDATE outcomes SET document_size = 1", "the document or the log of attempt 1 is not whole"),
            ("UPDATE outcomes SET attempt = 2", "attempt 2 has an outcome, but has not ended"),
            ("INSERT INTO modules VALUES (zeroblob(32), 'command', 7)", "00 has 0 bytes instead of 7"),
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
