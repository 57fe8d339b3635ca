//! A worker that is stopped, or killed, at each step of settling an attempt that leaves a file.
//!
//! Stopped past its lease before its commit, it has lost the attempt: another worker makes the next one, and nothing of
//! what the first one made is ever shown, neither by HTTP nor by command, nor in the files that a record names. Stopped
//! after its commit, its attempt counts, and nobody else runs the job. Killed, it has a successor on the same machine at
//! once, however long its lease is.

mod scene;
mod shim;
mod watch;

use crate::support::{Worker, await_state, await_that};
use anyhow::ensure;
use scene::{Houses, Scene, end};
use std::time::{Duration, Instant};
use watch::watch;

/// Steps before the commit.
const UNSTAGED: &str = "before mkdir */.staging/*";
const UNNAMED: &str = "before mkdir */results/*/1";
const NAMED: &str = "after mkdir */results/*/1; before sync */1/witness.txt";
const HALF_SYNCED: &str = "after sync */1/witness.txt; before sync */1";
const SYNCED: &str = "after sync */1/witness.txt; after sync */1; before begin */queue.db-shm";
/// Some of the commit is written, and nobody else may write.
const IN_THE_COMMIT: &str = "after sync */1/witness.txt; after sync */1; after write */queue.db-wal";
/// The commit is written, but not synced.
const COMMITTED: &str =
    "after sync */1/witness.txt; after sync */1; after write */queue.db-wal; after end */queue.db-shm";
/// It is synced, and nobody in the worker has been told so.
const TOLD_NOBODY: &str =
    "after sync */1/witness.txt; after sync */1; after write */queue.db-wal; after sync */queue.db-wal";

/// A lease that runs out while the test waits.
const SHORT: &str = "2s";
/// A lease that does not.
const LONG: &str = "10m";
/// Two seconds, and more on a machine that is busy with other things.
const AT_ONCE: Duration = Duration::from_secs(8);

/// Plays a scene with the two workers in one house, and at the same time with each in its own.
fn in_both_houses(play: impl Fn(Houses) -> anyhow::Result<()> + Sync) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let apart = scope.spawn(|| play(Houses::Apart));
        play(Houses::Shared)?;
        apart.join().expect("a scene fails, but does not panic")
    })
}

/// The first worker stops before its commit: its attempt is lost.
fn is_lost(stop: impl Fn(&Scene) -> anyhow::Result<Worker> + Sync) -> anyhow::Result<()> {
    in_both_houses(|houses| {
        let scene = Scene::new(houses, SHORT, r#"{"slow": true}"#)?;
        let (shown, ()) = watch(&scene.sites()?, || {
            let mut first = stop(&scene)?;
            scene.run_second()?;
            assert_eq!(scene.history()?, ["first: lost", "second: done"]);
            first.signal("CONT")?;
            first.await_line("### Lost job")?;
            scene.go_on(first)
        })?;
        assert_eq!(Vec::from_iter(shown), [2], "{houses:?}: only the second attempt was ever shown");
        assert_eq!(scene.history()?, ["first: lost", "second: done"]);
        assert_eq!(scene.published(&scene.second)?, 2);
        scene.ensure_nothing_is_staged()?;
        assert_eq!(Vec::from_iter(scene.kept(&scene.second)?), ["2"]);
        if houses == Houses::Apart {
            assert_eq!(Vec::from_iter(scene.kept(&scene.first)?), [""; 0]);
        }
        Ok(())
    })
}

/// The first worker stops after its commit: its attempt counts.
fn counts(steps: &str) -> anyhow::Result<()> {
    in_both_houses(|houses| {
        let scene = Scene::new(houses, SHORT, "{}")?;
        let (shown, ()) = watch(&scene.sites()?, || {
            let mut first = scene.start_first(steps)?;
            scene.await_stop(&first)?;
            let second = scene.start_second(&[])?;
            await_that("the first worker is given up", || {
                let workers = scene.first.json(["status"])?["workers"].clone();
                let mut names = workers.as_array().into_iter().flatten().map(|worker| &worker["name"]);
                Ok((!names.any(|name| name == "first")).then_some(()))
            })?;
            assert_eq!(scene.published(&scene.first)?, 1, "it is published, whatever its worker does");
            first.signal("CONT")?;
            first.await_line("### Ended job")?;
            end(second)?;
            scene.go_on(first)
        })?;
        assert_eq!(Vec::from_iter(shown), [1], "{houses:?}");
        assert_eq!(scene.history()?, ["first: done"]);
        scene.ensure_nothing_is_staged()?;
        assert_eq!(Vec::from_iter(scene.kept(&scene.first)?), ["1"]);
        Ok(())
    })
}

/// The first worker is killed at the last of these steps: a successor goes on at once.
fn is_killed(steps: &str, attempts: &[u32]) -> anyhow::Result<()> {
    in_both_houses(|houses| {
        let scene = Scene::new(houses, LONG, "{}")?;
        let (shown, ()) = watch(&scene.sites()?, || {
            let first = scene.start_first(steps)?;
            scene.await_stop(&first)?;
            first.kill()?;
            let killed = Instant::now();
            scene.run_second()?;
            ensure!(killed.elapsed() < AT_ONCE, "the successor has waited for {:?}", killed.elapsed());
            Ok(())
        })?;
        let history = scene.history()?;
        let attempt = u32::try_from(history.len())?;
        let expected = if attempt == 1 { vec!["first: done"] } else { vec!["first: lost", "second: done"] };
        assert_eq!(history, expected);
        ensure!(attempts.contains(&attempt), "attempt {attempt} counts");
        assert_eq!(Vec::from_iter(shown), [attempt], "{houses:?}");
        let maker = if attempt == 1 { &scene.first } else { &scene.second };
        assert_eq!(scene.published(maker)?, attempt);
        ensure!(scene.kept(maker)?.contains(&attempt.to_string()));
        for node in [&scene.first, &scene.second] {
            ensure!(node.ok(["queue", "check"])?.starts_with("sound, with 1 job"));
        }
        // What the killed worker had begun goes when the next one starts in its house.
        scene.first.ok(["worker", "--until-empty"])?;
        scene.ensure_nothing_is_staged()
    })
}

fn at(steps: &'static str) -> impl Fn(&Scene) -> anyhow::Result<Worker> + Sync {
    move |scene| {
        let first = scene.start_first(steps)?;
        scene.await_stop(&first)?;
        Ok(first)
    }
}

#[test]
fn stopped_before_it_stages_a_worker_loses_its_attempt() -> anyhow::Result<()> {
    is_lost(at(UNSTAGED))
}

#[test]
fn stopped_while_its_guest_runs_a_worker_loses_its_attempt() -> anyhow::Result<()> {
    is_lost(Scene::stop_while_the_guest_runs)
}

#[test]
fn stopped_before_its_file_has_a_name_a_worker_loses_its_attempt() -> anyhow::Result<()> {
    is_lost(at(UNNAMED))
}

#[test]
fn stopped_before_it_syncs_its_file_a_worker_loses_its_attempt() -> anyhow::Result<()> {
    is_lost(at(NAMED))
}

#[test]
fn stopped_before_it_syncs_the_directory_a_worker_loses_its_attempt() -> anyhow::Result<()> {
    is_lost(at(HALF_SYNCED))
}

#[test]
fn stopped_before_its_commit_a_worker_loses_its_attempt() -> anyhow::Result<()> {
    is_lost(at(SYNCED))
}

#[test]
fn stopped_after_its_commit_a_worker_has_published() -> anyhow::Result<()> {
    counts(COMMITTED)
}

#[test]
fn stopped_before_it_is_told_of_its_commit_a_worker_has_published() -> anyhow::Result<()> {
    counts(TOLD_NOBODY)
}

#[test]
fn stopped_in_its_commit_a_worker_holds_the_queue_and_then_publishes() -> anyhow::Result<()> {
    in_both_houses(|houses| {
        let scene = Scene::new(houses, SHORT, r#"{"slow": true}"#)?;
        let (shown, ()) = watch(&scene.sites()?, || {
            let mut first = scene.start_first(IN_THE_COMMIT)?;
            await_state(&scene.first, &scene.id, "running")?;
            let mut second = scene.start_second(&[])?;
            scene.await_stop(&first)?;
            // Nobody else writes to the file until well after the lease.
            second.await_line("another process has kept the file locked")?;
            first.signal("CONT")?;
            first.await_line("### Ended job")?;
            end(second)?;
            scene.go_on(first)
        })?;
        assert_eq!(Vec::from_iter(shown), [1], "{houses:?}");
        assert_eq!(scene.history()?, ["first: done"]);
        assert_eq!(Vec::from_iter(scene.kept(&scene.first)?), ["1"]);
        Ok(())
    })
}

#[test]
fn killed_before_it_stages_a_worker_has_a_successor_at_once() -> anyhow::Result<()> {
    is_killed(UNSTAGED, &[2])
}

#[test]
fn killed_before_it_syncs_its_file_a_worker_has_a_successor_at_once() -> anyhow::Result<()> {
    is_killed(UNNAMED, &[2])?;
    is_killed(NAMED, &[2])
}

#[test]
fn killed_before_its_commit_a_worker_has_a_successor_at_once() -> anyhow::Result<()> {
    is_killed(HALF_SYNCED, &[2])?;
    is_killed(SYNCED, &[2])
}

#[test]
fn killed_in_its_commit_a_worker_frees_the_queue() -> anyhow::Result<()> {
    // Whether all of the commit was written by then is one of the two, for ever.
    is_killed(IN_THE_COMMIT, &[1, 2])
}

#[test]
fn killed_after_its_commit_a_worker_has_published() -> anyhow::Result<()> {
    is_killed(COMMITTED, &[1])?;
    is_killed(TOLD_NOBODY, &[1])
}
