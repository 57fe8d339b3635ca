//! Any queue whose clock a test can set, against a model of it that is simple enough to be believed.

mod job;
mod state;
mod steps;

use self::job::ModelJob;
use self::state::{Model, Outcome, Refused};
use self::steps::{Act, End, Patch, TUBES, WORKERS, tube};
pub(in crate::queue) use self::steps::{Step, steps};
use super::Backend;
use super::subject::{Subject, by_hand, failed, worker};
use crate::job::{Decision, Document, JobId, State, Tube, Verdict};
use crate::queue::{Action, Claimed, Filter, Lease, QueueError, Recalled, Refusal, Retention};
use proptest::prelude::*;
use std::ops::Range;
use std::time::Duration;

/// The queue and its model, side by side.
struct Run<B> {
    subject: Subject<B>,
    model: Model,
    /// All that ever were.
    claims: Vec<Claimed>,
}

impl<B: Backend> Run<B> {
    async fn step(&mut self, step: Step) {
        let queue = self.subject.queue();
        match step {
            Step::Submit(document) => self.submit(JobId::new(), *document).await,
            Step::SubmitAgain { job, other } => self.submit_again(&job, other).await,
            Step::Claim { worker, tubes, most } => self.claim(worker, tubes, most).await,
            Step::Begin { claim, worker } => self.begin(&claim, worker),
            Step::Settle { claim, worker, end } => self.settle(&claim, worker, end).await,
            Step::GiveBack { claim, worker } => self.give_back(&claim, worker).await,
            Step::Act { jobs, act } => self.act(&jobs, &act).await,
            Step::Pause { tube: index, seconds } => {
                let until = seconds.map(|seconds| self.model.after(seconds));
                let time = until.map(|until| self.model.clock(until));
                queue.pause(&tube(index), time).await.unwrap();
                self.model.pause(tube(index), until);
            }
            Step::Resume { tube: index } => {
                assert_eq!(queue.resume(&tube(index)).await.unwrap(), self.model.resume(&tube(index)));
            }
            Step::Unregister { worker: index } => {
                queue.unregister(&worker(WORKERS[index])).await.unwrap();
                // As one that is started again, by the same name.
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

    async fn submit(&mut self, id: JobId, document: Document) {
        let expected = self.model.submit(id, &document);
        match (expected, self.subject.resubmit(id, document).await) {
            (Ok(()), Ok(())) => {}
            (Err(expected), Err(QueueError::NotUnique { holder, .. })) => assert_eq!(holder, expected),
            (expected, result) => panic!("{expected:?} was expected, {result:?} came"),
        }
    }

    /// Submits a job that is known, perhaps only by its id, as it was or as another.
    async fn submit_again(&self, job: &prop::sample::Index, other: bool) {
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

    fn begin(&mut self, claim: &prop::sample::Index, index: usize) {
        let Some(Claimed { lease, .. }) = self.claims.get(claim.index(self.claims.len().max(1))) else { return };
        // Nobody begins what he does not hold.
        if self.model.begin(lease, index) {
            self.subject.queue().begin(&worker(WORKERS[index]), lease);
        }
    }

    async fn settle(&mut self, claim: &prop::sample::Index, index: usize, end: End) {
        let Some(Claimed { lease, .. }) = self.claims.get(claim.index(self.claims.len().max(1))) else { return };
        let (verdict, decision) = match end {
            End::Done => (Verdict::Done, Decision::Finish),
            End::Failed { wait } => (failed(), Decision::Retry(Duration::from_secs(wait))),
            End::Buried => (failed(), Decision::Bury),
            End::Interrupted => (Verdict::Interrupted { message: String::new() }, Decision::Retry(Duration::ZERO)),
        };
        match (
            self.model.settle(lease, index, end, verdict.kind()),
            self.subject.settle(WORKERS[index], lease, verdict, decision).await,
        ) {
            (true, Ok(())) | (false, Err(QueueError::Stale { .. })) => {}
            (held, result) => panic!("held: {held}, but {result:?} came"),
        }
    }

    async fn give_back(&mut self, claim: &prop::sample::Index, index: usize) {
        let Some(claimed) = self.claims.get(claim.index(self.claims.len().max(1))) else { return };
        // Nor gives he back what he has begun.
        if self.model.has_begun(&claimed.lease, index) {
            return;
        }
        let given = self.subject.queue().give_back(&worker(WORKERS[index]), claimed).await;
        match (self.model.give_back(&claimed.lease, index), given) {
            (true, Ok(())) | (false, Err(QueueError::Stale { .. })) => {}
            (held, result) => panic!("held: {held}, but {result:?} came"),
        }
    }

    async fn act(&mut self, jobs: &[prop::sample::Index], act: &Act) {
        let known = self.model.known();
        if known.is_empty() {
            return;
        }
        let ids: Vec<JobId> = jobs.iter().map(|job| job.get(&known).0).collect();
        let acted = self.subject.queue().act(&ids, &action(act)).await.unwrap();
        for (id, acted) in ids.into_iter().zip(acted) {
            assert_eq!((acted.id, told(acted.outcome)), (id, self.model.act(id, act)), "{act:?}");
        }
    }

    /// Whatever can be asked, queue and model answer alike.
    async fn compare(&self) {
        let records = self.subject.list_by(&Filter::default(), 1000).await;
        assert_eq!(records.len(), self.model.jobs.len());
        for (record, job) in records.iter().zip(&self.model.jobs) {
            let (state, verdict) = job.appears(self.model.now);
            assert_eq!(
                (record.id, record.state, record.attempts, record.kicks),
                (job.id, state, job.attempts, job.kicks)
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
        assert_eq!(forgotten, self.model.forgotten.iter().map(|(id, _)| *id).collect::<Vec<_>>());
        self.compare_status().await;
        let leases: Vec<Lease> = self.claims.iter().map(|claimed| claimed.lease.clone()).collect();
        for (index, name) in WORKERS.into_iter().enumerate() {
            let lost = |lease: &&Lease| !self.model.holds(lease, index);
            let expected: Vec<Recalled> = (leases.iter().filter(lost))
                .map(|lease| Recalled { lease: lease.clone(), cancelled: self.model.was_cancelled(lease) })
                .collect();
            assert_eq!(self.subject.queue().recalled(&worker(name), &leases).await.unwrap(), expected);
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

fn told(outcome: Result<State, Refusal>) -> Outcome {
    outcome.map_err(|refusal| match refusal {
        Refusal::NoSuchJob => Refused::NoSuchJob,
        Refusal::State(state, _) => Refused::State(state),
        Refusal::NotUnique(holder) => Refused::NotUnique(holder),
        Refusal::Invalid(_) | Refusal::Unsupported(_) => panic!("{refusal}"),
    })
}

/// Does all that to a queue and to its model, which are alike after each step, and returns the queue; none if this
/// machine lacks what that needs.
pub(in crate::queue) async fn played<B: Backend>(steps: Vec<Step>) -> Option<B> {
    assert!(B::PRECISION.is_zero(), "the model is exact");
    let subject = Subject::<B>::open().await?;
    // What a queue tells of its clock is enough to set the model's.
    let first = subject.submit(super::document()).await;
    let started = subject.find(first).await.submitted_at;
    subject.act(first, &Action::Delete).await.unwrap();
    let model = Model::new(started, vec![(first, super::document())]);
    for name in WORKERS {
        subject.queue().register(&worker(name)).await.unwrap();
    }
    let mut run = Run { subject, model, claims: Vec::new() };
    for step in steps {
        run.step(step).await;
        run.compare().await;
    }
    Some(run.subject.backend)
}

/// How many sequences are tried; `PROPTEST_CASES` has more of them tried.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(64)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn sqlite_behaves_like_the_model_whatever_is_done_in_whatever_order(
        steps in prop::collection::vec(steps(), 1..80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(played::<crate::queue::sqlite::conformance::Sqlite>(steps));
    }
}
