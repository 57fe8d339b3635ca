//! The queue that is tried, and short words for what the cases do to it.

use super::{Backend, Missing};
use crate::job::{Decision, Document, JobId, Record, State, Tube, Usage, Verdict};
use crate::queue::{
    Action, Claimed, Filter, Home, Lease, Queue, QueueError, Refusal, Settlement, Submission, WorkerId,
};
use jiff::Timestamp;
use std::io::Write as _;
use std::time::Duration;

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// The smallest document there is.
pub(in crate::queue) fn document() -> Document {
    Document::new("x".parse().unwrap())
}

/// One that waits before it is due.
pub(super) fn delayed(by: Duration) -> Document {
    Document { delay: Some(crate::job::Span(by)), ..document() }
}

/// How long the leases of [`worker`] last.
pub(in crate::queue) const LEASE: Duration = Duration::from_secs(15);

/// The worker of this name, whose identity follows from the name.
pub(in crate::queue) fn worker(name: &str) -> WorkerId {
    let mut start = [0; 16];
    start[..16.min(name.len())].copy_from_slice(&name.as_bytes()[..16.min(name.len())]);
    WorkerId { start: JobId::from_bytes(start), name: name.to_owned(), lease: LEASE, home: home() }
}

/// Where the tests' workers keep results: nowhere.
pub(in crate::queue) fn home() -> Home {
    Home { store: JobId::from_bytes([7; 16]), public_url: None }
}

/// A failure that may pass.
pub(in crate::queue) fn failed() -> Verdict {
    Verdict::Failed { message: "the sea was rough".to_owned(), permanent: false, exit_code: Some(10) }
}

/// What an operator says who cancels.
pub(super) fn by_hand() -> Action {
    Action::Cancel { reason: "by hand".to_owned() }
}

/// A fresh queue of some kind.
pub(super) struct Subject<B> {
    pub(super) backend: B,
}

impl<B: Backend> Subject<B> {
    /// None if this machine lacks what the backend needs, which is only forgiven outside of continuous integration.
    pub(super) async fn open() -> Option<Self> {
        match B::open().await {
            Ok(backend) => Some(Self { backend }),
            Err(Missing(what)) => {
                let message = format!("{} was not tried: {what}", B::NAME);
                assert!(std::env::var_os("CI").is_none(), "{message}");
                // Past the capture of what tests print, which is shown for failures only.
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

    /// Claims a job if there is one, and begins the attempt.
    pub(super) async fn claim(&self, name: &str) -> Option<Claimed> {
        let mut claimed = self.claim_from(name, &[Tube::default()], 1).await;
        assert!(claimed.len() <= 1);
        let claimed = claimed.pop()?;
        self.queue().begin(&worker(name), &claimed.lease);
        Some(claimed)
    }

    /// Claims a job that must be there.
    pub(super) async fn lease(&self, name: &str) -> Lease {
        self.claim(name).await.expect("a job is ready").lease
    }

    pub(super) async fn claim_from(&self, name: &str, tubes: &[Tube], most: usize) -> Vec<Claimed> {
        self.queue().claim(&worker(name), tubes, most).await.unwrap()
    }

    pub(super) async fn settle(
        &self,
        name: &str,
        lease: &Lease,
        verdict: Verdict,
        decision: Decision,
    ) -> Result<(), QueueError> {
        let settlement = Settlement { verdict, decision, usage: Usage::default(), published: true };
        self.queue().settle(&worker(name), lease, settlement).await
    }

    /// Submits a job and has its only attempt end so.
    pub(super) async fn ended(&self, document: Document, verdict: Verdict, decision: Decision) -> JobId {
        let id = self.submit(document).await;
        let lease = self.lease("a").await;
        assert_eq!(lease.id, id, "it is the only one that is ready");
        self.settle("a", &lease, verdict, decision).await.unwrap();
        id
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
