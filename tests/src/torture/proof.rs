//! The proof: from the records, the results tree, the database and what the workers said.

mod history;
mod logs;
mod results;

use super::Tally;
use super::jobs::Job;
use super::submitters::Outcome;
use crate::program::Longboat;
use anyhow::{Context, ensure};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Proves that everything that was answered is there, that no submission is there in part, and that nothing else is.
pub fn accepted(node: &Longboat, outcomes: &[Outcome]) -> anyhow::Result<()> {
    let listed = list(node)?;
    let mut known = BTreeSet::new();
    for Outcome { submission, answered, .. } in outcomes {
        let ids: BTreeSet<&str> = submission.jobs.iter().map(|job| job.id.as_str()).collect();
        let there = ids.iter().filter(|id| listed.contains_key(**id)).count();
        ensure!(there == 0 || there == ids.len(), "{there} of {} jobs of one submission are there", ids.len());
        for id in answered {
            ensure!(ids.contains(id.as_str()), "the id {id} was printed for other jobs");
            ensure!(listed.contains_key(id), "the job {id} was answered and is lost");
        }
        known.extend(ids);
    }
    let strange = listed.keys().find(|id| !known.contains(id.as_str()));
    ensure!(strange.is_none(), "the job {strange:?} was never submitted");
    Ok(())
}

/// Proves that these are the jobs, and that each of them came to a good end.
pub fn ended(node: &Longboat, jobs: &[&Job], logs: &Path, tally: &mut Tally) -> anyhow::Result<()> {
    let listed = list(node)?;
    ensure!(listed.len() == jobs.len(), "{} jobs were submitted, and {} are there", jobs.len(), listed.len());
    let known = look_at_all(node, jobs)?;
    let mut published = BTreeMap::new();
    for (job, (record, documents)) in jobs.iter().zip(&known) {
        let told = || format!("{record:#}");
        let known = listed.get(&job.id).with_context(|| format!("the job {} is lost", job.id))?;
        ensure!(known["state"] == record["state"], "list and show differ: {}", told());
        history::check(job, record, tally).with_context(told)?;
        tally.files += results::check(node, record, documents).with_context(told)?;
        published.extend(record["published"].as_u64().map(|attempt| (job.id.clone(), attempt)));
    }
    tally.jobs = jobs.len();
    logs::check(logs, &published)?;
    results::check_leftovers(node)?;
    check_database(node, &listed)
}

/// All jobs by their ids, as `list` knows them.
fn list(node: &Longboat) -> anyhow::Result<BTreeMap<String, Value>> {
    let Value::Array(records) = node.json(["list"])? else { anyhow::bail!("a list was expected") };
    let count = records.len();
    let by_id = records.into_iter().map(|record| Ok((record["id"].as_str().context("an id")?.to_owned(), record)));
    let by_id = by_id.collect::<anyhow::Result<BTreeMap<_, _>>>()?;
    ensure!(by_id.len() == count, "a job is there twice");
    Ok(by_id)
}

/// What `show` says of each of the jobs, with the documents of its attempts, asked by as many at once as there are
/// cores.
fn look_at_all(node: &Longboat, jobs: &[&Job]) -> anyhow::Result<Vec<(Value, Vec<Option<Value>>)>> {
    let look_at = |job: &Job| {
        let record = node.json(["show", &job.id])?;
        let documents = results::documents(node, &record)?;
        Ok((record, documents))
    };
    let cores = std::thread::available_parallelism()?.get();
    std::thread::scope(|scope| {
        let look = |jobs: &[&Job]| jobs.iter().map(|job| look_at(job)).collect::<Vec<_>>();
        let parts = jobs.chunks(jobs.len().div_ceil(cores).max(1)).map(|jobs| scope.spawn(move || look(jobs)));
        let parts: Vec<_> = parts.collect();
        parts.into_iter().flat_map(|part| part.join().expect("asking does not panic")).collect()
    })
}

/// SQLite's own check, and the counts that the queue keeps against the jobs that it has.
fn check_database(node: &Longboat, listed: &BTreeMap<String, Value>) -> anyhow::Result<()> {
    let connection = Connection::open_with_flags(node.data_dir().join("queue.db"), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let sound: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    ensure!(sound == "ok", "the database is damaged: {sound}");
    let orphans = connection.prepare("PRAGMA foreign_key_check")?.query_map([], |_| Ok(()))?.count();
    ensure!(orphans == 0, "{orphans} rows belong to jobs that are not there");
    let status = node.json(["status"])?;
    ensure!(status["workers"] == serde_json::json!([]), "a worker is still listed: {status}");
    for (state, counted) in status["states"].as_object().context("counts by state")? {
        let there = listed.values().filter(|record| record["state"] == state.as_str()).count();
        ensure!(*counted == there, "{counted} jobs are counted as {state}, and {there} are there");
    }
    Ok(())
}
