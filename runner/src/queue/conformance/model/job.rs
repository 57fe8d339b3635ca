//! A job, as the model has it. Times are milliseconds since the model began.

use crate::job::{Document, JobId, State, UniqueFor};

pub(super) struct ModelJob {
    pub(super) id: JobId,
    /// As it was submitted, and as it is now.
    pub(super) submitted: Document,
    pub(super) document: Document,
    pub(super) state: State,
    pub(super) submitted_at: i64,
    pub(super) ready_at: i64,
    pub(super) expires_at: Option<i64>,
    /// Kept from the claim on, in case that the attempt does not begin.
    pub(super) would_have_expired_at: Option<i64>,
    pub(super) finished_at: Option<i64>,
    /// The key that it holds, and until when, if not until it ends.
    pub(super) key: Option<(String, Option<i64>)>,
    pub(super) attempts: u32,
    pub(super) uncounted: u32,
    pub(super) kicks: u32,
    /// Who runs it, and whether the attempt has begun.
    pub(super) holder: usize,
    pub(super) has_begun: bool,
    pub(super) verdict: Option<&'static str>,
    pub(super) published: Option<u32>,
}

impl ModelJob {
    pub(super) fn has_expired(&self, now: i64) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }

    /// State and verdict, as readers are told them: what has expired is cancelled, written down or not.
    pub(super) fn appears(&self, now: i64) -> (State, Option<&'static str>) {
        match self.has_expired(now) {
            true => (State::Cancelled, Some("cancelled")),
            false => (self.state, self.verdict),
        }
    }

    /// When it ended, as readers are told.
    pub(super) fn ended(&self, now: i64) -> Option<i64> {
        self.expires_at.filter(|expires_at| *expires_at <= now).or(self.finished_at)
    }

    pub(super) fn holds(&self, key: &str, now: i64) -> bool {
        let held = |(held, until): &(String, Option<i64>)| {
            held == key && until.map_or(!self.has_expired(now), |until| until > now)
        };
        self.key.as_ref().is_some_and(held)
    }

    /// The key that it has to hold while it has not ended.
    pub(super) fn lasting_key(&self) -> Option<&str> {
        let unique = self.document.unique.as_ref().filter(|unique| unique.period == UniqueFor::Done);
        unique.map(|unique| unique.key.as_str())
    }

    pub(super) fn granted(&self) -> u32 {
        self.document.max_attempts * (self.kicks + 1)
    }

    pub(super) fn may_be_run_by(&self, worker: &str) -> bool {
        self.document.host.as_deref().is_none_or(|host| host == worker)
    }

    pub(super) fn end(&mut self, state: State, verdict: &'static str, now: i64) {
        (self.state, self.verdict, self.expires_at, self.finished_at) = (state, Some(verdict), None, Some(now));
        self.key = self.key.take().filter(|(_, until)| until.is_some());
    }

    /// Writes down that it has expired.
    pub(super) fn expire(&mut self, now: i64) {
        if let Some(expires_at) = self.expires_at.filter(|expires_at| *expires_at <= now) {
            self.end(State::Cancelled, "cancelled", expires_at);
        }
    }

    pub(super) fn wait_until(&mut self, ready_at: i64, now: i64) {
        self.state = if ready_at > now { State::Delayed } else { State::Ready };
        self.ready_at = ready_at;
    }

    pub(super) fn retry(&mut self, ready_at: i64, now: i64, verdict: &'static str) {
        self.wait_until(ready_at, now);
        self.verdict = Some(verdict);
        self.uncounted += u32::from(verdict == "interrupted");
    }
}
