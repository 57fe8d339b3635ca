//! The same with a file that is kept for several machines; that these are one makes no difference to its locks.

use super::{Sharing, SqliteQueue, start, told};
use crate::job::{JobId, State, Tube};
use crate::queue::sqlite::fixture::{LEASE, document, worker};
use crate::queue::sqlite::open;
use crate::queue::{Interest, Queue, Submission};
use std::collections::BTreeSet;
use std::io::BufRead;
use std::path::Path;
use std::time::{Duration, Instant};

fn open(path: &Path) -> SqliteQueue {
    SqliteQueue::open_as(path, Sharing::ManyMachines).unwrap()
}

#[tokio::test]
async fn while_three_processes_compete_heartbeats_get_through_and_each_job_is_claimed_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue.db");
    let queue = open(&path);
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
        queue.heartbeat(&worker("idle"), &[]).await.unwrap();
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
    let queue = open(&path);
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
    let queue = open(&path);
    let tubes = [Tube::default()];
    let mut work = queue.watch(Interest::Work(tubes.to_vec()));
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
    let queue = open(&path);
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
