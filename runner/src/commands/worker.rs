//! `longboat worker`: runs jobs and tells about it as msg-qworker did.

use super::{Node, outbox};
use crate::cli::WorkerArgs;
use crate::output;
use anyhow::anyhow;
use longboat::config::RetentionConfig;
use longboat::job::{Decision, Span, Tube, check_label};
use longboat::queue::{Queue, Retention};
use longboat::worker::{Event, Shutdown, Worker, WorkerOptions};
use std::io::Write;
use std::sync::Arc;
use tokio::sync::watch;

/// How much of a log is shown with a run.
const SHOWN_LOG: usize = 2000;

/// Works until the options or a signal end it; the queue may be shared with an HTTP server.
pub async fn work(node: &Node, args: WorkerArgs, queue: Option<Arc<dyn Queue>>) -> anyhow::Result<bool> {
    let queue = queue.map_or_else(|| node.queue(), Ok)?;
    for caveat in queue.caveats().await? {
        output::tell(format_args!("warning: {caveat}"));
    }
    let results = node.results()?;
    let slots = node.slots(args.slots);
    let executor = node.executor(Arc::new(node.sandbox(slots)?))?;
    let name = args.name.or_else(|| node.config.worker.name.clone()).unwrap_or_else(host_name);
    check_label(&name).map_err(|error| anyhow!("a worker's name has {error}; give another one with --name"))?;
    let tubes = if args.tubes.is_empty() { vec![Tube::default()] } else { args.tubes };
    let served = tubes.iter().map(Tube::as_str).collect::<Vec<_>>().join(", ");
    let place = node.data.results();
    output::tell(format_args!("worker {name} serves {served} with {slots} slots, results in {}", place.display()));
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
    };
    let worker = Worker::new(options, queue, executor, node.sender()?, results, Arc::new(tell))?;
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
            // Before anything is said: whoever reads that may be slow.
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

/// Writes a run to standard output in one piece, so that runs beside each other do not mix.
fn tell(event: &Event<'_>) {
    let text = describe(event);
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

fn describe(event: &Event<'_>) -> String {
    match event {
        Event::Started { job, attempt, directory, time } => {
            let mut lines = vec![
                format!("### Started job {}, algorithm {}, attempt {attempt}", job.id, job.document.algorithm),
                format!(" + result directory: {}", directory.display()),
            ];
            for (name, url) in job.document.inputs() {
                lines.push(format!(" + {name}: {}", longboat::policy::display_url(&url)));
            }
            lines.push(format!(" + time left for processing: {}", Span(*time)));
            lines.push(format!(" + job queue priority: {}\n", job.document.priority));
            lines.join("\n")
        }
        Event::Ended { job, attempt, verdict, decision, took, log } => {
            let mut lines =
                vec![format!("### Ended job {}, attempt {attempt}, after {}", job.id, output::duration(*took))];
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
            "### Took over job {}: the worker of attempt {} sends no heartbeats\n + {}\n",
            lease.id,
            lease.attempt,
            what_becomes(*decision)
        ),
        Event::Sent { delivery, outcome } => outbox::told(delivery, outcome),
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
            format!("job not done, leaving it in the queue for another attempt in {}", output::duration(wait))
        }
        Decision::Bury => "job is dead: it is kept, and not tried again until it is kicked".to_owned(),
        Decision::Cancel => "job is cancelled".to_owned(),
    }
}
