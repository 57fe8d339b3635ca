//! A kind of queue under test, and short words for what the cases do with it.

use crate::job::{
    AlgorithmName, AlgorithmRef, Decision, Document, JobId, Record, Shape, Span, State, Tube, Usage, Verdict,
};
use crate::queue::{
    Action, Claimed, Filter, Lease, Outcome, Published, Queue, QueueError, Refusal, Report, Settled, Settlement,
    Submission, WorkerId,
};
use jiff::Timestamp;
use std::io::Write as _;
use std::time::Duration;

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// How long the leases of [`worker`] last.
pub(in crate::queue) const LEASE: Duration = Duration::from_secs(15);

/// A kind of queue, and what only a test may do to one.
pub(in crate::queue) trait Backend: Sized + Send + Sync {
    /// Its name, for the message that it was skipped.
    const NAME: &'static str;

    /// The error of the times that it tells: zero if [`advance`](Self::advance) sets its clock.
    const PRECISION: Duration;

    /// A queue that is empty, and that nothing else uses.
    async fn open() -> Result<Self, Missing>;

    /// The queue.
    fn queue(&self) -> &dyn Queue;

    /// A second handle on the same queue, like that of another process.
    async fn elsewhere(&self) -> Box<dyn Queue>;

    /// Moves the queue's clock forward by this time, or sleeps that long.
    async fn advance(&self, by: Duration);

    /// Makes the queue find that this worker is lost, and no other. It is one of [`worker`]'s.
    async fn lose(&self, lost: &WorkerId);
}

/// What this machine lacks for a backend to be tried.
#[derive(Debug)]
pub(in crate::queue) struct Missing(pub(in crate::queue) String);

/// The smallest document there is.
pub(in crate::queue) fn document() -> Document {
    Document::new("x".parse().unwrap())
}

/// A document whose job waits before it is due.
pub(super) fn delayed(by: Duration) -> Document {
    Document { delay: Some(Span(by)), ..document() }
}

/// The worker of this name. Its start follows from the name.
pub(in crate::queue) fn worker(name: &str) -> WorkerId {
    let mut start = [0; 16];
    start[..16.min(name.len())].copy_from_slice(&name.as_bytes()[..16.min(name.len())]);
    WorkerId { start: JobId::from_bytes(start), name: name.to_owned(), lease: LEASE, public_url: None }
}

/// A transient failure.
pub(in crate::queue) fn failed() -> Verdict {
    Verdict::Failed { message: "the sea was rough".to_owned(), permanent: false, exit_code: Some(10) }
}

/// A cancel as an operator asks for it.
pub(super) fn by_hand() -> Action {
    Action::Cancel { reason: "by hand".to_owned() }
}

/// An outcome whose document and log name the attempt that left them.
pub(super) fn outcome_of(lease: &Lease) -> Outcome {
    let Lease { id, attempt } = lease;
    Outcome {
        document: format!(r#"{{"id":"{id}","attempt":{attempt}}}"#).into_bytes().into(),
        log: format!("attempt {attempt} at {id}\n").into_bytes().into(),
        files: false,
    }
}

/// A whole log, read piece by piece, and whether it is complete.
pub(super) async fn whole_log(queue: &dyn Queue, id: JobId, attempt: u32) -> Option<(Vec<u8>, bool)> {
    let mut whole = Vec::new();
    loop {
        let piece = queue.log(id, attempt, whole.len() as u64).await.unwrap()?;
        whole.extend_from_slice(&piece.bytes);
        if piece.is_last || piece.bytes.is_empty() {
            return Some((whole, piece.is_last));
        }
    }
}

/// A fresh queue of some kind.
pub(super) struct Subject<B> {
    pub(super) backend: B,
}

impl<B: Backend> Subject<B> {
    /// None if this machine lacks what the backend needs. Continuous integration must have it.
    pub(super) async fn open() -> Option<Self> {
        match B::open().await {
            Ok(backend) => Some(Self { backend }),
            Err(Missing(what)) => {
                let message = format!("{} was not tried: {what}", B::NAME);
                assert!(std::env::var_os("CI").is_none(), "{message}");
                // The test harness captures what tests print, but not this.
                let _ = writeln!(std::io::stderr(), "{message}");
                None
            }
        }
    }

    pub(super) fn queue(&self) -> &dyn Queue {
        self.backend.queue()
    }

    pub(super) async fn advance(&self, by: Duration) {
        self.backend.advance(by).await;
    }

    pub(super) async fn lose(&self, name: &str) {
        self.backend.lose(&worker(name)).await;
    }

    pub(super) async fn submit(&self, document: Document) -> JobId {
        self.submit_all(vec![document]).await[0]
    }

    pub(super) async fn submit_all(&self, documents: Vec<Document>) -> Vec<JobId> {
        let jobs: Vec<_> = documents.into_iter().map(|document| Submission { id: JobId::new(), document }).collect();
        let ids = jobs.iter().map(|job| job.id).collect();
        self.queue().submit(jobs).await.unwrap();
        ids
    }

    pub(super) async fn resubmit(&self, id: JobId, document: Document) -> Result<(), QueueError> {
        self.queue().submit(vec![Submission { id, document }]).await
    }

    /// Registers the algorithm `name` with these bytes as its module.
    pub(super) async fn add(&self, name: &str, module: &[u8]) -> crate::queue::Algorithm {
        let name: AlgorithmName = name.parse().unwrap();
        self.queue().add(&name, Shape::Command, module.to_vec()).await.unwrap()
    }

    /// Claims a job of the default tube, if one is ready.
    pub(super) async fn claim(&self, name: &str) -> Option<Claimed> {
        let mut claimed = self.claim_from(name, &[Tube::default()], 1).await;
        assert!(claimed.len() <= 1);
        claimed.pop()
    }

    /// Claims a job of the default tube, which must be ready.
    pub(super) async fn lease(&self, name: &str) -> Lease {
        self.claim(name).await.expect("a job is ready").lease
    }

    pub(super) async fn claim_from(&self, name: &str, tubes: &[Tube], most: usize) -> Vec<Claimed> {
        self.queue().claim(&worker(name), tubes, most).await.unwrap()
    }

    /// Settles with the outcome of [`outcome_of`].
    pub(super) async fn settle(&self, name: &str, lease: &Lease, verdict: Verdict, decision: Decision) -> Settled {
        self.settle_with(name, lease, verdict, decision, outcome_of(lease)).await
    }

    pub(super) async fn settle_with(
        &self,
        name: &str,
        lease: &Lease,
        verdict: Verdict,
        decision: Decision,
        outcome: Outcome,
    ) -> Settled {
        let settlement = Settlement { verdict, decision, usage: Usage::default(), outcome };
        self.queue().settle(&worker(name), lease, settlement).await.unwrap()
    }

    /// Settles an attempt as done, which must count.
    pub(super) async fn finish(&self, name: &str, lease: &Lease) {
        assert_eq!(self.settle(name, lease, Verdict::Done, Decision::Finish).await, Settled::Counts);
    }

    /// Settles an attempt as failed, which must count. The job is tried again after a second.
    pub(super) async fn fail(&self, name: &str, lease: &Lease) {
        assert_eq!(self.settle(name, lease, failed(), Decision::Retry(SECOND)).await, Settled::Counts);
    }

    /// Submits a job and ends its first attempt in this way. No other job may be ready.
    pub(super) async fn ended(&self, document: Document, verdict: Verdict, decision: Decision) -> JobId {
        let id = self.submit(document).await;
        let lease = self.lease("a").await;
        assert_eq!(lease.id, id, "no other job is ready");
        assert_eq!(self.settle("a", &lease, verdict, decision).await, Settled::Counts);
        id
    }

    /// Reports what an attempt has logged.
    pub(super) async fn report_log(&self, name: &str, lease: &Lease, log: &[u8]) {
        let report = Report { lease: lease.clone(), progress: None, log: log.to_vec() };
        self.queue().report(&worker(name), vec![report]).await.unwrap();
    }

    pub(super) async fn result(&self, id: JobId, attempt: Option<u32>) -> Option<Published> {
        self.queue().result(id, attempt).await.unwrap()
    }

    /// The result document of a job, if it has one that can be read.
    pub(super) async fn document(&self, id: JobId) -> Option<Vec<u8>> {
        self.result(id, None).await.map(|published| published.document)
    }

    /// The log of an attempt, if there is one. It must be complete.
    pub(super) async fn log(&self, id: JobId, attempt: u32) -> Option<Vec<u8>> {
        let (log, is_complete) = whole_log(self.queue(), id, attempt).await?;
        assert!(is_complete, "attempt {attempt} has ended");
        Some(log)
    }

    pub(super) async fn find(&self, id: JobId) -> Record {
        self.queue().find(id).await.unwrap().expect("the job is known")
    }

    pub(super) async fn state(&self, id: JobId) -> State {
        self.find(id).await.state
    }

    pub(super) async fn act(&self, id: JobId, action: &Action) -> Result<State, Refusal> {
        let mut acted = self.queue().act(&[id], action).await.unwrap();
        assert_eq!((acted.len(), acted[0].id), (1, id));
        acted.remove(0).outcome
    }

    pub(super) async fn update(&self, id: JobId, patch: serde_json::Value) -> Result<State, Refusal> {
        self.act(id, &Action::Update(patch.as_object().unwrap().clone())).await
    }

    /// All jobs that fit, in the order of the listing, read in pages of at most `limit`.
    pub(super) async fn list_by(&self, filter: &Filter, limit: usize) -> Vec<Record> {
        let (mut records, mut after) = (Vec::new(), None);
        loop {
            let (page, next) = self.queue().list(filter, after, limit).await.unwrap();
            assert!(page.len() <= limit && page.iter().all(|record| record.history.is_none()));
            records.extend(page);
            match next {
                Some(_) => after = next,
                None => return records,
            }
        }
    }

    pub(super) async fn list(&self, filter: &Filter) -> Vec<JobId> {
        self.list_by(filter, 100).await.iter().map(|record| record.id).collect()
    }

    /// Checks that so much time lies between two moments, as exactly as the backend can tell.
    pub(super) fn assert_between(&self, from: Timestamp, to: Timestamp, expected: Duration) {
        let lasted = to.duration_since(from).as_secs_f64();
        let off = (lasted - expected.as_secs_f64()).abs();
        assert!(off <= B::PRECISION.as_secs_f64(), "{lasted} s instead of {expected:?}");
    }
}

/// An algorithm as a job names it.
pub(super) fn algorithm(name: &str) -> AlgorithmRef {
    name.parse().unwrap()
}
