//! What happens when nobody reads standard error any more, as with `longboat worker 2>&1 | tee log` whose `tee` has ended.

use crate::support::{await_state, await_that, sailor, show, submit};
use longboat_tests::program::Longboat;
use std::ffi::OsStr;
use std::process::{Child, Command, Stdio};

/// The command line, with a standard error that has lost its reader.
fn unheard<S: AsRef<OsStr>>(node: &Longboat, arguments: impl IntoIterator<Item = S>) -> anyhow::Result<Command> {
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let mut command = node.command(arguments);
    command.stdout(Stdio::null()).stderr(writer);
    Ok(command)
}

/// A process that is killed when the test is over.
struct Running(Child);

impl Running {
    fn terminate(&self) -> anyhow::Result<()> {
        let status = Command::new("kill").args(["-s", "TERM", &self.0.id().to_string()]).status()?;
        anyhow::ensure!(status.success(), "no signal could be sent");
        Ok(())
    }

    fn exit_code(&mut self) -> anyhow::Result<Option<i32>> {
        Ok(await_that("the worker has ended", || Ok(self.0.try_wait()?))?.code())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_worker_that_nobody_hears_drains_at_the_first_signal() -> anyhow::Result<()> {
    let node = sailor()?;
    let id = submit(&node, ["drunken-sailor", "--param=mode=slow", "--param=seconds=1"])?;
    let mut worker = Running(unheard(&node, ["worker"])?.spawn()?);
    await_state(&node, &id, "running")?;
    worker.terminate()?;
    assert_eq!(worker.exit_code()?, Some(0));
    assert_eq!(show(&node, &id)?["state"], "done");
    Ok(())
}

#[test]
fn a_worker_that_nobody_hears_stops_at_the_second_signal() -> anyhow::Result<()> {
    let node = sailor()?;
    let id = submit(&node, ["drunken-sailor", "--param=mode=endless-loop", "--ttr=60s", "--fuel=1e12"])?;
    let mut worker = Running(unheard(&node, ["worker"])?.spawn()?);
    await_state(&node, &id, "running")?;
    worker.terminate()?;
    // One signal that comes while another waits is the same signal, so each is given time to be noticed.
    let ended = await_that("the worker has ended", || {
        worker.terminate()?;
        Ok(worker.0.try_wait()?)
    });
    assert_eq!(ended?.code(), Some(0));
    assert_eq!(show(&node, &id)?["state"], "ready");
    Ok(())
}

#[test]
fn trouble_that_cannot_be_told_ends_nothing() -> anyhow::Result<()> {
    let node = sailor()?;
    // A refusal by policy is told with the address, in the worker's log only.
    let refused = ["drunken-sailor", "--input=http://127.0.0.1:9/", "--max-attempts=1"];
    let refused = submit(&node, refused)?;
    let behaves = submit(&node, ["drunken-sailor", "--param=mode=normal"])?;
    assert!(unheard(&node, ["-v", "worker", "--until-empty"])?.status()?.success());
    assert_eq!(show(&node, &refused)?["verdict"]["kind"], "input-unavailable");
    assert_eq!(show(&node, &behaves)?["state"], "done");
    Ok(())
}

#[test]
fn a_command_that_fails_unheard_says_so_by_its_exit_status() -> anyhow::Result<()> {
    let node = sailor()?;
    let unknown = "00000000-0000-0000-0000-000000000001";
    for (arguments, code) in
        [(&["show", unknown][..], 1), (&["cancel", unknown], 1), (&["kick", "--all"], 2), (&["update", unknown], 2)]
    {
        assert_eq!(unheard(&node, arguments)?.status()?.code(), Some(code), "{arguments:?}");
    }
    Ok(())
}
