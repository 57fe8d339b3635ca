//! What each command does.

mod act;
mod algorithm;
mod chosen;
mod confine;
mod list;
mod logs;
mod node;
mod outcome;
mod queue;
mod record;
mod result;
mod run;
mod show;
mod source;
mod status;
mod submit;
mod update;
mod wait;
mod worker;

use crate::cli::{Cli, Command};
use crate::output;
use anyhow::Context;
use node::Node;

/// A mistake in the use of a command.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Runs the command, and returns whether it succeeded.
///
/// # Errors
/// What failed, where, why, and what to do about it; [`Usage`] if the arguments do not go together.
pub fn run(cli: Cli) -> anyhow::Result<bool> {
    if let Command::HelpMarkdown = cli.command {
        return output::write(crate::cli::manual().as_bytes()).map(|_| true);
    }
    let node = Node::open(&cli.global)?;
    let format = cli.global.output;
    match cli.command {
        Command::Run(args) => block_on(run::run(&node, *args, format)),
        Command::Algorithm(command) => block_on(algorithm::run(&node, command, format)),
        Command::Submit(args) => block_on(submit::submit(&node, *args, format)),
        Command::Worker { worker, public, walls } => worker::work(&node.at(public), worker, &walls),
        Command::Serve { serve, public, walls } => worker::serve(&node.at(public), &serve, &walls),
        Command::Up { worker, serve, public, walls } => worker::up(&node.at(public), worker, &serve, &walls),
        Command::List(args) => block_on(list::list(&node, *args, format)),
        Command::Show(args) => block_on(show::show(&node, args, format)),
        Command::Status => block_on(status::status(&node, format)),
        Command::Wait(args) => block_on(wait::wait(&node, *args, format)),
        Command::Logs(args) => block_on(logs::logs(&node, args, format)),
        Command::Result(args) => block_on(result::result(&node, args, format)),
        Command::Cancel(args) => block_on(act::act(&node, args.act, act::cancel(args.reason), format)),
        Command::Hold(args) => block_on(act::act(&node, *args, act::HOLD, format)),
        Command::Release(args) => block_on(act::act(&node, *args, act::RELEASE, format)),
        Command::Kick(args) => block_on(act::act(&node, *args, act::KICK, format)),
        Command::Update(args) => block_on(act::update(&node, *args, format)),
        Command::Delete(args) => block_on(act::delete(&node, *args, format)),
        Command::Pause(args) => block_on(queue::pause(&node, args, format)),
        Command::Resume { tube } => block_on(queue::resume(&node, tube, format)),
        Command::Queue(command) => queue::run(&node, command, format),
        Command::HelpMarkdown => Ok(true),
        Command::Intake(command) => queue::intake(&node, &command, format),
    }
}

/// Runs a command on a runtime. No thread exists before this call, so a process can be confined before it.
fn block_on(command: impl Future<Output = anyhow::Result<bool>>) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime failed")?;
    let done = runtime.block_on(command);
    // A task that waits for a disk or a peer must not keep the finished program from ending.
    runtime.shutdown_background();
    done
}
