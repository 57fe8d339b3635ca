//! Stopping a guest from outside.

use crate::job::{Excess, LimitName, Limits, Span, Verdict};
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

    /// The verdict on an attempt that is stopped now for this reason.
    pub fn verdict(&self, reason: StopReason, limits: &Limits) -> Verdict {
        let message = reason.to_string();
        match reason {
            StopReason::Deadline => Verdict::Deadline(self.deadline_met(limits)),
            StopReason::Interrupted => Verdict::Interrupted { message },
            StopReason::Cancelled => Verdict::Cancelled { message },
            StopReason::Lost => Verdict::Lost { message },
        }
    }

    fn deadline_met(&self, limits: &Limits) -> Excess {
        let late = Span(Instant::now().saturating_duration_since(self.deadline));
        let allowed = limits.ttr.millis();
        let observed = allowed.saturating_add(late.millis());
        let message = format!(
            "it was stopped after {}, for its time was over: its limit `ttr` allows {}",
            LimitName::Ttr.display(observed),
            LimitName::Ttr.display(allowed)
        );
        Excess { limit: LimitName::Ttr, allowed, observed, message }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_deadline_is_told_exactly_and_as_its_limit_is() {
        let limits = Limits { ttr: Span(Duration::from_secs(2)), ..Limits::default() };
        let Verdict::Deadline(excess) = Stop::at(Instant::now()).verdict(StopReason::Deadline, &limits) else {
            panic!("a deadline is a deadline")
        };
        let message = excess.message.strip_suffix(", for its time was over: its limit `ttr` allows 2s").unwrap();
        let observed: Span = message.strip_prefix("it was stopped after ").unwrap().parse().unwrap();
        assert_eq!((observed.millis(), excess.allowed), (excess.observed, 2000));
    }
}
