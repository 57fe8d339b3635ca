//! The same where the lease is a reservation in a beanstalkd server: its answer to `bury` is the fence.

use super::scene::{Houses, Scene};
use super::{in_both_houses, watch};
use crate::support::{await_that, text};
use longboat_tests::beanstalkd::Beanstalkd;
use longboat_tests::program::Longboat;
use std::time::Duration;

/// More than the reservation lasts.
const PAST_THE_LEASE: Duration = Duration::from_millis(2_500);

fn scene(houses: Houses, params: &str) -> anyhow::Result<Option<(Beanstalkd, Scene)>> {
    match Beanstalkd::start()? {
        Ok(server) => {
            let scene = Scene::in_queue(&server.url(), Longboat::new()?, houses, params)?;
            Ok(Some((server, scene)))
        }
        Err(reason) => {
            eprintln!("skipped: {reason}");
            Ok(None)
        }
    }
}

/// The first worker stops before the server is told: its attempt is lost.
fn is_lost(steps: &str) -> anyhow::Result<()> {
    in_both_houses(|houses| {
        let Some((server, scene)) = scene(houses, "{}")? else { return Ok(()) };
        let (shown, ()) = watch(&scene.sites()?, || {
            let mut first = scene.start_first(steps)?;
            scene.await_stop(&first)?;
            server.sleep(PAST_THE_LEASE)?;
            scene.run_second()?;
            first.signal("CONT")?;
            first.await_line("### Lost job")?;
            scene.go_on(first)
        })?;
        assert_eq!(Vec::from_iter(shown), [2], "{houses:?}: only the second attempt was ever shown");
        assert_eq!(scene.published(&scene.second)?, 2);
        assert_eq!(Vec::from_iter(scene.kept(&scene.second)?), ["2"]);
        match houses {
            Houses::Shared => assert_eq!(scene.history()?, ["first: lost", "second: done"]),
            Houses::Apart => {
                assert_eq!(scene.history_by(&scene.second)?, ["second: done"]);
                let shown = scene.first.run(["show", &scene.id])?;
                assert!(text(&shown.stderr).contains("on the node of the worker that ran it"), "{shown:?}");
            }
        }
        Ok(())
    })
}

/// The first worker stops once the server was told: its attempt counts, and nobody else gets the job.
fn counts(steps: &str) -> anyhow::Result<()> {
    in_both_houses(|houses| {
        let Some((server, scene)) = scene(houses, "{}")? else { return Ok(()) };
        let (shown, ()) = watch(&scene.sites()?, || {
            let first = scene.start_first(steps)?;
            scene.await_stop(&first)?;
            server.sleep(PAST_THE_LEASE)?;
            scene.run_second()?;
            first.signal("CONT")?;
            await_that("it is published", || Ok((scene.history()? == ["first: done"]).then_some(())))?;
            scene.go_on(first)
        })?;
        assert_eq!(Vec::from_iter(shown), [1], "{houses:?}");
        assert_eq!(scene.published(&scene.first)?, 1);
        assert_eq!(Vec::from_iter(scene.kept(&scene.first)?), ["1"]);
        assert_eq!(server.connect()?.job(1, "state")?, None, "the server has it no more");
        Ok(())
    })
}

#[test]
fn a_worker_that_is_stopped_before_it_stages_loses_its_reservation() -> anyhow::Result<()> {
    is_lost("before mkdir */.staging/*")
}

#[test]
fn a_worker_that_is_stopped_before_it_moves_its_result_loses_its_reservation() -> anyhow::Result<()> {
    is_lost("before rename */attempts/1")
}

#[test]
fn a_worker_that_is_stopped_before_it_writes_down_the_end_loses_its_reservation() -> anyhow::Result<()> {
    is_lost("after rename */attempts/1; before begin */queue.db-shm")
}

#[test]
fn a_worker_that_is_stopped_before_it_tells_the_server_loses_its_reservation() -> anyhow::Result<()> {
    is_lost("before send bury *")
}

#[test]
fn a_worker_that_is_stopped_when_it_has_told_the_server_publishes() -> anyhow::Result<()> {
    counts("after send bury *")
}

#[test]
fn a_worker_that_is_stopped_before_its_commit_publishes() -> anyhow::Result<()> {
    counts("after send bury *; before begin */queue.db-shm")
}

#[test]
fn a_worker_that_is_stopped_before_it_deletes_the_job_has_published() -> anyhow::Result<()> {
    counts("before send delete *")
}
