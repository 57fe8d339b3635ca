//! The model: all jobs in the order of their submission, and rules that look at all of them each time.

use super::ModelJob;
use super::steps::{Act, End, Patch, WORKERS, span, tube};
use crate::job::{Document, JobId, State, Tube, UniqueFor, When};
use crate::queue::Lease;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// What came of an action.
pub(super) type Outcome = Result<State, Refused>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    NoSuchJob,
    State(State),
    NotUnique(JobId),
}

pub(super) struct Model {
    pub(super) jobs: Vec<ModelJob>,
    /// What was deleted, in that order.
    pub(super) forgotten: Vec<(JobId, Document)>,
    /// Attempts that were settled, by whom, and with which verdict.
    settled: Vec<(Lease, usize, &'static str)>,
    /// Tubes that were paused, and until when.
    pauses: BTreeMap<Tube, Option<i64>>,
    started: Timestamp,
    /// Milliseconds since the start.
    pub(super) now: i64,
}

impl Model {
    /// That of a queue without jobs at the time `started`, after these were deleted.
    pub(super) fn new(started: Timestamp, forgotten: Vec<(JobId, Document)>) -> Self {
        Self { jobs: Vec::new(), forgotten, settled: Vec::new(), pauses: BTreeMap::new(), started, now: 0 }
    }

    /// So many seconds from now.
    pub(super) fn after(&self, seconds: u64) -> i64 {
        self.now + i64::try_from(seconds).unwrap() * 1000
    }

    /// The time of the queue's clock that the model's stands for.
    pub(super) fn clock(&self, millis: i64) -> Timestamp {
        self.started + Duration::from_millis(u64::try_from(millis).unwrap())
    }

    /// Every job that there ever was, as it was submitted.
    pub(super) fn known(&self) -> Vec<(JobId, Document)> {
        let jobs = self.jobs.iter().map(|job| (job.id, job.submitted.clone()));
        self.forgotten.iter().cloned().chain(jobs).collect()
    }

    fn key_holder(&self, key: &str) -> Option<JobId> {
        self.jobs.iter().find(|job| job.holds(key, self.now)).map(|job| job.id)
    }

    pub(super) fn submit(&mut self, id: JobId, document: &Document) -> Result<(), JobId> {
        if let Some(unique) = &document.unique
            && let Some(holder) = self.key_holder(&unique.key)
        {
            return Err(holder);
        }
        let after = |span: crate::job::Span| self.now + i64::try_from(span.millis()).unwrap();
        let mut job = ModelJob {
            id,
            submitted: document.clone(),
            document: document.clone(),
            state: State::Held,
            submitted_at: self.now,
            ready_at: self.now,
            would_have_expired_at: None,
            expires_at: document.expires.map(|expires| match expires {
                When::After(span) => after(span),
                When::At(time) => panic!("no step makes {time}"),
            }),
            finished_at: None,
            key: document.unique.as_ref().map(|unique| match unique.period {
                UniqueFor::Done => (unique.key.clone(), None),
                UniqueFor::For(span) => (unique.key.clone(), Some(after(span))),
            }),
            attempts: 0,
            uncounted: 0,
            kicks: 0,
            holder: 0,
            has_begun: false,
            verdict: None,
            published: None,
        };
        job.wait_until(document.delay.map_or(self.now, after), self.now);
        if document.hold {
            job.state = State::Held;
        }
        self.jobs.push(job);
        Ok(())
    }

    /// What a claim returns of each job: id, attempt, those that count, those that are granted.
    pub(super) fn claim(&mut self, worker: usize, tubes: &[Tube], most: usize) -> Vec<(JobId, u32, u32, u32)> {
        for job in &mut self.jobs {
            job.expire(self.now);
            if job.state == State::Delayed && job.ready_at <= self.now {
                job.state = State::Ready;
            }
        }
        let open: Vec<&Tube> = tubes.iter().filter(|tube| !self.is_paused(tube)).collect();
        let mut claimed = Vec::new();
        while claimed.len() < most {
            let may_take = |job: &&mut ModelJob| {
                job.state == State::Ready && open.contains(&&job.document.tube) && job.may_be_run_by(WORKERS[worker])
            };
            // The jobs are in the order of their submission, and the first of several minima is taken.
            let Some(job) = self.jobs.iter_mut().filter(may_take).min_by_key(|job| job.document.priority) else {
                break;
            };
            (job.state, job.holder, job.has_begun) = (State::Running, worker, false);
            job.would_have_expired_at = job.expires_at.take();
            job.attempts += 1;
            claimed.push((job.id, job.attempts, job.attempts - job.uncounted, job.granted()));
        }
        claimed
    }

    /// Whether the worker may begin the attempt, which then has begun.
    pub(super) fn begin(&mut self, lease: &Lease, worker: usize) -> bool {
        let holds = self.holds(lease, worker);
        let job = self.jobs.iter_mut().find(|job| job.id == lease.id);
        job.filter(|_| holds).map(|job| job.has_begun = true).is_some()
    }

    /// Whether nothing is left to be given back, for the attempt has begun.
    pub(super) fn has_begun(&self, lease: &Lease, worker: usize) -> bool {
        self.holds(lease, worker) && self.leased(lease).is_some_and(|job| job.has_begun)
    }

    fn leased(&self, lease: &Lease) -> Option<&ModelJob> {
        self.jobs.iter().find(|job| job.id == lease.id && job.attempts == lease.attempt)
    }

    pub(super) fn holds(&self, lease: &Lease, worker: usize) -> bool {
        self.leased(lease).is_some_and(|job| job.state == State::Running && job.holder == worker)
    }

    /// Whether nobody will get the job of a lease that was lost, as far as can be told from the lease.
    pub(super) fn was_cancelled(&self, lease: &Lease) -> bool {
        let is_gone = self.forgotten.iter().any(|(id, _)| *id == lease.id);
        is_gone || self.leased(lease).is_some_and(|job| job.state == State::Cancelled)
    }

    /// Whether the lease was the worker's, or the worker has settled it in just this way before.
    pub(super) fn settle(&mut self, lease: &Lease, worker: usize, end: End, verdict: &'static str) -> bool {
        let settled = (lease.clone(), worker, verdict);
        if !self.holds(lease, worker) {
            return self.settled.contains(&settled) && self.jobs.iter().any(|job| job.id == lease.id);
        }
        self.settled.push(settled);
        let now = self.now;
        let Some(job) = self.jobs.iter_mut().find(|job| job.id == lease.id) else { return false };
        match end {
            End::Done => job.end(State::Done, "done", now),
            End::Buried => job.end(State::Dead, "failed", now),
            End::Failed { wait } => job.retry(now + i64::try_from(wait).unwrap() * 1000, now, "failed"),
            End::Interrupted => job.retry(now, now, "interrupted"),
        }
        if job.state.is_final() {
            job.published = Some(lease.attempt);
        }
        true
    }

    /// Whether the lease was the worker's.
    pub(super) fn give_back(&mut self, lease: &Lease, worker: usize) -> bool {
        if !self.holds(lease, worker) {
            return false;
        }
        let Some(job) = self.jobs.iter_mut().find(|job| job.id == lease.id) else { return false };
        (job.state, job.expires_at) = (State::Ready, job.would_have_expired_at);
        job.attempts -= 1;
        true
    }

    pub(super) fn end_attempts_of(&mut self, worker: usize, verdict: &'static str) {
        let now = self.now;
        for job in self.jobs.iter_mut().filter(|job| job.state == State::Running && job.holder == worker) {
            let used_up = job.attempts - job.uncounted >= job.granted();
            match (verdict, job.has_begun) {
                ("lost", true) if used_up => job.end(State::Dead, verdict, now),
                ("lost", false) => {
                    job.retry(now, now, "interrupted");
                    job.expires_at = job.would_have_expired_at;
                }
                _ => job.retry(now, now, verdict),
            }
        }
    }

    pub(super) fn act(&mut self, id: JobId, act: &Act) -> Outcome {
        let now = self.now;
        let place = self.jobs.iter().position(|job| job.id == id).ok_or(Refused::NoSuchJob)?;
        self.jobs[place].expire(now);
        let wanted = match (act, self.jobs[place].lasting_key(), self.jobs[place].state) {
            (Act::Kick, Some(key), State::Dead) => Some(key.to_owned()),
            _ => None,
        };
        if let Some(holder) = wanted.as_ref().and_then(|key| self.key_holder(key)) {
            return Err(Refused::NotUnique(holder));
        }
        let job = &mut self.jobs[place];
        match (act, job.state) {
            (Act::Cancel, State::Cancelled) | (Act::Hold, State::Held) => {}
            (Act::Release, State::Delayed | State::Ready) => {}
            (Act::Cancel, State::Held | State::Delayed | State::Ready | State::Running) => {
                job.end(State::Cancelled, "cancelled", now);
            }
            (Act::Hold, State::Delayed | State::Ready) => job.state = State::Held,
            (Act::Release, State::Held) => job.wait_until(job.ready_at, now),
            (Act::Kick, State::Delayed) => job.wait_until(now, now),
            (Act::Kick, State::Dead) => {
                job.wait_until(now, now);
                job.kicks += 1;
                job.finished_at = None;
                job.key = wanted.map(|key| (key, None)).or(job.key.take());
            }
            (Act::Update(patch), State::Held | State::Delayed | State::Ready | State::Dead) => job.update(patch, now),
            (Act::Delete, state) if state != State::Running => {
                let job = self.jobs.remove(place);
                self.forgotten.push((id, job.submitted));
                return Ok(state);
            }
            (_, state) => return Err(Refused::State(state)),
        }
        Ok(job.state)
    }

    /// Forgets what is done or cancelled for that long, and returns how much that was.
    pub(super) fn forget(&mut self, seconds: u64) -> usize {
        let before = self.now - i64::try_from(seconds).unwrap() * 1000;
        self.jobs.iter_mut().for_each(|job| job.expire(self.now));
        let mut gone = Vec::new();
        for state in [State::Done, State::Cancelled] {
            let is_old = |job: &&ModelJob| {
                let holds_key = job.key.as_ref().is_some_and(|(key, _)| job.holds(key, self.now));
                job.state == state && !holds_key && job.finished_at.is_some_and(|finished| finished <= before)
            };
            let mut old: Vec<&ModelJob> = self.jobs.iter().filter(is_old).collect();
            old.sort_by_key(|job| job.finished_at);
            gone.extend(old.iter().map(|job| (job.id, job.submitted.clone())));
        }
        self.jobs.retain(|job| gone.iter().all(|(id, _)| job.id != *id));
        self.forgotten.extend(gone.iter().cloned());
        gone.len()
    }

    pub(super) fn pause(&mut self, tube: Tube, until: Option<i64>) {
        self.pauses.insert(tube, until);
    }

    pub(super) fn resume(&mut self, tube: &Tube) -> bool {
        let was_paused = self.is_paused(tube);
        self.pauses.remove(tube);
        was_paused
    }

    pub(super) fn paused(&self) -> impl Iterator<Item = (&Tube, Option<i64>)> {
        let lasts = |until: Option<i64>| until.is_none_or(|until| until > self.now);
        self.pauses.iter().map(|(tube, until)| (tube, *until)).filter(move |(_, until)| lasts(*until))
    }

    fn is_paused(&self, tube: &Tube) -> bool {
        self.paused().any(|(paused, _)| paused == tube)
    }

    pub(super) fn has_work(&self, worker: &str, tube: &Tube) -> bool {
        let takes = |job: &ModelJob| {
            let lives = matches!(job.appears(self.now).0, State::Ready | State::Delayed | State::Running);
            lives && job.document.tube == *tube && job.may_be_run_by(worker)
        };
        self.pauses.get(tube) != Some(&None) && self.jobs.iter().any(takes)
    }
}

impl ModelJob {
    fn update(&mut self, patch: &Patch, now: i64) {
        self.document.priority = patch.priority.unwrap_or(self.document.priority);
        if let Some(index) = patch.tube {
            self.document.tube = tube(index);
        }
        let Some(delay) = patch.delay else { return };
        self.document.delay = delay.map(span);
        let ready_at = now + i64::try_from(delay.unwrap_or(0)).unwrap() * 1000;
        match self.state {
            State::Dead => {}
            State::Held => self.ready_at = ready_at,
            _ => self.wait_until(ready_at, now),
        }
    }
}
