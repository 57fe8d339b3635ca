//! What the history of a job must be like.

use super::super::Tally;
use super::super::jobs::Job;
use anyhow::{Context, ensure};
use serde_json::Value;

/// What may happen to an attempt from outside. Neither says anything about the job.
const LOST: &str = "lost";
const INTERRUPTED: &str = "interrupted";

/// Checks that the job ended as the rules say, by attempts that are numbered without a gap and do not overlap.
pub fn check(job: &Job, record: &Value, tally: &mut Tally) -> anyhow::Result<()> {
    let history = record["history"].as_array().context("a history")?;
    ensure!(!history.is_empty() && record["attempts"] == history.len(), "the attempts are counted wrongly");
    let (mut counted, mut free_from) = (0, "");
    for (number, attempt) in (1..).zip(history) {
        ensure!(attempt["attempt"] == number, "attempts are numbered from 1 without a gap");
        let [started, finished] =
            ["started_at", "finished_at"].map(|time| attempt[time].as_str().context("an ended attempt has two times"));
        let (started, finished) = (started?, finished?);
        // As text they sort by what they mean.
        ensure!(free_from <= started && started <= finished, "attempt {number} overlaps another");
        free_from = finished;
        let verdict = attempt["verdict"]["kind"].as_str().context("an ended attempt has a verdict")?;
        let is_expected = [LOST, INTERRUPTED, job.verdict(number)].contains(&verdict);
        ensure!(is_expected, "attempt {number} of a job that is {:?} ended in {verdict}", job.kind);
        counted += u32::from(verdict != INTERRUPTED);
        tally.attempts += 1;
        tally.lost += usize::from(verdict == LOST);
        tally.given_back += usize::from(verdict == INTERRUPTED);
        let is_last = number == history.len() as u64;
        let is_over = job.ends_with(verdict) || (verdict != INTERRUPTED && counted == job.max_attempts);
        ensure!(is_last == is_over, "after attempt {number} the job should {}", if is_over { "end" } else { "go on" });
        if is_last {
            let state = if verdict == "done" { "done" } else { "dead" };
            ensure!(record["state"] == state && record["verdict"] == attempt["verdict"], "it should be {state}");
            tally.dead += usize::from(state == "dead");
        }
    }
    Ok(())
}
