//! `longboat worker`, `serve` and `up`. A worker prints what it does in the layout of msg-qworker.

use super::node::Node;
use super::{block_on, confine};
use crate::cli::{ServeArgs, WallArgs, WorkerArgs};
use crate::output::{self, duration};
use anyhow::{Context, anyhow};
use longboat::config::RetentionConfig;
use longboat::intake::{self, Address};
use longboat::job::{Decision, Span, Tube, check_label};
use longboat::policy::display_url;
use longboat::queue::{Delivered, Delivery, Jobs, Queue, Retention};
use longboat::results::Reader;
use longboat::server;
use longboat::worker::{Event, Shutdown, Worker, WorkerOptions};
use std::io::Write;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;

/// How many bytes of a log are printed when an attempt has ended.
const SHOWN_LOG: usize = 2000;
/// Connections that wait to be accepted; tokio's own listeners have the same number.
const BACKLOG: u32 = 1024;

/// Runs jobs.
pub fn work(node: &Node, args: WorkerArgs, walls: &WallArgs) -> anyhow::Result<bool> {
    let intakes = intakes(node, &args)?;
    confine::worker(node, &intakes, walls)?;
    block_on(async { run_worker(node, args, intakes, node.queue().await?).await })
}

/// Serves results over HTTP.
pub fn serve(node: &Node, serve: &ServeArgs, walls: &WallArgs) -> anyhow::Result<bool> {
    let socket = bind(node, serve)?;
    confine::server(node, walls)?;
    block_on(async {
        let (listener, queue) = (listen(socket)?, node.queue().await?);
        let router = server::router(queue, node.reader(), node.config.http.public_url.clone());
        server::serve(listener, router, terminated()?).await?;
        Ok(true)
    })
}

/// Runs jobs, and serves results for as long.
pub fn up(node: &Node, args: WorkerArgs, serve: &ServeArgs, walls: &WallArgs) -> anyhow::Result<bool> {
    let intakes = intakes(node, &args)?;
    let socket = bind(node, serve)?;
    confine::worker(node, &intakes, walls)?;
    block_on(async {
        let (listener, queue) = (listen(socket)?, node.queue().await?);
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let router =
            server::router(Arc::clone(&queue) as Arc<dyn Jobs>, node.reader(), node.config.http.public_url.clone());
        let server = tokio::spawn(server::serve(listener, router, async { drop(ended.await) }));
        let worked = run_worker(node, args, intakes, queue).await;
        drop(end);
        server.await?.context("serving results failed")?;
        worked
    })
}

/// The servers to take jobs from: those of the command line, or else those of the configuration.
fn intakes(node: &Node, args: &WorkerArgs) -> anyhow::Result<Vec<Address>> {
    if !args.intakes.is_empty() {
        return Ok(args.intakes.clone());
    }
    let address =
        |url: &String| url.parse().map_err(|error| anyhow!("[intake] servers in the configuration: {url}: {error}"));
    node.config.intake.servers.iter().map(address).collect()
}

/// Binds the port. A confined process can bind none.
fn bind(node: &Node, args: &ServeArgs) -> anyhow::Result<TcpSocket> {
    let address = args.listen.unwrap_or(node.config.http.listen);
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A node that restarts must not wait until its old connections have timed out.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok::<_, std::io::Error>(socket)
    };
    bind().with_context(|| format!("listening on {address} failed; name another address with --listen"))
}

fn listen(socket: TcpSocket) -> anyhow::Result<TcpListener> {
    let address = socket.local_addr()?;
    let listener = socket
        .listen(BACKLOG)
        .with_context(|| format!("listening on {address} failed; name another address with --listen"))?;
    output::tell(format_args!("results at http://{address}/<id>"));
    Ok(listener)
}

fn terminated() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

async fn run_worker(
    node: &Node,
    args: WorkerArgs,
    intakes: Vec<Address>,
    queue: Arc<dyn Queue>,
) -> anyhow::Result<bool> {
    for caveat in queue.caveats().await? {
        output::tell(format_args!("warning: {caveat}"));
    }
    let results = node.results()?;
    let slots = node.slots(args.slots);
    let executor = node.executor(Arc::new(node.sandbox(slots)?), Arc::clone(&queue) as _)?;
    let name = args.name.or_else(|| node.config.worker.name.clone()).unwrap_or_else(host_name);
    check_label(&name).map_err(|error| anyhow!("a worker's name has {error}; give another one with --name"))?;
    let tubes = if args.tubes.is_empty() { vec![Tube::default()] } else { args.tubes };
    let tubes = intake::served(&intakes, tubes);
    let served = tubes.iter().map(Tube::as_str).collect::<Vec<_>>().join(", ");
    let place = node.data.results();
    output::tell(format_args!("worker {name} serves {served} with {slots} slots, files in {}", place.display()));
    for intake in &intakes {
        output::tell(format_args!("worker {name} takes jobs from {intake}"));
    }
    let old_buried = if intakes.is_empty() { Vec::new() } else { node.old_buried().await? };
    let options = WorkerOptions {
        name,
        tubes,
        slots,
        max_jobs: args.max_jobs,
        until_empty: args.until_empty,
        lease: node.config.worker.lease.0,
        heartbeat: node.config.worker.heartbeat.0,
        public_url: node.config.http.public_url.clone(),
        retention: retention(&node.config.retention),
        intakes,
        data_dir: node.data.path().to_owned(),
        old_buried,
    };
    let reader = node.reader();
    let observer = Arc::new(move |event: &Event<'_>| tell(event, &reader));
    let worker = Worker::new(options, queue, executor, node.sender()?, results, observer);
    let made = worker.run(signals()?).await?;
    output::tell(format_args!("worker ended after {made} {}", if made == 1 { "attempt" } else { "attempts" }));
    Ok(true)
}

fn retention(config: &RetentionConfig) -> Retention {
    Retention { done: config.done.duration(), dead: config.dead.duration(), cancelled: config.cancelled.duration() }
}

/// The first signal drains, the second stops now.
fn signals() -> anyhow::Result<watch::Receiver<Shutdown>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (sender, receiver) = watch::channel(Shutdown::No);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        for told in [Shutdown::Drain, Shutdown::Now] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            // First the order, then the message: printing it may block.
            sender.send_replace(told);
            output::tell(match told {
                Shutdown::Now => "stopping now; running jobs go back to the queue",
                _ => "taking no more jobs; waiting for those that run (once more to stop them now)",
            });
        }
    });
    Ok(receiver)
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Prints an event in one piece, so that the lines of concurrent attempts do not mix.
fn tell(event: &Event<'_>, reader: &Reader) {
    let text = describe(event, reader);
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

fn describe(event: &Event<'_>, reader: &Reader) -> String {
    match event {
        Event::Started { job, attempt, time } => {
            let directory = reader.directory(job.id).join(attempt.to_string());
            let mut lines = vec![
                format!("### Started job {}, algorithm {}, attempt {attempt}", job.id, job.document.algorithm),
                format!(" + result directory: {}", directory.display()),
            ];
            for (name, url) in job.document.inputs() {
                lines.push(format!(" + {name}: {}", display_url(&url)));
            }
            lines.push(format!(" + time left for processing: {}", Span(*time)));
            lines.push(format!(" + job queue priority: {}\n", job.document.priority));
            lines.join("\n")
        }
        Event::Ended { job, attempt, verdict, decision, took, log } => {
            let mut lines = vec![format!("### Ended job {}, attempt {attempt}, after {}", job.id, duration(*took))];
            let log = output::plain(&String::from_utf8_lossy(&log[..log.len().min(SHOWN_LOG)]));
            lines.extend(log.lines().map(|line| format!(" | {line}")));
            lines.push(format!(" + verdict: {}", output::plain(&verdict.to_string())));
            lines.push(format!(" + {}\n", what_becomes(*decision)));
            lines.join("\n")
        }
        Event::Stale { job, attempt } => {
            format!("### Lost job {}, attempt {attempt}: its lease is over; nothing of it counts\n", job.id)
        }
        Event::Cancelled { job, attempt } => {
            format!("### Cancelled job {}, attempt {attempt}: nothing of it is published\n", job.id)
        }
        Event::TakenOver { lease, decision } => format!(
            "### Took over job {}: the worker of attempt {} has ended, or sends no heartbeats\n + {}\n",
            lease.id,
            lease.attempt,
            what_becomes(*decision)
        ),
        Event::Sent { delivery, outcome } => sending(delivery, outcome),
        Event::Trouble { doing, reason } => {
            tracing::error!("{doing} failed: {reason}");
            String::new()
        }
    }
}

fn what_becomes(decision: Decision) -> String {
    match decision {
        Decision::Finish => "job completed, removing it from the queue".to_owned(),
        Decision::Retry(wait) if wait.is_zero() => "job not done, leaving it in the queue".to_owned(),
        Decision::Retry(wait) => {
            format!("job not done, leaving it in the queue for another attempt in {}", duration(wait))
        }
        Decision::Bury => "job is dead: it is kept, and not tried again until it is kicked".to_owned(),
        Decision::Cancel => "job is cancelled".to_owned(),
    }
}

/// Describes a try to send a result.
fn sending(delivery: &Delivery, outcome: &Delivered) -> String {
    let (id, attempt, url) = (delivery.id, delivery.attempt, display_url(&delivery.url));
    let failed = |reason: &str, next: &str| {
        let reason = output::plain(reason);
        format!("### Could not send the result of job {id}, attempt {attempt}\n + reason: {reason}\n + {next}\n")
    };
    match outcome {
        Delivered::Yes => format!("### Sent the result of job {id}, attempt {attempt}, to {url}\n"),
        Delivered::Again { after, reason } => failed(reason, &format!("it is sent again in {}", duration(*after))),
        Delivered::TooLate { reason } | Delivered::GivenUp { reason } => {
            failed(reason, "sending is given up; the result can still be read here")
        }
        Delivered::Untried { .. } => String::new(),
    }
}
