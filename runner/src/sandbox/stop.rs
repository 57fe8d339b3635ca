//! Stopping a guest from outside.

use crate::job::{Excess, LimitName, Limits, Verdict};
use std::sync::OnceLock;
use std::time::Instant;
use tokio::sync::Notify;

/// Why a guest is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StopReason {
    /// Its time is over.
    #[error("the deadline has passed")]
    Deadline,
    /// The worker stops now.
    #[error("the worker was told to stop now")]
    Interrupted,
    /// The job was cancelled.
    #[error("the job was cancelled")]
    Cancelled,
    /// Another worker has, or may get, the job.
    #[error("the lease was lost")]
    Lost,
}

impl StopReason {
    /// The verdict on an attempt that was stopped for this reason.
    pub fn verdict(self, limits: &Limits) -> Verdict {
        let allowed = limits.ttr.millis();
        let message = self.to_string();
        match self {
            StopReason::Deadline => Verdict::Deadline(Excess {
                limit: LimitName::Ttr,
                allowed,
                observed: allowed,
                message: format!("it was stopped after {}, all the time that its limit `ttr` allows", limits.ttr),
            }),
            StopReason::Interrupted => Verdict::Interrupted { message },
            StopReason::Cancelled => Verdict::Cancelled { message },
            StopReason::Lost => Verdict::Lost { message },
        }
    }
}

/// The order to stop, shared between a guest and whoever watches over it.
#[derive(Debug)]
pub struct Stop {
    deadline: Instant,
    order: OnceLock<StopReason>,
    ordered: Notify,
}

impl Stop {
    /// Nothing but the deadline ends the guest until [`Stop::order`] is called.
    pub fn at(deadline: Instant) -> Self {
        Self { deadline, order: OnceLock::new(), ordered: Notify::new() }
    }

    /// Ends the guest at its next slice. The first order counts.
    pub fn order(&self, reason: StopReason) {
        if self.order.set(reason).is_ok() {
            self.ordered.notify_waiters();
        }
    }

    /// Why the guest must stop now, if it must.
    pub fn reason(&self) -> Option<StopReason> {
        let late = || (Instant::now() >= self.deadline).then_some(StopReason::Deadline);
        self.order.get().copied().or_else(late)
    }

    /// Waits until the guest must stop.
    pub async fn wait(&self) -> StopReason {
        let ordered = self.ordered.notified();
        if self.order.get().is_none() {
            tokio::select! {
                () = ordered => {}
                () = tokio::time::sleep_until(self.deadline.into()) => {}
            }
        }
        self.order.get().copied().unwrap_or(StopReason::Deadline)
    }
}
