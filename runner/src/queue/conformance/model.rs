//! Any queue whose clock a test can set, against a model of it that is simple enough to be believed.
//!
//! The model keeps all jobs in the order of their submission, and its rules look at all of them each time.
//! Its times are milliseconds since it began.

use super::subject::{Backend, Subject, by_hand, document, failed, outcome_of, worker};
use crate::job::{Decision, Document, JobId, Span, State, Tube, Unique, UniqueFor, Verdict, When};
use crate::queue::{Action, Beat, Claimed, Filter, Lease, Outcome, QueueError, Recalled, Refusal, Retention, Settled};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

const WORKERS: [&str; 3] = ["node1", "node10", "node2"];
const TUBES: [&str; 2] = ["default", "night"];

fn tube(index: usize) -> Tube {
    TUBES[index].parse().unwrap()
}

fn span(seconds: u64) -> Span {
    Span(Duration::from_secs(seconds))
}

/// One thing that is done to a queue. Workers and tubes are indices into their lists. Jobs and claims are
/// taken from all that there were so far.
#[derive(Debug, Clone)]
pub(in crate::queue) enum Step {
    Submit(Box<Document>),
    SubmitAgain { job: Index, other: bool },
    Claim { worker: usize, tubes: Range<usize>, most: usize },
    Beat { held: Vec<Index>, worker: usize },
    PutBack { claims: Vec<Index>, worker: usize },
    Settle { claim: Index, worker: usize, end: End, files: bool },
    Act { jobs: Vec<Index>, act: Act },
    Pause { tube: usize, seconds: Option<u64> },
    Resume { tube: usize },
    Unregister { worker: usize },
    Lose { worker: usize },
    Forget { seconds: u64 },
    Sleep(u64),
}

/// How an attempt ends.
#[derive(Debug, Clone, Copy)]
pub(in crate::queue) enum End {
    Done,
    Failed { wait: u64 },
    Buried,
    Interrupted,
}

/// What is done to a job.
#[derive(Debug, Clone)]
pub(in crate::queue) enum Act {
    Cancel,
    Hold,
    Release,
    Kick,
    Delete,
    Update(Patch),
}

/// What is changed in a document. A delay may also be taken away.
#[derive(Debug, Clone)]
pub(in crate::queue) struct Patch {
    priority: Option<u32>,
    tube: Option<usize>,
    delay: Option<Option<u64>>,
}

fn documents() -> impl Strategy<Value = Document> {
    let unique = prop::option::weighted(0.3, (0..2, prop::option::of(1..9_u64)));
    let place = (0..3_u32, 0..2_usize, prop::option::weighted(0.2, 0..3_usize));
    let times = (prop::option::weighted(0.4, 1..9_u64), prop::option::weighted(0.3, 1..9_u64));
    (place, times, unique, prop::bool::weighted(0.1), 1..3_u32).prop_map(
        |((priority, index, host), (delay, expires), unique, hold, max_attempts)| Document {
            priority,
            tube: tube(index),
            host: host.map(|host| WORKERS[host].to_owned()),
            delay: delay.map(span),
            expires: expires.map(|expires| When::After(span(expires))),
            unique: unique.map(|(key, period)| Unique {
                key: format!("key {key}"),
                period: period.map_or(UniqueFor::Done, |period| UniqueFor::For(span(period))),
            }),
            hold,
            max_attempts,
            ..document()
        },
    )
}

fn acts() -> impl Strategy<Value = Act> {
    let patch =
        (prop::option::of(0..3_u32), prop::option::of(0..2_usize), prop::option::of(prop::option::of(0..6_u64)));
    prop_oneof![
        2 => Just(Act::Cancel),
        2 => Just(Act::Hold),
        3 => Just(Act::Release),
        4 => Just(Act::Kick),
        2 => Just(Act::Delete),
        3 => patch.prop_map(|(priority, tube, delay)| Act::Update(Patch { priority, tube, delay })),
    ]
}

pub(in crate::queue) fn steps() -> impl Strategy<Value = Step> {
    let end = prop_oneof![
        2 => Just(End::Done),
        2 => (0..4_u64).prop_map(|wait| End::Failed { wait }),
        2 => Just(End::Buried),
        1 => Just(End::Interrupted),
    ];
    let tubes = prop_oneof![Just(0..1), Just(1..2), Just(0..2)];
    let one = any::<Index>;
    let some = || prop::collection::vec(one(), 0..4);
    prop_oneof![
        6 => documents().prop_map(|document| Step::Submit(Box::new(document))),
        3 => (one(), any::<bool>()).prop_map(|(job, other)| Step::SubmitAgain { job, other }),
        8 => (0..3_usize, tubes, 0..4_usize).prop_map(|(worker, tubes, most)| Step::Claim { worker, tubes, most }),
        6 => (one(), 0..3_usize, end, prop::bool::weighted(0.3))
            .prop_map(|(claim, worker, end, files)| Step::Settle { claim, worker, end, files }),
        3 => (some(), 0..3_usize).prop_map(|(held, worker)| Step::Beat { held, worker }),
        3 => (some(), 0..3_usize).prop_map(|(claims, worker)| Step::PutBack { claims, worker }),
        7 => (prop::collection::vec(one(), 1..4), acts()).prop_map(|(jobs, act)| Step::Act { jobs, act }),
        1 => (0..2_usize, prop::option::of(0..5_u64)).prop_map(|(tube, seconds)| Step::Pause { tube, seconds }),
        1 => (0..2_usize).prop_map(|tube| Step::Resume { tube }),
        1 => (0..3_usize).prop_map(|worker| Step::Unregister { worker }),
        2 => (0..3_usize).prop_map(|worker| Step::Lose { worker }),
        1 => (0..6_u64).prop_map(|seconds| Step::Forget { seconds }),
        3 => (1..6_u64).prop_map(Step::Sleep),
    ]
}

/// How an attempt has ended, for the worker that settles it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Settled,
    Cancelled,
    Taken,
}

/// What is kept of an attempt's outcome beside the log.
#[derive(Debug, Clone, Copy)]
struct Kept {
    document: bool,
    files: bool,
}

/// An attempt at a job.
struct ModelAttempt {
    worker: usize,
    /// When the job would have expired without it.
    expires_at: Option<i64>,
    /// None while it runs.
    over: Option<Over>,
    kept: Option<Kept>,
}

/// A job, as the model has it.
struct ModelJob {
    id: JobId,
    /// As it was submitted, and as it is now.
    submitted: Document,
    document: Document,
    state: State,
    submitted_at: i64,
    ready_at: i64,
    expires_at: Option<i64>,
    finished_at: Option<i64>,
    /// The key that it holds, and until when; no time if until the job ends.
    key: Option<(String, Option<i64>)>,
    attempts: Vec<ModelAttempt>,
    uncounted: u32,
    kicks: u32,
    verdict: Option<&'static str>,
    published: Option<u32>,
}

impl ModelJob {
    /// An attempt without an outcome may have left files as well: its worker may have written them before it
    /// was lost.
    fn may_have_left_files(&self) -> bool {
        self.attempts.iter().any(|attempt| attempt.kept.is_none_or(|kept| kept.files))
    }

    fn has_expired(&self, now: i64) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }

    /// State and verdict as readers see them: an expired job is cancelled, written down or not.
    fn appears(&self, now: i64) -> (State, Option<&'static str>) {
        match self.has_expired(now) {
            true => (State::Cancelled, Some("cancelled")),
            false => (self.state, self.verdict),
        }
    }

    /// When it ended, as readers see it.
    fn ended(&self, now: i64) -> Option<i64> {
        self.expires_at.filter(|expires_at| *expires_at <= now).or(self.finished_at)
    }

    fn holds_key(&self, key: &str, now: i64) -> bool {
        let held = |(held, until): &(String, Option<i64>)| {
            held == key && until.map_or(!self.has_expired(now), |until| until > now)
        };
        self.key.as_ref().is_some_and(held)
    }

    /// The key that it holds until it has ended.
    fn lasting_key(&self) -> Option<&str> {
        let unique = self.document.unique.as_ref().filter(|unique| unique.period == UniqueFor::Done);
        unique.map(|unique| unique.key.as_str())
    }

    fn started(&self) -> u32 {
        u32::try_from(self.attempts.len()).unwrap()
    }

    fn counted(&self) -> u32 {
        self.started() - self.uncounted
    }

    fn granted(&self) -> u32 {
        self.document.max_attempts * (self.kicks + 1)
    }

    fn may_be_run_by(&self, worker: &str) -> bool {
        self.document.host.as_deref().is_none_or(|host| host == worker)
    }

    fn runs_on(&self, worker: usize) -> bool {
        self.attempts.last().is_some_and(|attempt| attempt.over.is_none() && attempt.worker == worker)
    }

    /// Ends the running attempt, if there is one.
    fn end_attempt(&mut self, over: Over) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.over.get_or_insert(over);
        }
    }

    fn end(&mut self, state: State, verdict: &'static str, now: i64) {
        (self.state, self.verdict, self.expires_at, self.finished_at) = (state, Some(verdict), None, Some(now));
        // What an earlier life of a kicked job has left counts no more.
        self.published = None;
        self.key = self.key.take().filter(|(_, until)| until.is_some());
    }

    /// Writes down that it has expired.
    fn expire(&mut self, now: i64) {
        if let Some(expires_at) = self.expires_at.filter(|expires_at| *expires_at <= now) {
            self.end(State::Cancelled, "cancelled", expires_at);
        }
    }

    fn wait_until(&mut self, ready_at: i64, now: i64) {
        self.state = if ready_at > now { State::Delayed } else { State::Ready };
        self.ready_at = ready_at;
    }

    fn retry(&mut self, ready_at: i64, now: i64, verdict: &'static str) {
        self.wait_until(ready_at, now);
        self.verdict = Some(verdict);
        self.uncounted += u32::from(verdict == "interrupted");
    }

    /// Ends the running attempt without its worker's word.
    fn take(&mut self, verdict: &'static str, now: i64) {
        self.end_attempt(Over::Taken);
        match verdict == "lost" && self.counted() >= self.granted() {
            true => self.end(State::Dead, verdict, now),
            false => self.retry(now, now, verdict),
        }
    }

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    NoSuchJob,
    State(State),
    NotUnique(JobId),
}

/// A deleted job.
struct Gone {
    id: JobId,
    submitted: Document,
    may_have_left_files: bool,
}

impl Gone {
    fn of(job: ModelJob) -> Self {
        Self { id: job.id, may_have_left_files: job.may_have_left_files(), submitted: job.submitted }
    }
}

struct Model {
    jobs: Vec<ModelJob>,
    /// Deleted jobs, in the order of their deletion.
    gone: Vec<Gone>,
    /// Tubes that were paused, and until when.
    pauses: BTreeMap<Tube, Option<i64>>,
    /// The time of the queue's clock at which the model began.
    began: Timestamp,
    now: i64,
}

impl Model {
    /// This many seconds from now.
    fn after(&self, seconds: u64) -> i64 {
        self.now + i64::try_from(seconds).unwrap() * 1000
    }

    /// The time of the queue's clock that stands for a time of the model.
    fn clock(&self, millis: i64) -> Timestamp {
        self.began + Duration::from_millis(u64::try_from(millis).unwrap())
    }

    /// Every job that there ever was, as it was submitted.
    fn known(&self) -> Vec<(JobId, Document)> {
        let jobs = self.jobs.iter().map(|job| (job.id, job.submitted.clone()));
        self.gone.iter().map(|gone| (gone.id, gone.submitted.clone())).chain(jobs).collect()
    }

    fn job(&self, id: JobId) -> Option<&ModelJob> {
        self.jobs.iter().find(|job| job.id == id)
    }

    fn key_holder(&self, key: &str) -> Option<JobId> {
        self.jobs.iter().find(|job| job.holds_key(key, self.now)).map(|job| job.id)
    }

    fn submit(&mut self, id: JobId, document: &Document) -> Result<(), JobId> {
        if let Some(unique) = &document.unique
            && let Some(holder) = self.key_holder(&unique.key)
        {
            return Err(holder);
        }
        let after = |span: Span| self.now + i64::try_from(span.millis()).unwrap();
        let mut job = ModelJob {
            id,
            submitted: document.clone(),
            document: document.clone(),
            state: State::Held,
            submitted_at: self.now,
            ready_at: self.now,
            expires_at: document.expires.map(|expires| match expires {
                When::After(span) => after(span),
                When::At(time) => panic!("no step makes {time}"),
            }),
            finished_at: None,
            key: document.unique.as_ref().map(|unique| match unique.period {
                UniqueFor::Done => (unique.key.clone(), None),
                UniqueFor::For(span) => (unique.key.clone(), Some(after(span))),
            }),
            attempts: Vec::new(),
            uncounted: 0,
            kicks: 0,
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

    /// What a claim returns of each job: id, attempt, counted attempts, granted attempts.
    fn claim(&mut self, worker: usize, tubes: &[Tube], most: usize) -> Vec<(JobId, u32, u32, u32)> {
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
            job.state = State::Running;
            let expires_at = job.expires_at.take();
            job.attempts.push(ModelAttempt { worker, expires_at, over: None, kept: None });
            claimed.push((job.id, job.started(), job.counted(), job.granted()));
        }
        claimed
    }

    fn holds(&self, lease: &Lease, worker: usize) -> bool {
        self.job(lease.id).is_some_and(|job| job.started() == lease.attempt && job.runs_on(worker))
    }

    /// How those leases that the worker says it holds compare with the ones that it has.
    fn beat(&self, held: &[Lease], worker: usize) -> Beat {
        let running = self.jobs.iter().filter(|job| job.runs_on(worker));
        let leases = running.map(|job| Lease { id: job.id, attempt: job.started() });
        Beat { recalled: self.recalled(held, worker), unheld: leases.filter(|lease| !held.contains(lease)).collect() }
    }

    fn recalled(&self, leases: &[Lease], worker: usize) -> Vec<Recalled> {
        let lost = leases.iter().filter(|lease| !self.holds(lease, worker));
        lost.map(|lease| Recalled { lease: lease.clone(), cancelled: self.was_cancelled(lease) }).collect()
    }

    /// Whether nobody will get the job of a lost lease, as far as the lease can tell.
    fn was_cancelled(&self, lease: &Lease) -> bool {
        match self.job(lease.id) {
            Some(job) => job.started() == lease.attempt && job.state == State::Cancelled,
            None => true,
        }
    }

    fn settle(&mut self, lease: &Lease, worker: usize, end: End, files: bool) -> Settled {
        let now = self.now;
        let Some(job) = self.jobs.iter_mut().find(|job| job.id == lease.id) else { return Settled::Stale };
        let Some(attempt) = job.attempts.get_mut(lease.attempt as usize - 1) else { return Settled::Stale };
        match attempt.over {
            _ if attempt.worker != worker => return Settled::Stale,
            Some(Over::Taken) => return Settled::Stale,
            Some(Over::Settled) => return Settled::Counts,
            Some(Over::Cancelled) => {
                attempt.kept.get_or_insert(Kept { document: false, files });
                return Settled::Cancelled;
            }
            None => {}
        }
        (attempt.over, attempt.kept) = (Some(Over::Settled), Some(Kept { document: true, files }));
        match end {
            End::Done => job.end(State::Done, "done", now),
            End::Buried => job.end(State::Dead, "failed", now),
            End::Failed { wait } => job.retry(now + i64::try_from(wait).unwrap() * 1000, now, "failed"),
            End::Interrupted => job.retry(now, now, "interrupted"),
        }
        if job.state.is_final() {
            job.published = Some(lease.attempt);
        }
        Settled::Counts
    }

    fn put_back(&mut self, lease: &Lease, worker: usize) {
        if self.holds(lease, worker)
            && let Some(job) = self.jobs.iter_mut().find(|job| job.id == lease.id)
        {
            job.take("interrupted", self.now);
            job.expires_at = job.attempts.last().and_then(|attempt| attempt.expires_at);
        }
    }

    fn end_attempts_of(&mut self, worker: usize, verdict: &'static str) {
        let now = self.now;
        self.jobs.iter_mut().filter(|job| job.runs_on(worker)).for_each(|job| job.take(verdict, now));
    }

    fn act(&mut self, id: JobId, act: &Act) -> Result<State, Refused> {
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
                job.end_attempt(Over::Cancelled);
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
                self.gone.push(Gone::of(self.jobs.remove(place)));
                return Ok(state);
            }
            (_, state) => return Err(Refused::State(state)),
        }
        Ok(job.state)
    }

    /// Deletes jobs that have been done or cancelled for that long, and returns how many.
    fn forget(&mut self, seconds: u64) -> usize {
        let (now, before) = (self.now, self.now - i64::try_from(seconds).unwrap() * 1000);
        self.jobs.iter_mut().for_each(|job| job.expire(now));
        let gone_before = self.gone.len();
        for state in [State::Done, State::Cancelled] {
            let is_old = |job: &mut ModelJob| {
                let holds_key = job.key.as_ref().is_some_and(|(key, _)| job.holds_key(key, now));
                job.state == state && !holds_key && job.finished_at.is_some_and(|finished| finished <= before)
            };
            let mut old: Vec<ModelJob> = self.jobs.extract_if(.., is_old).collect();
            old.sort_by_key(|job| job.finished_at);
            self.gone.extend(old.into_iter().map(Gone::of));
        }
        self.gone.len() - gone_before
    }

    fn resume(&mut self, tube: &Tube) -> bool {
        let was_paused = self.is_paused(tube);
        self.pauses.remove(tube);
        was_paused
    }

    fn paused(&self) -> impl Iterator<Item = (&Tube, Option<i64>)> {
        let lasts = |until: Option<i64>| until.is_none_or(|until| until > self.now);
        self.pauses.iter().map(|(tube, until)| (tube, *until)).filter(move |(_, until)| lasts(*until))
    }

    fn is_paused(&self, tube: &Tube) -> bool {
        self.paused().any(|(paused, _)| paused == tube)
    }

    fn has_work(&self, worker: &str, tube: &Tube) -> bool {
        let takes = |job: &ModelJob| {
            let lives = matches!(job.appears(self.now).0, State::Ready | State::Delayed | State::Running);
            lives && job.document.tube == *tube && job.may_be_run_by(worker)
        };
        self.pauses.get(tube) != Some(&None) && self.jobs.iter().any(takes)
    }
}

/// The queue and its model, side by side.
struct Run<B> {
    subject: Subject<B>,
    model: Model,
    /// All claims that ever were.
    claims: Vec<Claimed>,
}

impl<B: Backend> Run<B> {
    async fn step(&mut self, step: Step) {
        let queue = self.subject.queue();
        match step {
            Step::Submit(document) => self.submit(JobId::new(), *document).await,
            Step::SubmitAgain { job, other } => self.submit_again(&job, other).await,
            Step::Claim { worker, tubes, most } => self.claim(worker, tubes, most).await,
            Step::Beat { held, worker } => self.beat(&held, worker).await,
            Step::PutBack { claims, worker: index } => {
                let leases = self.leases(&claims);
                queue.put_back(&worker(WORKERS[index]), &leases).await.unwrap();
                leases.iter().for_each(|lease| self.model.put_back(lease, index));
            }
            Step::Settle { claim, worker, end, files } => self.settle(&claim, worker, end, files).await,
            Step::Act { jobs, act } => self.act(&jobs, &act).await,
            Step::Pause { tube: index, seconds } => {
                let until = seconds.map(|seconds| self.model.after(seconds));
                let time = until.map(|until| self.model.clock(until));
                queue.pause(&tube(index), time).await.unwrap();
                self.model.pauses.insert(tube(index), until);
            }
            Step::Resume { tube: index } => {
                assert_eq!(queue.resume(&tube(index)).await.unwrap(), self.model.resume(&tube(index)));
            }
            Step::Unregister { worker: index } => {
                queue.unregister(&worker(WORKERS[index])).await.unwrap();
                queue.register(&worker(WORKERS[index])).await.unwrap();
                self.model.end_attempts_of(index, "interrupted");
            }
            Step::Lose { worker: index } => {
                self.subject.lose(WORKERS[index]).await;
                self.model.end_attempts_of(index, "lost");
            }
            Step::Forget { seconds } => {
                let kept = Some(Duration::from_secs(seconds));
                let retention = Retention { done: kept, dead: None, cancelled: kept };
                assert_eq!(queue.forget(&retention, 1000).await.unwrap(), self.model.forget(seconds));
            }
            Step::Sleep(seconds) => {
                self.subject.advance(Duration::from_secs(seconds)).await;
                self.model.now = self.model.after(seconds);
            }
        }
    }

    /// The leases of some claims, each once.
    fn leases(&self, claims: &[Index]) -> Vec<Lease> {
        let mut leases: Vec<Lease> = Vec::new();
        for claim in claims {
            if let Some(Claimed { lease, .. }) = self.claims.get(claim.index(self.claims.len().max(1)))
                && !leases.contains(lease)
            {
                leases.push(lease.clone());
            }
        }
        leases
    }

    async fn submit(&mut self, id: JobId, document: Document) {
        let expected = self.model.submit(id, &document);
        match (expected, self.subject.resubmit(id, document).await) {
            (Ok(()), Ok(())) => {}
            (Err(expected), Err(QueueError::NotUnique { holder, .. })) => assert_eq!(holder, expected),
            (expected, result) => panic!("{expected:?} was expected, {result:?} came"),
        }
    }

    /// Submits a known job, which may be deleted, as it was or with another document.
    async fn submit_again(&self, job: &Index, other: bool) {
        let known = self.model.known();
        let Some((id, document)) = known.get(job.index(known.len().max(1))) else { return };
        if other {
            let other = Document { seed: Some(7), ..document.clone() };
            assert!(matches!(self.subject.resubmit(*id, other).await, Err(QueueError::IdTaken(taken)) if taken == *id));
        } else {
            self.subject.resubmit(*id, document.clone()).await.unwrap();
        }
    }

    async fn claim(&mut self, index: usize, tubes: Range<usize>, most: usize) {
        let tubes: Vec<Tube> = tubes.map(tube).collect();
        let claimed = self.subject.claim_from(WORKERS[index], &tubes, most).await;
        let got: Vec<_> = claimed
            .iter()
            .map(|claimed| (claimed.lease.id, claimed.lease.attempt, claimed.attempts, claimed.granted))
            .collect();
        assert_eq!(got, self.model.claim(index, &tubes, most));
        self.claims.extend(claimed);
    }

    async fn beat(&self, held: &[Index], index: usize) {
        let held = self.leases(held);
        let mut beat = self.subject.queue().beat(&worker(WORKERS[index]), &held).await.unwrap();
        let mut expected = self.model.beat(&held, index);
        for beat in [&mut beat, &mut expected] {
            beat.unheld.sort_by_key(|lease| lease.id);
        }
        assert_eq!(beat, expected);
    }

    async fn settle(&mut self, claim: &Index, index: usize, end: End, files: bool) {
        let Some(Claimed { lease, .. }) = self.claims.get(claim.index(self.claims.len().max(1))) else { return };
        let (verdict, decision) = match end {
            End::Done => (Verdict::Done, Decision::Finish),
            End::Failed { wait } => (failed(), Decision::Retry(Duration::from_secs(wait))),
            End::Buried => (failed(), Decision::Bury),
            End::Interrupted => (Verdict::Interrupted { message: String::new() }, Decision::Retry(Duration::ZERO)),
        };
        let outcome = Outcome { files, ..outcome_of(lease) };
        let settled = self.subject.settle_with(WORKERS[index], lease, verdict, decision, outcome).await;
        assert_eq!(settled, self.model.settle(lease, index, end, files));
    }

    async fn act(&mut self, jobs: &[Index], act: &Act) {
        let known = self.model.known();
        let ids: Vec<JobId> = jobs.iter().map(|job| job.get(&known).0).collect();
        let acted = self.subject.queue().act(&ids, &action(act)).await.unwrap();
        for (id, acted) in ids.into_iter().zip(acted) {
            let outcome = acted.outcome.map_err(|refusal| match refusal {
                Refusal::NoSuchJob => Refused::NoSuchJob,
                Refusal::State(state, _) => Refused::State(state),
                Refusal::NotUnique(holder) => Refused::NotUnique(holder),
                Refusal::Invalid(_) => panic!("{refusal}"),
            });
            assert_eq!((acted.id, outcome), (id, self.model.act(id, act)), "{act:?}");
        }
    }

    /// Asks queue and model everything that can be asked. They must answer alike.
    async fn compare(&self) {
        let records = self.subject.list_by(&Filter::default(), 1000).await;
        assert_eq!(records.len(), self.model.jobs.len());
        for (record, job) in records.iter().zip(&self.model.jobs) {
            let (state, verdict) = job.appears(self.model.now);
            assert_eq!(
                (record.id, record.state, record.attempts, record.kicks),
                (job.id, state, job.started(), job.kicks)
            );
            assert_eq!(record.verdict.as_ref().map(Verdict::kind), verdict);
            assert_eq!((&record.document, record.published), (&job.document, job.published));
            let times = (Some(record.submitted_at), Some(record.ready_at), record.finished_at);
            let clock = |time| Some(self.model.clock(time));
            assert_eq!(
                times,
                (clock(job.submitted_at), clock(job.ready_at), job.ended(self.model.now).and_then(clock))
            );
        }
        let (forgotten, _) = self.subject.queue().forgotten(None, 1000).await.unwrap();
        let with_files = self.model.gone.iter().filter(|gone| gone.may_have_left_files);
        assert_eq!(forgotten, with_files.map(|gone| gone.id).collect::<Vec<_>>());
        self.compare_status().await;
        let leases: Vec<Lease> = self.claims.iter().map(|claimed| claimed.lease.clone()).collect();
        for (index, name) in WORKERS.into_iter().enumerate() {
            let recalled = self.subject.queue().recalled(&worker(name), &leases).await.unwrap();
            assert_eq!(recalled, self.model.recalled(&leases, index));
        }
    }

    async fn compare_status(&self) {
        let status = self.subject.queue().status().await.unwrap();
        for state in State::ALL {
            let expected = self.model.jobs.iter().filter(|job| job.appears(self.model.now).0 == state).count();
            assert_eq!(status.states[&state], expected as u64, "{state}");
        }
        let clock = |until: Option<i64>| until.map(|until| self.model.clock(until));
        let paused = self.model.paused().map(|(tube, until)| (tube.clone(), clock(until)));
        assert_eq!(status.paused, paused.collect());
        for (index, name) in WORKERS.into_iter().enumerate() {
            let tubes = [tube(index % TUBES.len())];
            let has_work = self.subject.queue().has_work(&worker(name), &tubes).await.unwrap();
            assert_eq!(has_work, self.model.has_work(name, &tubes[0]));
        }
    }

    /// Reads the outcome of every claim that there ever was.
    async fn compare_outcomes(&self) {
        for Claimed { lease, .. } in &self.claims {
            let Lease { id, attempt } = lease;
            let job = self.model.job(*id);
            let of_model = job.map(|job| &job.attempts[*attempt as usize - 1]);
            let outcome = outcome_of(lease);
            let log = self.subject.queue().log(*id, *attempt, 0).await.unwrap().map(|piece| piece.bytes);
            match of_model {
                Some(of_model) if of_model.kept.is_some() => assert_eq!(log.as_deref(), Some(&*outcome.log)),
                Some(_) => assert!(log.is_none_or(|log| log.is_empty()), "nothing was logged"),
                None => assert_eq!(log, None, "the job is deleted"),
            }
            let has_document = of_model.and_then(|of_model| of_model.kept).is_some_and(|kept| kept.document);
            let result = self.subject.result(*id, Some(*attempt)).await.map(|result| result.document);
            assert_eq!(result.as_deref(), has_document.then_some(&*outcome.document));
            let serves = |job: &&ModelJob| matches!(job.state, State::Done | State::Dead);
            let serves_this = job.filter(serves).is_some_and(|job| job.published == Some(*attempt));
            let result = self.subject.result(*id, None).await;
            match serves_this {
                true => assert_eq!(result.map(|result| result.document).as_deref(), Some(&*outcome.document)),
                false => assert!(result.is_none_or(|result| result.attempt != *attempt)),
            }
        }
    }
}

fn action(act: &Act) -> Action {
    match act {
        Act::Cancel => by_hand(),
        Act::Hold => Action::Hold,
        Act::Release => Action::Release,
        Act::Kick => Action::Kick,
        Act::Delete => Action::Delete,
        Act::Update(Patch { priority, tube: index, delay }) => {
            let fields = [
                priority.map(|priority| ("priority", serde_json::json!(priority))),
                index.map(|index| ("tube", serde_json::json!(tube(index)))),
                delay.map(|delay| ("delay", serde_json::json!(delay))),
            ];
            Action::Update(fields.into_iter().flatten().map(|(name, value)| (name.to_owned(), value)).collect())
        }
    }
}

/// Does these steps to a queue and to its model, compares them after each, and returns the queue; none if
/// this machine lacks what the backend needs.
pub(in crate::queue) async fn played<B: Backend>(steps: Vec<Step>) -> Option<B> {
    assert!(B::PRECISION.is_zero(), "the model is exact");
    let subject = Subject::<B>::open().await?;
    // The first job tells what the queue's clock says.
    let first = subject.submit(document()).await;
    let began = subject.find(first).await.submitted_at;
    subject.act(first, &Action::Delete).await.unwrap();
    let gone = vec![Gone { id: first, submitted: document(), may_have_left_files: false }];
    let model = Model { jobs: Vec::new(), gone, pauses: BTreeMap::new(), began, now: 0 };
    for name in WORKERS {
        subject.queue().register(&worker(name)).await.unwrap();
    }
    let mut run = Run { subject, model, claims: Vec::new() };
    for (count, step) in steps.into_iter().enumerate() {
        run.step(step).await;
        run.compare().await;
        if count % 8 == 7 {
            run.compare_outcomes().await;
        }
    }
    run.compare_outcomes().await;
    Some(run.subject.backend)
}

/// Tries random steps on a backend. `PROPTEST_CASES` sets how many sequences of them are tried.
pub(super) fn behaves_like_the_model<B: Backend>() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(64);
    let config = ProptestConfig { cases, source_file: Some(file!()), ..ProptestConfig::default() };
    let tried = TestRunner::new(config).run(&prop::collection::vec(steps(), 1..80), |steps| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(played::<B>(steps));
        Ok(())
    });
    if let Err(failure) = tried {
        panic!("{failure}");
    }
}
