//! `longboat wait`.

use super::chosen::{Chosen, Pages};
use super::node::{Node, unknown_job};
use crate::cli::{Format, WaitArgs};
use crate::output::{self, Field};
use indicatif::ProgressBar;
use longboat::job::{JobId, Progress, Record, Span, State, Verdict};
use longboat::queue::{Queue, QueueError};
use std::time::{Duration, Instant};

/// How many jobs can be waited for at once.
const MOST: usize = 100_000;
/// How many ids an error names.
const NAMED: usize = 10;
/// Jobs are looked at this often, even if the queue reports no change.
const AT_LEAST: Duration = Duration::from_millis(500);
/// Changes of other jobs cause a look no more often than this.
const AT_MOST: Duration = Duration::from_millis(10);

/// A job that is waited for.
#[derive(serde::Serialize)]
struct Awaited {
    id: JobId,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<State>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<Verdict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip)]
    progress: Option<Progress>,
}

impl Awaited {
    fn new(id: JobId) -> Self {
        Self { id, state: None, verdict: None, error: None, progress: None }
    }

    fn see(&mut self, record: Record) {
        (self.state, self.verdict, self.progress) = (Some(record.state), record.verdict, record.progress);
    }

    /// Looks at the job once, and returns whether it is known.
    async fn look(&mut self, queue: &dyn Queue) -> Result<bool, QueueError> {
        let record = queue.find(self.id).await?;
        Ok(record.map(|record| self.see(record)).is_some())
    }

    fn has_ended(&self) -> bool {
        self.error.is_some() || self.state.is_some_and(State::is_final)
    }

    fn row(&self) -> Vec<Field> {
        let verdict = self.verdict.as_ref().map(|verdict| output::plain(&verdict.to_string()));
        let verdict = verdict.or_else(|| self.error.clone());
        vec![
            self.id.to_string().into(),
            self.state.map_or_else(|| "-".into(), Field::from),
            verdict.unwrap_or_else(|| "-".to_owned()).into(),
        ]
    }
}

pub async fn wait(node: &Node, args: WaitArgs, format: Format) -> anyhow::Result<bool> {
    let queue = node.queue().await?;
    let mut changes = queue.watch();
    let give_up = args.timeout.map(|timeout| Instant::now() + timeout.0);
    let mut jobs = match Chosen::new(args.chosen, &[])? {
        Chosen::Named(ids) => known(&*queue, ids).await?,
        Chosen::Fitting { filter, most, .. } => fitting(Pages::new(&*queue, *filter, most)).await?,
    };
    let bar = output::counting(jobs.len(), "ended");
    loop {
        let started = Instant::now();
        look(&*queue, &mut jobs, &bar).await?;
        let left = give_up.map(|give_up| give_up.saturating_duration_since(Instant::now()));
        if jobs.iter().all(Awaited::has_ended) || left.is_some_and(|left| left.is_zero()) {
            break;
        }
        // Waiting for many jobs must not keep the queue busy: it takes at most half of the time.
        tokio::time::sleep(started.elapsed().max(AT_MOST).min(left.unwrap_or(Duration::MAX))).await;
        changes.changed(AT_LEAST.min(left.unwrap_or(AT_LEAST))).await;
    }
    bar.finish_and_clear();
    output::print(format, &jobs, |jobs| output::table(&["id", "state", "verdict"], jobs.iter().map(Awaited::row)))?;
    match jobs.iter().find(|job| !job.has_ended()) {
        Some(job) => Err(late(&jobs, job, args.timeout.unwrap_or_default())),
        None => Ok(jobs.iter().all(|job| job.state == Some(State::Done))),
    }
}

/// The jobs with these ids. An unknown id is an error at once, since that job never ends.
async fn known(queue: &dyn Queue, ids: Vec<JobId>) -> anyhow::Result<Vec<Awaited>> {
    check_number(ids.len())?;
    let (mut jobs, mut unknown) = (Vec::with_capacity(ids.len()), Vec::new());
    for id in ids {
        let mut job = Awaited::new(id);
        if !job.look(queue).await? {
            unknown.push(id);
        }
        jobs.push(job);
    }
    match unknown.len() {
        0 => Ok(jobs),
        1 => anyhow::bail!(unknown_job(unknown[0])),
        count => {
            let more = if count > NAMED { ", …" } else { "" };
            let named: Vec<_> = unknown.iter().take(NAMED).map(JobId::to_string).collect();
            anyhow::bail!("no jobs have these {count} ids: {}{more}", named.join(", "))
        }
    }
}

async fn fitting(mut pages: Pages<'_>) -> anyhow::Result<Vec<Awaited>> {
    let mut jobs = Vec::new();
    while let Some(page) = pages.next().await? {
        check_number(jobs.len() + page.len())?;
        jobs.extend(page.into_iter().map(|record| {
            let mut job = Awaited::new(record.id);
            job.see(record);
            job
        }));
    }
    Ok(jobs)
}

fn check_number(jobs: usize) -> anyhow::Result<()> {
    anyhow::ensure!(
        jobs <= MOST,
        "at most {} jobs can be waited for at once; choose fewer",
        output::number(MOST as u64)
    );
    Ok(())
}

/// Looks at each job that had not ended at the last look.
async fn look(queue: &dyn Queue, jobs: &mut [Awaited], bar: &ProgressBar) -> anyhow::Result<()> {
    let mut progress = None;
    for job in jobs.iter_mut().filter(|job| !job.has_ended()) {
        if !job.look(queue).await? {
            job.error = Some("it was deleted before it had ended".to_owned());
        }
        progress = job.progress.take().or(progress);
    }
    bar.set_position(jobs.iter().filter(|job| job.has_ended()).count() as u64);
    bar.set_message(progress.as_ref().map(output::progress).unwrap_or_default());
    Ok(())
}

fn late(jobs: &[Awaited], first: &Awaited, timeout: Span) -> anyhow::Error {
    let state = first.state.map_or("unknown", State::as_str);
    match jobs.iter().filter(|job| !job.has_ended()).count() {
        1 => anyhow::anyhow!("job {} is still {state} after {timeout}", first.id),
        count => {
            anyhow::anyhow!("{count} jobs have not ended after {timeout}; the first is {}, still {state}", first.id)
        }
    }
}
