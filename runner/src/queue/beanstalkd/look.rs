//! How jobs stand: what the ledger has of them, corrected by what the server says now.

use super::client::ClientError;
use super::server::Connection;
use super::stats::{JobState, JobStats, Jobs, TubeStats};
use super::{NAME, Shared, fence, mark};
use crate::job::{JobId, Record, State, Tube};
use crate::queue::sqlite::{Entry, Place};
use crate::queue::{Cursor, Filter, Numbered, Queue as _, QueueError, Status, Times};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// As many tubes are told of, one by one; the sums are over all.
const TUBES: usize = 500;
/// As many jobs are looked at for one page.
const LOOKED_AT: usize = 1_000;
/// If more seconds are left of a pause, it was asked for without an end, for which a server knows only its longest: a
/// hundred of 136 years.
const ENDLESS: i64 = 100 * 365 * 24 * 60 * 60;

impl Shared {
    /// One job, as it is now.
    pub(super) async fn find(&self, id: JobId) -> Result<Option<Record>, QueueError> {
        let Some(Entry { record, place, .. }) = self.ledger.entry(id).await? else { return Ok(None) };
        if is_settled(&record) {
            return Ok(Some(record));
        }
        let mut connection = self.server.connect().await?;
        let stats = self.stats_of(&mut connection, place).await?;
        self.server.give_back(connection);
        // What has been settled meanwhile has perhaps been deleted for that.
        let Some(entry) = self.ledger.entry(id).await? else { return Ok(None) };
        match (is_settled(&entry.record), stats) {
            (true, _) => Ok(Some(entry.record)),
            (false, Some(stats)) => Ok(Some(corrected(entry, &stats))),
            (false, None) if entry.record.state == State::Dead => Ok(Some(entry.record)),
            (false, None) => {
                // If that cannot be written down now, the next who asks finds the same.
                let _ = self.ledger.miss(vec![(id, place)]).await;
                Err(QueueError::Unsupported {
                    backend: NAME,
                    what: format!(
                        "tell what became of job {id} (number {}), which it has no more: another worker has ended it, \
                         or it was deleted",
                        place.number
                    ),
                    instead: "ask on the node of the worker that ran it",
                })
            }
        }
    }

    /// Whether the server has the job, and how it stands there.
    pub(super) async fn stats_of(
        &self,
        connection: &mut Connection,
        place: Place,
    ) -> Result<Option<JobStats>, QueueError> {
        fence::look(connection, place).await.map_err(|error| self.server.failed(&error))
    }

    /// A page of jobs, as they are now.
    pub(super) async fn list(
        &self,
        filter: &Filter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<(Vec<Record>, Option<Cursor>), QueueError> {
        let unsupported =
            |what: &str, instead| QueueError::Unsupported { backend: NAME, what: what.to_owned(), instead };
        if !filter.tags.is_empty() {
            return Err(unsupported("find jobs by their tags", "give them a tube of their own"));
        }
        if filter.host.is_some() {
            return Err(unsupported("keep a job for one worker, nor find it by that", "leave the filter out"));
        }
        if after.is_none() {
            // Nothing to be told is one thing, and nobody who tells it another.
            self.ping().await?;
        }
        let (page, next) = self.ledger.page(after, limit.min(LOOKED_AT)).await?;
        let mut connection = None;
        let (mut records, mut missing) = (Vec::new(), Vec::new());
        for entry in page {
            let record = match is_settled(&entry.record) {
                true => entry.record,
                false => {
                    let connection = match &mut connection {
                        Some(connection) => connection,
                        none => none.insert(self.server.connect().await?),
                    };
                    match self.stats_of(connection, entry.place).await? {
                        Some(stats) => corrected(entry, &stats),
                        None if entry.record.state == State::Dead => continue,
                        None => {
                            missing.push((entry.record.id, entry.place));
                            continue;
                        }
                    }
                }
            };
            if fits(filter, &record) {
                records.push(Record { history: None, delivery: None, ..record });
            }
        }
        if let Some(connection) = connection {
            self.server.give_back(connection);
        }
        // If that cannot be written down now, the next listing finds the same.
        let _ = self.ledger.miss(missing).await;
        Ok((records, next))
    }

    /// What has a number at the server.
    pub(super) async fn numbered(&self, number: u64) -> Result<Option<Numbered>, QueueError> {
        if let Some(found) = self.rubbish(number).await? {
            return Ok(Some(Numbered::Unreadable(found)));
        }
        let Some(id) = self.ledger.numbered(number).await? else { return Ok(None) };
        Ok(self.find(id).await?.map(|record| Numbered::Job(Box::new(record))))
    }

    /// The server's counts, and what this data directory has done.
    pub(super) async fn status(&self) -> Result<Status, QueueError> {
        let mut status = Status { states: State::ALL.map(|state| (state, 0)).into(), ..Status::default() };
        let mut connection = self.server.connect().await?;
        let now = Timestamp::now();
        let counted = async {
            let jobs = connection.stats().await?.jobs;
            for tube in connection.list_tubes().await?.into_iter().take(TUBES) {
                let Some(stats) = connection.stats_tube(&tube).await? else { continue };
                if stats.pause_left > 0 {
                    status.paused.insert(tube.clone(), pause_end(now, stats.pause_left));
                }
                let waiting = states(stats.jobs);
                if !waiting.is_empty() {
                    status.tubes.insert(tube, waiting);
                }
            }
            Ok::<_, ClientError>(jobs)
        };
        let jobs = counted.await.map_err(|error| self.server.failed(&error))?;
        self.server.give_back(connection);
        status.states.extend(states(jobs));
        status.states.insert(State::Dead, jobs.buried);
        for state in [State::Done, State::Cancelled] {
            status.states.insert(state, self.ledger.count(state).await?);
        }
        status.timings = self.ledger.queue().status().await?.timings;
        status.workers = self.ledger.workers().await?;
        Ok(status)
    }

    /// Whether anything is in the tubes that will be reserved, or may come back.
    pub(super) async fn has_work(&self, tubes: &[Tube]) -> Result<bool, QueueError> {
        self.has(tubes, |stats| {
            let Jobs { ready, delayed, reserved, .. } = stats.jobs;
            let is_paused_for_good = i64::try_from(stats.pause_left).is_ok_and(|left| left >= ENDLESS);
            reserved > 0 || (!is_paused_for_good && ready + delayed > 0)
        })
        .await
    }

    /// Whether a claim would find something.
    pub(super) async fn has_ready(&self, tubes: &[Tube]) -> Result<bool, QueueError> {
        self.has(tubes, |stats| stats.pause_left == 0 && stats.jobs.ready > 0).await
    }

    /// Whether there is such a tube among these.
    async fn has(&self, tubes: &[Tube], is_so: impl Fn(&TubeStats) -> bool + Send + Sync) -> Result<bool, QueueError> {
        let mut connection = self.server.connect().await?;
        let mut has = false;
        for tube in tubes {
            let stats = connection.stats_tube(tube).await.map_err(|error| self.server.failed(&error))?;
            has = stats.is_some_and(|stats| is_so(&stats));
            if has {
                break;
            }
        }
        self.server.give_back(connection);
        Ok(has)
    }

    /// Whether the server answers; the ledger is in a file of this machine.
    pub(super) async fn ping(&self) -> Result<(), QueueError> {
        let mut connection = self.server.connect().await?;
        connection.stats().await.map_err(|error| self.server.failed(&error))?;
        self.server.give_back(connection);
        Ok(())
    }

    /// What is to be known of this server.
    pub(super) async fn caveats(&self) -> Result<Vec<String>, QueueError> {
        let mut connection = self.server.connect().await?;
        let stats = connection.stats().await.map_err(|error| self.server.failed(&error))?;
        self.server.give_back(connection);
        let address = self.server.address();
        let mut caveats = Vec::new();
        if !stats.has_binlog {
            caveats.push(format!(
                "{address} keeps no binlog: jobs that it has accepted do not survive its end; start it with -b DIR -f 0"
            ));
        }
        if stats.is_draining {
            caveats.push(format!("{address} takes no more jobs, because it is about to stop"));
        }
        Ok(caveats)
    }
}

/// When a pause ends of which so many seconds are left, unless it is without an end.
fn pause_end(now: Timestamp, left: u64) -> Option<Timestamp> {
    let left = i64::try_from(left).ok().filter(|left| *left < ENDLESS)?;
    now.checked_add(SignedDuration::from_secs(left)).ok()
}

/// Whether nothing that the server does can change the record.
fn is_settled(record: &Record) -> bool {
    matches!(record.state, State::Done | State::Cancelled)
}

fn states(jobs: Jobs) -> BTreeMap<State, u64> {
    let states = [(State::Delayed, jobs.delayed), (State::Ready, jobs.ready), (State::Running, jobs.reserved)];
    states.into_iter().filter(|(_, jobs)| *jobs > 0).collect()
}

/// The record of a job that the server has.
fn corrected(entry: Entry, stats: &JobStats) -> Record {
    let waits = matches!(stats.state, JobState::Ready | JobState::Delayed);
    if waits && entry.has_expired(stats.reserves, Timestamp::now()) {
        return entry.expired();
    }
    let Entry { record, place, .. } = entry;
    let state = match (record.state, stats.state) {
        // It is buried while its result is being published.
        (State::Running, JobState::Buried) if stats.reserves <= record.attempts => State::Running,
        (_, JobState::Buried) if mark::is_on(stats, record.document.priority) => State::Running,
        (_, JobState::Ready) => State::Ready,
        (_, JobState::Delayed) => State::Delayed,
        (_, JobState::Reserved) => State::Running,
        (_, JobState::Buried) => State::Dead,
    };
    let finished_at = record.finished_at.filter(|_| state == State::Dead);
    let attempts = record.attempts.max(stats.reserves);
    // Those that this data directory does not know of are taken for such that grant attempts.
    let kicks = record.kicks.saturating_add(stats.kicks.saturating_sub(place.counts.kicks));
    Record { state, finished_at, attempts, kicks, ..record }
}

/// Whether a record is one of those that are meant.
fn fits(filter: &Filter, record: &Record) -> bool {
    let history = record.history.as_deref().unwrap_or_default();
    let document = &record.document;
    (filter.states.is_empty() || filter.states.contains(&record.state))
        && (filter.tubes.is_empty() || filter.tubes.contains(&document.tube))
        && filter.algorithm.as_ref().is_none_or(|name| *name == document.algorithm.name)
        && filter.worker.as_ref().is_none_or(|name| history.iter().any(|attempt| attempt.worker == *name))
        && (filter.verdicts.is_empty()
            || record.verdict.as_ref().is_some_and(|verdict| filter.verdicts.iter().any(|kind| kind == verdict.kind())))
        && within(filter.submitted, Some(record.submitted_at))
        && within(filter.finished, record.finished_at)
}

fn within(times: Times, time: Option<Timestamp>) -> bool {
    match time {
        Some(time) => times.since.is_none_or(|since| time >= since) && times.before.is_none_or(|before| time < before),
        None => times == Times::default(),
    }
}
