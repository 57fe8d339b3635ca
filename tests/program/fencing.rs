//! A worker that is stopped past its lease at each point of publishing, and wakes up when another has finished.
//!
//! If it had committed, its result counts and nobody else runs the job. If it had not, another does, and nothing of what
//! the first one made is ever shown: neither by HTTP nor by command, nor through the links in the results tree.

mod reservations;
mod scene;
mod shim;
mod watch;

use crate::support::{Worker, await_state, await_that};
use scene::{Houses, Scene, end, job};
use watch::watch;

/// Between putting an attempt in its place and the commit that publishes it.
const IN_PLACE: &str = "after rename */attempts/1";
const SYNCED: &str = "after rename */attempts/1; before begin */queue.db-shm";
const IN_THE_COMMIT: &str = "after rename */attempts/1; before sync */queue.db-wal";

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
        let scene = Scene::new(houses, r#"{"slow": true}"#)?;
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
        let scene = Scene::new(houses, "{}")?;
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
        assert_eq!(Vec::from_iter(scene.kept(&scene.first)?), ["1"]);
        for link in ["result.json", "log.txt", "files/witness.txt"] {
            assert!(job(&scene.first, &scene.id).join(link).is_file(), "{link}");
        }
        Ok(())
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
fn a_worker_that_is_stopped_before_it_stages_loses_its_attempt() -> anyhow::Result<()> {
    is_lost(at("before mkdir */.staging/*"))
}

#[test]
fn a_worker_that_is_stopped_while_its_guest_runs_loses_its_attempt() -> anyhow::Result<()> {
    is_lost(Scene::stop_while_the_guest_runs)
}

#[test]
fn a_worker_that_is_stopped_before_it_moves_its_result_loses_its_attempt() -> anyhow::Result<()> {
    is_lost(at("before rename */attempts/1"))
}

#[test]
fn a_worker_that_is_stopped_before_it_syncs_its_result_loses_its_attempt() -> anyhow::Result<()> {
    is_lost(at(IN_PLACE))
}

#[test]
fn a_worker_that_is_stopped_before_its_commit_loses_its_attempt() -> anyhow::Result<()> {
    is_lost(at(SYNCED))
}

#[test]
fn a_worker_that_is_stopped_before_it_makes_the_links_has_published() -> anyhow::Result<()> {
    counts("before symlink */results/*")
}

#[test]
fn a_worker_that_is_stopped_between_the_links_has_published() -> anyhow::Result<()> {
    counts("after symlink */results/*; before symlink */results/*")
}

#[test]
fn a_worker_that_is_stopped_in_the_middle_of_its_commit_holds_the_queue_and_then_publishes() -> anyhow::Result<()> {
    in_both_houses(|houses| {
        let scene = Scene::new(houses, r#"{"slow": true}"#)?;
        let (shown, ()) = watch(&scene.sites()?, || {
            let mut first = scene.start_first(IN_THE_COMMIT)?;
            await_state(&scene.first, &scene.id, "running")?;
            let mut second = scene.start_second(&[])?;
            scene.await_stop(&first)?;
            // Whoever else comes is kept from the file until well after the lease.
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
fn a_worker_that_is_killed_in_the_middle_of_its_commit_frees_the_queue() -> anyhow::Result<()> {
    in_both_houses(|houses| {
        let scene = Scene::new(houses, "{}")?;
        let (shown, ()) = watch(&scene.sites()?, || {
            let first = scene.start_first(IN_THE_COMMIT)?;
            scene.await_stop(&first)?;
            first.kill()?;
            scene.run_second()
        })?;
        // The commit is written but not synced, so it may have happened or not, and one of the two is true for ever.
        let (attempt, history) = match scene.history()?.len() {
            1 => (1, vec!["first: done"]),
            _ => (2, vec!["first: lost", "second: done"]),
        };
        assert_eq!(scene.history()?, history);
        assert_eq!(Vec::from_iter(shown), [attempt], "{houses:?}");
        Ok(())
    })
}
