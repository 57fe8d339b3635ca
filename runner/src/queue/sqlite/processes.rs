//! Several processes on one file: the test program starts itself again, as others. With a file that is kept
//! for several machines the locks are the same as if there were several.

use super::fixture::{LEASE, document, worker};
use super::{Sharing, SqliteQueue, open};
use crate::job::{Decision, JobId, State, Tube, Usage, Verdict};
use crate::queue::{Jobs, Outcome, Queue, Settlement, Submission, Work};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

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
        "hold" => {
            queue.register(&worker("hold")).await.unwrap();
            let claimed = queue.claim(&worker("hold"), &[Tube::default()], 1).await.unwrap().remove(0);
            println!("\nclaimed {}", claimed.lease.id);
            std::thread::sleep(Duration::from_secs(600));
        }
        name => {
            let tubes = [Tube::default()];
            while let Some(claimed) = queue.claim(&worker(name), &tubes, 1).await.unwrap().pop() {
                println!("\nclaimed {}", claimed.lease.id);
                let settlement = Settlement {
                    verdict: Verdict::Done,
                    decision: Decision::Finish,
                    usage: Usage::default(),
                    outcome: Outcome::default(),
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
async fn killed_process_is_taken_over_at_once_and_a_stopped_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue.db");
    let queue = SqliteQueue::open(&path).unwrap();
    let id = JobId::new();
    queue.submit(vec![Submission { id, document: document() }]).await.unwrap();
    let (mut child, output) = start("hold", &path, Sharing::OneMachine);
    assert!(output.lines().any(|line| told(&line.unwrap(), "claimed") == Some(id)));
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::STOP).unwrap();
    let me = worker("me");
    assert!(queue.take_over(&me).await.unwrap().is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(queue.take_over(&me).await.unwrap().len(), 1);
    assert_eq!(queue.find(id).await.unwrap().unwrap().state, State::Ready);
}

#[tokio::test]
async fn a_commit_of_another_process_wakes_the_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue.db");
    let queue = SqliteQueue::open(&path).unwrap();
    let mut work = queue.watch();
    let (mut child, _output) = start("submit", &path, Sharing::OneMachine);
    let limit = Duration::from_secs(30);
    let started = Instant::now();
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

fn open_shared(path: &Path) -> SqliteQueue {
    SqliteQueue::open_as(path, Sharing::ManyMachines).unwrap()
}

#[tokio::test]
async fn while_three_processes_compete_heartbeats_get_through_and_each_job_is_claimed_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue.db");
    let queue = open_shared(&path);
    let jobs: Vec<_> = (0..300).map(|_| Submission { id: JobId::new(), document: document() }).collect();
    let submitted: BTreeSet<JobId> = jobs.iter().map(|job| job.id).collect();
    queue.submit(jobs).await.unwrap();
    let names = ["one", "two", "three"];
    let competitors: Vec<_> = names.iter().map(|name| start(name, &path, Sharing::ManyMachines)).collect();
    let listening: Vec<_> = competitors
        .into_iter()
        .map(|(mut child, output)| {
            std::thread::spawn(move || {
                let claimed: Vec<_> = output.lines().filter_map(|line| told(&line.unwrap(), "claimed")).collect();
                assert!(child.wait().unwrap().success());
                claimed
            })
        })
        .collect();
    let mut beats = Vec::new();
    while listening.iter().any(|thread| !thread.is_finished()) {
        let started = Instant::now();
        queue.beat(&worker("idle"), &[]).await.unwrap();
        queue.status().await.unwrap();
        beats.push(started.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let claimed: Vec<Vec<JobId>> = listening.into_iter().map(|thread| thread.join().unwrap()).collect();
    beats.sort_unstable();
    let shares: Vec<usize> = claimed.iter().map(Vec::len).collect();
    println!(
        "{} heartbeats, median {:?}, longest {:?}; shares {shares:?}",
        beats.len(),
        beats[beats.len() / 2],
        beats.last()
    );
    assert!(beats.last().is_none_or(|longest| *longest < LEASE / 2), "{beats:?}");
    let claimed = claimed.concat();
    assert_eq!(claimed.len(), submitted.len(), "each job was claimed once");
    assert_eq!(claimed.into_iter().collect::<BTreeSet<_>>(), submitted);
    assert_eq!(queue.status().await.unwrap().states[&State::Done], 300);
}

#[tokio::test]
async fn what_was_answered_survives_kill_9_in_the_middle_of_a_commit() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue.db");
    let queue = open_shared(&path);
    let mut answered = Vec::new();
    for more in 1..=8 {
        let (mut child, output) = start("submit", &path, Sharing::ManyMachines);
        let mut lines = output.lines();
        while answered.len() < more * 10 {
            let line = lines.next().expect("the process goes on until it is killed").unwrap();
            answered.extend(told(&line, "submitted"));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        answered.extend(lines.map_while(Result::ok).filter_map(|line| told(&line, "submitted")));
        // Whoever comes next rolls back what was half done, this process or another.
        for id in &answered {
            assert!(queue.find(*id).await.unwrap().is_some(), "{id} was lost");
        }
    }
    let sound: String = open::spectator(&path, Sharing::ManyMachines)
        .unwrap()
        .pragma_query_value(None, "integrity_check", |row| row.get(0))
        .unwrap();
    assert_eq!(sound, "ok");
}

#[tokio::test]
async fn a_commit_of_another_process_wakes_the_waiting_without_a_write_ahead_log() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue.db");
    let queue = open_shared(&path);
    let tubes = [Tube::default()];
    let mut work = queue.watch();
    assert!(queue.claim(&worker("a"), &tubes, 1).await.unwrap().is_empty());
    let (mut child, _output) = start("submit", &path, Sharing::ManyMachines);
    let limit = Duration::from_secs(30);
    let started = Instant::now();
    let claimed = loop {
        match queue.claim(&worker("a"), &tubes, 1).await.unwrap().pop() {
            Some(claimed) => break claimed,
            None => work.changed(limit).await,
        }
    };
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(started.elapsed() < limit, "it slept until its limit");
    assert_eq!(claimed.lease.attempt, 1);
}

#[tokio::test]
async fn a_writer_that_waits_for_a_long_reader_is_answered_when_that_is_done() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue.db");
    let queue = open_shared(&path);
    let reader = open::reader(&path, Sharing::ManyMachines).unwrap();
    reader.execute_batch("BEGIN; SELECT COUNT(*) FROM jobs").unwrap();
    let waiting = queue.submit(vec![Submission { id: JobId::new(), document: document() }]);
    let reading = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        reader.execute_batch("COMMIT").unwrap();
        Instant::now()
    };
    let waiting = async {
        waiting.await.unwrap();
        Instant::now()
    };
    let (written, read) = tokio::join!(waiting, reading);
    assert!(written > read, "a commit waits for those who read");
}
