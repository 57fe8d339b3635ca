//! Several processes on one file: the test program starts itself again, as others.

mod shared;

use super::fixture::{document, worker};
use super::{Sharing, SqliteQueue};
use crate::job::{Decision, JobId, State, Tube, Usage, Verdict};
use crate::queue::{Interest, Queue, Settlement, Submission};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

const ROLE: &str = "LONGBOAT_TEST_ROLE";
const PATH: &str = "LONGBOAT_TEST_QUEUE";
const SHARED: &str = "LONGBOAT_TEST_SHARED";

/// Starts this test program as another process that plays `role`.
fn start(role: &str, path: &Path, sharing: Sharing) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "queue::sqlite::processes::another_process", "--nocapture"])
        .env(ROLE, role)
        .env(PATH, path)
        .envs((sharing == Sharing::ManyMachines).then_some((SHARED, "")))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

/// The ids that a line of a process's output tells of.
fn told(line: &str, word: &str) -> Option<JobId> {
    line.trim_start().strip_prefix(word)?.trim().parse().ok()
}

#[tokio::test]
async fn another_process() {
    // Does nothing unless one of the tests beside it has started it as a process of its own.
    let (Ok(role), Some(path)) = (std::env::var(ROLE), std::env::var_os(PATH)) else { return };
    let sharing = std::env::var_os(SHARED).map_or(Sharing::OneMachine, |_| Sharing::ManyMachines);
    let queue = SqliteQueue::open_as(Path::new(&path), sharing).unwrap();
    match role.as_str() {
        "submit" => loop {
            let id = JobId::new();
            queue.submit(vec![Submission { id, document: document() }]).await.unwrap();
            println!("\nsubmitted {id}");
        },
        name => {
            let tubes = [Tube::default()];
            while let Some(claimed) = queue.claim(&worker(name), &tubes, 1).await.unwrap().pop() {
                println!("\nclaimed {}", claimed.lease.id);
                let settlement = Settlement {
                    verdict: Verdict::Done,
                    decision: Decision::Finish,
                    usage: Usage::default(),
                    published: false,
                };
                queue.settle(&worker(name), &claimed.lease, settlement).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn no_job_is_claimed_twice_by_processes_that_compete() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue.db");
    let queue = SqliteQueue::open(&path).unwrap();
    let jobs: Vec<_> = (0..300).map(|_| Submission { id: JobId::new(), document: document() }).collect();
    let submitted: BTreeSet<JobId> = jobs.iter().map(|job| job.id).collect();
    queue.submit(jobs).await.unwrap();
    let competitors: Vec<_> =
        ["one", "two", "three"].iter().map(|name| start(name, &path, Sharing::OneMachine)).collect();
    let mut claimed = Vec::new();
    for (mut child, output) in competitors {
        claimed.extend(output.lines().filter_map(|line| told(&line.unwrap(), "claimed")));
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(claimed.len(), submitted.len(), "each job was claimed once");
    assert_eq!(claimed.into_iter().collect::<BTreeSet<_>>(), submitted);
    assert_eq!(queue.status().await.unwrap().states[&State::Done], 300);
}

#[tokio::test]
async fn handles_that_compete_in_one_process_share_the_jobs_without_a_double() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue.db");
    let queue = SqliteQueue::open(&path).unwrap();
    let jobs = (0..400).map(|_| Submission { id: JobId::new(), document: document() }).collect();
    queue.submit(jobs).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for process in 0..4 {
        let queue = std::sync::Arc::new(SqliteQueue::open(&path).unwrap());
        for task in 0..8 {
            let queue = std::sync::Arc::clone(&queue);
            tasks.spawn(async move {
                let me = worker(&format!("{process} {task}"));
                let mut claimed = Vec::new();
                while let Some(one) = queue.claim(&me, &[Tube::default()], 1).await.unwrap().pop() {
                    claimed.push(one.lease.id);
                }
                claimed
            });
        }
    }
    let claimed = tasks.join_all().await.concat();
    assert_eq!(claimed.len(), 400);
    assert_eq!(claimed.into_iter().collect::<BTreeSet<_>>().len(), 400);
}

#[tokio::test]
async fn what_was_answered_survives_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue.db");
    let (mut child, output) = start("submit", &path, Sharing::OneMachine);
    let mut answered = Vec::new();
    let mut lines = output.lines();
    while answered.len() < 50 {
        let line = lines.next().expect("the process goes on until it is killed").unwrap();
        answered.extend(told(&line, "submitted"));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    answered.extend(lines.map_while(Result::ok).filter_map(|line| told(&line, "submitted")));
    let queue = SqliteQueue::open(&path).unwrap();
    for id in answered {
        assert!(queue.find(id).await.unwrap().is_some(), "{id} was lost");
    }
}

#[tokio::test]
async fn a_commit_of_another_process_wakes_the_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue.db");
    let queue = SqliteQueue::open(&path).unwrap();
    let mut work = queue.watch(Interest::Work(vec![Tube::default()]));
    let (mut child, _output) = start("submit", &path, Sharing::OneMachine);
    let limit = Duration::from_secs(30);
    let started = std::time::Instant::now();
    let claimed = loop {
        match queue.claim(&worker("a"), &[Tube::default()], 1).await.unwrap().pop() {
            Some(claimed) => break claimed,
            None => work.changed(limit).await,
        }
    };
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(started.elapsed() < limit, "it slept until its limit");
    assert_eq!(claimed.lease.attempt, 1);
}
