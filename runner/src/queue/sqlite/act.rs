//! What operators and submitters do to jobs.
//!
//! Whether something can be done to a job is known before anything is written, so a refusal leaves that job
//! as it was, and has no effect on the others that were named with it.

use super::fault::Fault;
use super::settle::{self, Ending};
use super::{forget, modules, records, submit};
use crate::job::{Decision, Digest, Document, JobId, State, Unique, UniqueFor, Verdict, excerpt};
use crate::queue::{Acted, Action, PATCHABLE, Refusal};
use jiff::Timestamp;
use rusqlite::{Connection, named_params};
use serde_json::{Map, Value};

const FIND: &str = "
    SELECT seq, state, attempts, ready_at, expires_at, submitted_at FROM jobs WHERE id = ?1";

const WAIT: &str = "UPDATE jobs SET state = :state, ready_at = :ready_at WHERE seq = :seq";

/// The verdict and the result of the attempt that failed last stay until there are others.
const REVIVE: &str = "
    UPDATE jobs SET state = 'ready', ready_at = :now, finished_at = NULL, kicks = MIN(kicks + 1, :most_kicks),
        unique_key = COALESCE(:unique_key, unique_key)
    WHERE seq = :seq";

/// A job, as it stands before anything is done to it.
struct Found {
    seq: i64,
    id: JobId,
    state: State,
    attempts: u32,
    ready_at: i64,
    expires_at: Option<i64>,
}

/// Why nothing is done to a job.
enum Stop {
    /// It is told to whoever asked.
    Refused(Refusal),
    /// It ends the whole call.
    Failed(Fault),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Refused(refusal)
    }
}

impl<E: Into<Fault>> From<E> for Stop {
    fn from(fault: E) -> Self {
        Stop::Failed(fault.into())
    }
}

/// Does the same to each of these jobs.
pub(super) fn act(
    connection: &Connection,
    ids: &[JobId],
    action: &Action,
    now: Timestamp,
) -> Result<Vec<Acted>, Fault> {
    let mut acted = Vec::with_capacity(ids.len());
    for &id in ids {
        let outcome = match act_on(connection, id, action, now) {
            Ok(state) => Ok(state),
            Err(Stop::Refused(refusal)) => Err(refusal),
            Err(Stop::Failed(fault)) => return Err(fault),
        };
        acted.push(Acted { id, outcome });
    }
    Ok(acted)
}

/// Does it to one job, and returns the state that it is in afterwards, or was in before it was deleted.
fn act_on(connection: &Connection, id: JobId, action: &Action, now: Timestamp) -> Result<State, Stop> {
    let millis = now.as_millisecond();
    let job = find(connection, id, millis)?;
    match action {
        Action::Cancel { reason } => cancel(connection, &job, reason, millis),
        Action::Hold => hold(connection, &job),
        Action::Release => release(connection, &job, millis),
        Action::Kick => kick(connection, &job, millis),
        Action::Update(patch) => update(connection, &job, patch, now),
        Action::Delete => delete(connection, &job, millis),
    }
}

/// The job of this id. One that has expired is cancelled here if no claim has done so.
fn find(connection: &Connection, id: JobId, now: i64) -> Result<Found, Stop> {
    let mut statement = connection.prepare_cached(FIND)?;
    let mut rows = statement.query([id.as_bytes()])?;
    let row = rows.next()?.ok_or(Refusal::NoSuchJob)?;
    let mut job = Found {
        seq: row.get(0)?,
        id,
        state: row.get::<_, String>(1)?.parse().map_err(|error| Fault::corrupt("a job's state", error))?,
        attempts: row.get(2)?,
        ready_at: row.get(3)?,
        expires_at: row.get(4)?,
    };
    if let Some(expired_at) = job.expires_at.filter(|expires_at| *expires_at <= now) {
        settle::expire(connection, job.seq, expired_at.max(row.get(5)?))?;
        job.state = State::Cancelled;
    }
    Ok(job)
}

fn cancel(connection: &Connection, job: &Found, reason: &str, now: i64) -> Result<State, Stop> {
    let verdict = &Verdict::Cancelled { message: reason.to_owned() }.clipped();
    match job.state {
        State::Cancelled => {}
        State::Done | State::Dead => {
            return Err(Refusal::State(job.state, ", and has ended; delete it if it is not wanted any more").into());
        }
        State::Running => {
            let (attempt, decision) = (job.attempts, Decision::Cancel);
            let ending = Ending { attempt, verdict, decision, usage: None, published: false, never_started: false };
            settle::end_attempt(connection, job.seq, &ending, now)?;
        }
        State::Held | State::Delayed | State::Ready => {
            settle::cancel(connection, job.seq, verdict, now)?;
        }
    }
    Ok(State::Cancelled)
}

fn hold(connection: &Connection, job: &Found) -> Result<State, Stop> {
    let instead = match job.state {
        State::Held => return Ok(State::Held),
        State::Delayed | State::Ready => return wait(connection, job, State::Held, job.ready_at),
        State::Running => "; only a job that waits can be held: cancel it, or let it end",
        State::Done | State::Dead | State::Cancelled => ", and has ended; only a job that waits can be held",
    };
    Err(Refusal::State(job.state, instead).into())
}

fn release(connection: &Connection, job: &Found, now: i64) -> Result<State, Stop> {
    let instead = match job.state {
        State::Held => return wait(connection, job, submit::waits(job.ready_at, now), job.ready_at),
        State::Delayed | State::Ready => return Ok(job.state),
        State::Running => ", so nothing holds it",
        State::Dead => ", not held; kick it to have it tried again",
        State::Done | State::Cancelled => ", and has ended; submit a new job",
    };
    Err(Refusal::State(job.state, instead).into())
}

fn kick(connection: &Connection, job: &Found, now: i64) -> Result<State, Stop> {
    let instead = match job.state {
        State::Dead => return revive(connection, job, now),
        State::Delayed => return wait(connection, job, State::Ready, now),
        State::Held => "; release it",
        State::Ready => " already",
        State::Running => "; only a job that is dead or delayed can be kicked",
        State::Done | State::Cancelled => ", and has ended; submit a new job",
    };
    Err(Refusal::State(job.state, instead).into())
}

fn wait(connection: &Connection, job: &Found, state: State, ready_at: i64) -> Result<State, Stop> {
    let named = named_params! {":seq": job.seq, ":state": state.as_str(), ":ready_at": ready_at};
    connection.prepare_cached(WAIT)?.execute(named)?;
    Ok(state)
}

/// Makes a dead job ready, with `max_attempts` more.
fn revive(connection: &Connection, job: &Found, now: i64) -> Result<State, Stop> {
    // A key that is held for a time has not been given back; one that is held until the job ends has.
    let key = match document(connection, job)?.unique {
        Some(Unique { key, period: UniqueFor::Done }) => Some(key),
        Some(Unique { period: UniqueFor::For(_), .. }) | None => None,
    };
    if let Some(key) = &key
        && let Some(holder) = submit::key_holder(connection, key, now)?
    {
        return Err(Refusal::NotUnique(holder).into());
    }
    let named = named_params! {":seq": job.seq, ":now": now, ":most_kicks": u32::MAX, ":unique_key": key};
    connection.prepare_cached(REVIVE)?.execute(named)?;
    Ok(State::Ready)
}

fn delete(connection: &Connection, job: &Found, now: i64) -> Result<State, Stop> {
    if job.state == State::Running {
        return Err(Refusal::State(job.state, "; cancel it first").into());
    }
    forget::remove(connection, job.seq, now)?;
    Ok(job.state)
}

/// The job's document. Without one that can be read, nothing can be done to the job but deleting it.
fn document(connection: &Connection, job: &Found) -> Result<Document, Stop> {
    match records::document(connection, job.seq, job.id) {
        Ok(document) => Ok(document),
        Err(fault) if fault.is_of_a_row() => Err(Refusal::Invalid(format!("{fault}; delete it")).into()),
        Err(fault) => Err(fault.into()),
    }
}

const UPDATE: &str = "
    UPDATE jobs SET state = :state, tube = :tube, host = :host, priority = :priority, algorithm = :algorithm,
        ready_at = :ready_at, expires_at = :expires_at, seed_pinned = :seed_pinned, max_attempts = :max_attempts,
        module = CASE WHEN :pinned_anew THEN :module ELSE module END, submitted_as = COALESCE(submitted_as, :submitted_as)
    WHERE seq = :seq";

/// Applies a merge patch to the job's document, and has the job follow.
///
/// Times in the patch count from now. The job keeps its place in the queue, and what it was submitted as.
fn update(connection: &Connection, job: &Found, patch: &Map<String, Value>, now: Timestamp) -> Result<State, Stop> {
    let instead = match job.state {
        State::Held | State::Delayed | State::Ready | State::Dead => None,
        State::Running => Some("; only a job that waits or is dead can be changed: cancel it, or let it end"),
        State::Done | State::Cancelled => Some(", and has ended; submit a new job"),
    };
    if let Some(instead) = instead {
        return Err(Refusal::State(job.state, instead).into());
    }
    let before = document(connection, job)?;
    let after = patched(&before, patch)?;
    let pinned_anew = before.algorithm != after.algorithm;
    let (before, json) = (before.canonical(), after.canonical());
    let submitted_as = (before != json).then(|| Digest::of(&before));

    let (state, ready_at) = due(job, patch, &after, now);
    let expires_at = expiry(job, patch, &after, now)?;
    connection.prepare_cached(UPDATE)?.execute(named_params! {
        ":seq": job.seq,
        ":state": state.as_str(),
        ":tube": after.tube.as_str(),
        ":host": after.host.as_deref().unwrap_or_default(),
        ":priority": after.priority,
        ":algorithm": after.algorithm.name.as_str(),
        ":ready_at": ready_at,
        ":expires_at": expires_at,
        ":seed_pinned": after.seed.is_some(),
        ":max_attempts": after.max_attempts,
        ":pinned_anew": pinned_anew,
        ":module": modules::pinned(connection, &after)?.as_ref().map(Digest::as_bytes),
        ":submitted_as": submitted_as.as_ref().map(Digest::as_bytes),
    })?;
    connection.prepare_cached("UPDATE documents SET json = ?2 WHERE seq = ?1")?.execute((job.seq, json))?;
    connection.prepare_cached("DELETE FROM tags WHERE seq = ?1")?.execute([job.seq])?;
    submit::tag(connection, job.seq, &after.tags)?;
    if expires_at.is_some_and(|expires_at| expires_at <= now.as_millisecond()) {
        settle::expire(connection, job.seq, now.as_millisecond())?;
        return Ok(State::Cancelled);
    }
    Ok(state)
}

/// The document with the patch applied, read and checked like one that is submitted.
fn patched(document: &Document, patch: &Map<String, Value>) -> Result<Document, Refusal> {
    if let Some(field) = patch.keys().find(|field| !PATCHABLE.contains(&field.as_str())) {
        return Err(Refusal::Invalid(format!(
            "{} cannot be changed; what can be is {}",
            excerpt(field),
            PATCHABLE.join(", ")
        )));
    }
    let invalid = |error: &dyn std::fmt::Display| Refusal::Invalid(error.to_string());
    let mut value = serde_json::to_value(document).map_err(|error| invalid(&error))?;
    for (given, replaced) in [("delay", "run_at"), ("run_at", "delay")] {
        if patch.get(given).is_some_and(|time| !time.is_null())
            && let Some(fields) = value.as_object_mut()
        {
            fields.remove(replaced);
        }
    }
    merge(&mut value, patch);
    Document::read(&value.to_string()).map_err(|error| invalid(&error))
}

/// Merges as RFC 7396 says: `null` removes, objects are merged, and whatever else replaces.
fn merge(target: &mut Value, patch: &Map<String, Value>) {
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(fields) = target.as_object_mut() else { return };
    for (name, value) in patch {
        match value {
            Value::Null => drop(fields.remove(name)),
            Value::Object(inner) => merge(fields.entry(name).or_insert(Value::Null), inner),
            _ => drop(fields.insert(name.clone(), value.clone())),
        }
    }
}

/// In which state the job goes on, and since or until when.
fn due(job: &Found, patch: &Map<String, Value>, document: &Document, now: Timestamp) -> (State, i64) {
    // A dead job becomes ready when it is kicked, and not before.
    let is_timed = patch.contains_key("delay") || patch.contains_key("run_at");
    if !is_timed || job.state == State::Dead {
        return (job.state, job.ready_at);
    }
    let ready_at = document.ready_at(now).as_millisecond();
    match job.state {
        State::Held => (State::Held, ready_at),
        _ => (submit::waits(ready_at, now.as_millisecond()), ready_at),
    }
}

/// Until when the job must have been started. One that was, or is dead, expires no more. One whose attempts
/// never began still does if it would have.
fn expiry(
    job: &Found,
    patch: &Map<String, Value>,
    document: &Document,
    now: Timestamp,
) -> Result<Option<i64>, Refusal> {
    let may_expire = (job.attempts == 0 || job.expires_at.is_some()) && job.state != State::Dead;
    match (patch.contains_key("expires"), document.expires) {
        (false, _) => Ok(job.expires_at),
        (true, Some(_)) if !may_expire => {
            Err(Refusal::Invalid("expires: it was started before, so it expires no more; cancel it instead".to_owned()))
        }
        (true, expires) => Ok(expires.map(|expires| expires.from(now).as_millisecond())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::sqlite::fixture::{Fixture, document, failed, worker};
    use crate::queue::{Jobs, Work};
    use serde_json::json;

    async fn act(fixture: &Fixture, id: JobId, action: &Action) -> Result<State, Refusal> {
        let mut acted = fixture.queue.act(&[id], action).await.unwrap();
        assert_eq!((acted.len(), acted[0].id), (1, id));
        acted.remove(0).outcome
    }

    #[tokio::test]
    async fn no_number_of_kicks_is_too_many() {
        let fixture = Fixture::new();
        let id = fixture.submit(document()).await;
        let lease = fixture.claim("a").await.unwrap().lease;
        fixture.settle("a", &lease, failed(), Decision::Bury).await.unwrap();
        fixture.sql("UPDATE jobs SET kicks = 4294967295");
        assert_eq!(act(&fixture, id, &Action::Kick).await, Ok(State::Ready));
        let again = fixture.claim("a").await.unwrap();
        assert_eq!((again.granted, fixture.find(id).await.kicks), (u32::MAX, u32::MAX));
    }

    #[tokio::test]
    async fn nothing_of_a_deleted_job_is_left_but_its_id() {
        let fixture = Fixture::new();
        let id = fixture.submit(Document { tags: vec!["a".to_owned()], ..document() }).await;
        let lease = fixture.claim("a").await.unwrap().lease;
        fixture.settle("a", &lease, Verdict::Done, Decision::Finish).await.unwrap();
        assert_eq!(act(&fixture, id, &Action::Delete).await, Ok(State::Done));
        fixture.queue.unregister(&worker("a")).await.unwrap();
        let connection = fixture.reader();
        for table in ["jobs", "documents", "tags", "attempts", "outcomes"] {
            let rows: u32 =
                connection.query_row(&format!("SELECT COUNT(*) FROM {table}"), [], |row| row.get(0)).unwrap();
            assert_eq!(rows, 0, "{table}");
        }
        let forgotten: [u8; 16] = connection.query_row("SELECT id FROM forgotten", [], |row| row.get(0)).unwrap();
        assert_eq!(JobId::from_bytes(forgotten), id);
        assert!(fixture.queue.forgotten(None, 9).await.unwrap().0.is_empty(), "it left no files");
    }

    #[tokio::test]
    async fn a_job_that_cannot_be_read_can_only_be_deleted() {
        let fixture = Fixture::new();
        let id = fixture.submit(document()).await;
        fixture.sql("UPDATE documents SET json = CAST(x'ff' AS TEXT)");
        assert!(fixture.claim("a").await.is_none(), "it is buried");
        for action in [Action::Kick, Action::Update(serde_json::Map::new())] {
            let refusal = act(&fixture, id, &action).await.unwrap_err().to_string();
            assert!(refusal.contains("cannot be read") && refusal.ends_with("; delete it"), "{refusal}");
        }
        assert_eq!(act(&fixture, id, &Action::Delete).await, Ok(State::Dead));
        assert_eq!(fixture.queue.find(id).await.unwrap(), None);
    }

    #[test]
    fn finding_a_job_is_a_seek() {
        let plan = Fixture::new().plan(FIND);
        assert!(plan.contains("jobs USING INDEX sqlite_autoindex_jobs_1 (id=?)"), "{plan}");
    }

    /// The example of RFC 7396, appendix A, as far as its documents are objects.
    #[test]
    fn a_merge_patch_does_what_its_rfc_says() {
        for (target, patch, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let mut merged = target.clone();
            merge(&mut merged, patch.as_object().unwrap());
            assert_eq!(merged, result, "{target} with {patch}");
        }
    }
}
