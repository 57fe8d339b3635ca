//! The queue against a model of it that is simple enough to be believed.

use super::fixture::{Fixture, worker};
use super::submit::UNTIL_ENDED;
use crate::job::{Decision, Document, JobId, Span, State, Tube, Unique, UniqueFor, Verdict, When};
use crate::queue::{Filter, Lease, Queue, QueueError, Submission};
use proptest::prelude::*;
use std::time::{Duration, Instant};

const WORKERS: [&str; 3] = ["node1", "node10", "node2"];
const TUBES: [&str; 2] = ["default", "night"];

#[derive(Debug, Clone)]
enum Step {
    Submit(Box<Document>),
    SubmitAgain(prop::sample::Index),
    Claim { worker: usize, tubes: std::ops::Range<usize> },
    Settle { lease: prop::sample::Index, worker: usize, end: End },
    Unregister { worker: usize },
    LoseAllWorkers,
    Sleep(u64),
}

#[derive(Debug, Clone, Copy)]
enum End {
    Done,
    Failed { wait: u64 },
    Buried,
    Interrupted,
}

fn seconds(seconds: u64) -> Span {
    Span(Duration::from_secs(seconds))
}

fn documents() -> impl Strategy<Value = Document> {
    let unique = prop::option::weighted(0.3, (0..2, prop::option::of(1..9_u64)));
    let place = (0..3_u32, 0..2_usize, prop::option::weighted(0.2, 0..3_usize));
    let times = (prop::option::weighted(0.4, 1..9_u64), prop::option::weighted(0.3, 1..9_u64));
    (place, times, unique, prop::bool::weighted(0.1), 1..3_u32).prop_map(
        |((priority, tube, host), (delay, expires), unique, hold, max_attempts)| Document {
            priority,
            tube: TUBES[tube].parse().unwrap(),
            host: host.map(|host| WORKERS[host].to_owned()),
            delay: delay.map(seconds),
            expires: expires.map(|expires| When::After(seconds(expires))),
            unique: unique.map(|(key, period)| Unique {
                key: format!("key {key}"),
                period: period.map_or(UniqueFor::Done, |period| UniqueFor::For(seconds(period))),
            }),
            hold,
            max_attempts,
            ..super::fixture::document()
        },
    )
}

fn steps() -> impl Strategy<Value = Step> {
    let end = prop_oneof![
        2 => Just(End::Done),
        2 => (0..4_u64).prop_map(|wait| End::Failed { wait }),
        1 => Just(End::Buried),
        1 => Just(End::Interrupted),
    ];
    prop_oneof![
        6 => documents().prop_map(|document| Step::Submit(Box::new(document))),
        1 => any::<prop::sample::Index>().prop_map(Step::SubmitAgain),
        8 => (0..3_usize, prop_oneof![Just(0..1), Just(1..2), Just(0..2)])
            .prop_map(|(worker, tubes)| Step::Claim { worker, tubes }),
        6 => (any::<prop::sample::Index>(), 0..3_usize, end)
            .prop_map(|(lease, worker, end)| Step::Settle { lease, worker, end }),
        1 => (0..3_usize).prop_map(|worker| Step::Unregister { worker }),
        1 => Just(Step::LoseAllWorkers),
        3 => (1..6_u64).prop_map(Step::Sleep),
    ]
}

struct ModelJob {
    id: JobId,
    document: Document,
    state: State,
    ready_at: i64,
    expires_at: Option<i64>,
    key: Option<(String, i64)>,
    attempts: u32,
    uncounted: u32,
    holder: usize,
    verdict: Option<&'static str>,
}

#[derive(Default)]
struct Model {
    jobs: Vec<ModelJob>,
    now: i64,
}

impl Model {
    fn after(&self, span: Span) -> i64 {
        self.now + i64::try_from(span.millis()).unwrap()
    }

    fn submit(&mut self, id: JobId, document: &Document) -> Result<(), JobId> {
        let holds = |job: &&ModelJob| {
            let expired = job.expires_at.is_some_and(|expires_at| expires_at <= self.now);
            job.key.as_ref().is_some_and(|(key, until)| {
                *key == document.unique.as_ref().unwrap().key
                    && *until > self.now
                    && !(*until == UNTIL_ENDED && expired)
            })
        };
        if document.unique.is_some()
            && let Some(holder) = self.jobs.iter().find(holds)
        {
            return Err(holder.id);
        }
        let key = document.unique.as_ref().map(|unique| match unique.period {
            UniqueFor::Done => (unique.key.clone(), UNTIL_ENDED),
            UniqueFor::For(span) => (unique.key.clone(), self.after(span)),
        });
        let state = match (document.hold, document.delay) {
            (true, _) => State::Held,
            (false, Some(_)) => State::Delayed,
            (false, None) => State::Ready,
        };
        self.jobs.push(ModelJob {
            id,
            state,
            ready_at: document.delay.map_or(self.now, |delay| self.after(delay)),
            expires_at: document.expires.map(|expires| match expires {
                When::After(span) => self.after(span),
                When::At(time) => time.as_millisecond(),
            }),
            key,
            attempts: 0,
            uncounted: 0,
            holder: 0,
            verdict: None,
            document: document.clone(),
        });
        Ok(())
    }

    /// State and verdict as they are told: what has expired is cancelled.
    fn told(&self, job: &ModelJob) -> (State, Option<&'static str>) {
        match job.expires_at.is_some_and(|expires_at| expires_at <= self.now) {
            true => (State::Cancelled, Some("cancelled")),
            false => (job.state, job.verdict),
        }
    }

    fn claim(&mut self, worker: usize, tubes: &[Tube]) -> Option<(JobId, u32, u32)> {
        let now = self.now;
        for job in &mut self.jobs {
            if job.expires_at.is_some_and(|expires_at| expires_at <= now) {
                job.end(State::Cancelled, "cancelled");
            } else if job.state == State::Delayed && job.ready_at <= now {
                job.state = State::Ready;
            }
        }
        let may_take = |job: &&mut ModelJob| {
            job.state == State::Ready
                && tubes.contains(&job.document.tube)
                && job.document.host.as_deref().is_none_or(|host| host == WORKERS[worker])
        };
        // The jobs are in the order of their submission, and the first of several minima is taken.
        let job = self.jobs.iter_mut().filter(may_take).min_by_key(|job| job.document.priority)?;
        (job.state, job.holder, job.expires_at) = (State::Running, worker, None);
        job.attempts += 1;
        Some((job.id, job.attempts, job.attempts - job.uncounted))
    }

    fn settle(&mut self, lease: &Lease, worker: usize, end: End) -> bool {
        let now = self.now;
        let holds = |job: &&mut ModelJob| {
            job.id == lease.id && job.state == State::Running && job.attempts == lease.attempt && job.holder == worker
        };
        let Some(job) = self.jobs.iter_mut().find(holds) else { return false };
        match end {
            End::Done => job.end(State::Done, "done"),
            End::Buried => job.end(State::Dead, "failed"),
            End::Failed { wait } => job.wait_again(now + i64::try_from(wait).unwrap() * 1000, now, "failed"),
            End::Interrupted => job.wait_again(now, now, "interrupted"),
        }
        true
    }

    fn end_attempts_of(&mut self, workers: &[usize], verdict: &'static str) {
        let now = self.now;
        for job in &mut self.jobs {
            if job.state == State::Running && workers.contains(&job.holder) {
                let used_up = job.attempts - job.uncounted >= job.document.max_attempts;
                match verdict == "lost" && used_up {
                    true => job.end(State::Dead, verdict),
                    false => job.wait_again(now, now, verdict),
                }
            }
        }
    }
}

impl ModelJob {
    fn end(&mut self, state: State, verdict: &'static str) {
        (self.state, self.verdict, self.expires_at) = (state, Some(verdict), None);
        self.key = self.key.take().filter(|(_, until)| *until != UNTIL_ENDED);
    }

    fn wait_again(&mut self, ready_at: i64, now: i64, verdict: &'static str) {
        self.state = if ready_at > now { State::Delayed } else { State::Ready };
        (self.ready_at, self.verdict) = (ready_at, Some(verdict));
        self.uncounted += u32::from(verdict == "interrupted");
    }
}

struct Run {
    fixture: Fixture,
    model: Model,
    leases: Vec<Lease>,
    looks: u64,
}

impl Run {
    async fn step(&mut self, step: Step) {
        match step {
            Step::Submit(document) => self.submit(JobId::new(), *document).await,
            Step::SubmitAgain(index) if !self.model.jobs.is_empty() => {
                let job = index.get(&self.model.jobs);
                let same = Submission { id: job.id, document: job.document.clone() };
                self.fixture.queue.submit(vec![same]).await.unwrap();
            }
            Step::Claim { worker, tubes } => self.claim(worker, tubes).await,
            Step::Settle { lease, worker, end } if !self.leases.is_empty() => {
                let lease = lease.get(&self.leases).clone();
                self.settle(&lease, worker, end).await;
            }
            Step::Unregister { worker: index } => {
                self.fixture.queue.unregister(&worker(WORKERS[index])).await.unwrap();
                self.model.end_attempts_of(&[index], "interrupted");
            }
            Step::LoseAllWorkers => {
                let start = Instant::now();
                for _ in 0..2 {
                    self.looks += 1;
                    let looked = start + Duration::from_secs(self.looks * 100);
                    self.fixture.queue.take_over_by(|| looked, &worker("nobody")).await.unwrap();
                }
                self.model.end_attempts_of(&[0, 1, 2], "lost");
            }
            Step::Sleep(seconds) => {
                self.fixture.advance(Duration::from_secs(seconds));
                self.model.now += i64::try_from(seconds).unwrap() * 1000;
            }
            Step::SubmitAgain(_) | Step::Settle { .. } => {}
        }
        self.compare().await;
    }

    async fn submit(&mut self, id: JobId, document: Document) {
        let expected = self.model.submit(id, &document);
        let result = self.fixture.queue.submit(vec![Submission { id, document }]).await;
        match (expected, result) {
            (Ok(()), Ok(())) => {}
            (Err(expected), Err(QueueError::NotUnique { holder, .. })) => assert_eq!(holder, expected),
            (expected, result) => panic!("{expected:?} was expected, {result:?} came"),
        }
    }

    async fn claim(&mut self, index: usize, tubes: std::ops::Range<usize>) {
        let tubes: Vec<Tube> = TUBES[tubes].iter().map(|tube| tube.parse().unwrap()).collect();
        let claimed = self.fixture.queue.claim(&worker(WORKERS[index]), &tubes, 1).await.unwrap().pop();
        let got = claimed.as_ref().map(|claimed| (claimed.lease.id, claimed.lease.attempt, claimed.attempts));
        assert_eq!(got, self.model.claim(index, &tubes));
        self.leases.extend(claimed.map(|claimed| claimed.lease));
    }

    async fn settle(&mut self, lease: &Lease, index: usize, end: End) {
        let message = String::new();
        let (verdict, decision) = match end {
            End::Done => (Verdict::Done, Decision::Finish),
            End::Failed { wait } => (super::fixture::failed(), Decision::Retry(Duration::from_secs(wait))),
            End::Buried => (super::fixture::failed(), Decision::Bury),
            End::Interrupted => (Verdict::Interrupted { message }, Decision::Retry(Duration::ZERO)),
        };
        let result = self.fixture.settle(WORKERS[index], lease, verdict, decision).await;
        match self.model.settle(lease, index, end) {
            true => result.unwrap(),
            false => assert!(matches!(result, Err(QueueError::Stale { .. }))),
        }
    }

    /// Whatever can be asked, queue and model answer alike.
    async fn compare(&self) {
        let (records, more) = self.fixture.queue.list(&Filter::default(), None, 1000).await.unwrap();
        assert_eq!((records.len(), more), (self.model.jobs.len(), None));
        for (record, job) in records.iter().zip(&self.model.jobs) {
            let (state, verdict) = self.model.told(job);
            assert_eq!((record.id, record.state, record.attempts), (job.id, state, job.attempts));
            assert_eq!(record.verdict.as_ref().map(Verdict::kind), verdict);
            assert_eq!(record.finished_at.is_some(), state.is_final());
            assert_eq!(record.document, job.document);
        }
        let status = self.fixture.queue.status().await.unwrap();
        let state = |job: &ModelJob| self.model.told(job).0;
        for wanted in State::ALL {
            let expected = self.model.jobs.iter().filter(|job| state(job) == wanted).count();
            assert_eq!(status.states[&wanted], expected as u64, "{wanted}");
        }
        for name in WORKERS {
            let takes = |job: &&ModelJob| {
                matches!(state(job), State::Ready | State::Delayed | State::Running)
                    && job.document.tube == Tube::default()
                    && job.document.host.as_deref().is_none_or(|host| host == name)
            };
            let expected = self.model.jobs.iter().find(takes).is_some();
            assert_eq!(self.fixture.queue.has_work(&worker(name), &[Tube::default()]).await.unwrap(), expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_queue_behaves_like_the_model_whatever_is_done_in_whatever_order(
        steps in prop::collection::vec(steps(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut run = Run { fixture: Fixture::new(), model: Model::default(), leases: Vec::new(), looks: 0 };
            for step in steps {
                run.step(step).await;
            }
        });
    }
}
