//! Changing what a job asks for, while it waits or is dead.

use super::{Found, Stop, document};
use crate::job::{Digest, Document, State, excerpt};
use crate::queue::sqlite::{settle, submit};
use crate::queue::{PATCHABLE, Refusal};
use jiff::Timestamp;
use rusqlite::{Connection, named_params};
use serde_json::{Map, Value};

const UPDATE: &str = "
    UPDATE jobs SET state = :state, tube = :tube, host = :host, priority = :priority, algorithm = :algorithm,
        ready_at = :ready_at, expires_at = :expires_at, seed_pinned = :seed_pinned, max_attempts = :max_attempts,
        submitted_as = COALESCE(submitted_as, :submitted_as)
    WHERE seq = :seq";

/// Applies a merge patch to the job's document, and has the job follow.
///
/// Times in the patch count from now. The job keeps its place in the queue, and what it was submitted as.
pub(super) fn update(
    connection: &Connection,
    job: &Found,
    patch: &Map<String, Value>,
    now: Timestamp,
) -> Result<State, Stop> {
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

/// Until when the job must have been started. One that was, or is dead, expires no more. One whose attempts never began
/// still does if it would have.
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
    use serde_json::json;

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
