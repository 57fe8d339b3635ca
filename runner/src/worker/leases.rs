//! The leases that a worker holds, from the claim until the queue knows how the attempt ended.

use crate::queue::{Lease, Recalled};
use crate::sandbox::{Stop, StopReason};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The leases that a worker holds, each with the means to stop its guest.
#[derive(Debug, Default)]
pub(super) struct Leases {
    held: Mutex<Held>,
    started: Notify,
}

#[derive(Debug, Default)]
struct Held {
    phases: HashMap<Lease, (Age, Phase)>,
    /// How many leases were added so far.
    added: u64,
    /// Why no guest may run any more, if that is so.
    closed: Option<StopReason>,
}

/// When a lease was added, in the order of all. A job that is given back before it has begun may come again under the
/// very same lease, so the lease alone does not tell whether an answer is about this one or about the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Age(u64);

/// How far an attempt has come.
#[derive(Debug)]
enum Phase {
    /// It waits for a slot; perhaps there is a reason by now to stop its guest as soon as it starts.
    Waiting(Option<StopReason>),
    Running(Arc<Stop>),
    /// Its guest has ended, and the queue does not know yet.
    Ended,
}

impl Phase {
    fn stop(&mut self, why: StopReason) {
        match self {
            Phase::Waiting(reason) => *reason = reason.or(Some(why)),
            Phase::Running(stop) => stop.order(why),
            Phase::Ended => {}
        }
    }
}

impl Held {
    fn add(&mut self, lease: Lease, phase: Phase) {
        self.added += 1;
        self.phases.insert(lease, (self.youngest(), phase));
    }

    fn youngest(&self) -> Age {
        Age(self.added)
    }
}

impl Leases {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a lease that was just claimed.
    pub(super) fn add(&self, lease: Lease) {
        self.held().add(lease, Phase::Waiting(None));
    }

    /// An attempt's guest may run from now on; it is stopped at once if there was an order before.
    pub(super) fn start(&self, lease: &Lease, stop: &Arc<Stop>) {
        let mut held = self.held();
        let closed = held.closed;
        let running = Phase::Running(Arc::clone(stop));
        let ordered = match held.phases.get_mut(lease) {
            Some((_, phase)) => match std::mem::replace(phase, running) {
                Phase::Waiting(reason) => reason,
                Phase::Running(_) | Phase::Ended => None,
            },
            None => {
                held.add(lease.clone(), running);
                None
            }
        };
        drop(held);
        if let Some(reason) = closed.or(ordered) {
            stop.order(reason);
        }
        self.started.notify_one();
    }

    /// An attempt's guest runs no more.
    pub(super) fn end(&self, lease: &Lease) {
        if let Some((_, phase)) = self.held().phases.get_mut(lease) {
            *phase = Phase::Ended;
        }
    }

    pub(super) fn remove(&self, lease: &Lease) {
        self.held().phases.remove(lease);
    }

    /// Stops all guests, those of leases that are only added later too.
    pub(super) fn close(&self, reason: StopReason) {
        self.held().closed = Some(reason);
        self.stop_all(reason);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.held().closed.is_some()
    }

    pub(super) fn stop(&self, leases: &[Lease], reason: StopReason) {
        let mut held = self.held();
        for lease in leases {
            if let Some((_, phase)) = held.phases.get_mut(lease) {
                phase.stop(reason);
            }
        }
    }

    /// Stops the guests whose leases are gone, as was answered to whoever asked at that age. Nothing was said of leases
    /// that are younger.
    pub(super) fn recall(&self, recalled: &[Recalled], asked: Age) {
        let mut held = self.held();
        for Recalled { lease, cancelled } in recalled {
            let reason = if *cancelled { StopReason::Cancelled } else { StopReason::Lost };
            match held.phases.get_mut(lease) {
                Some((age, phase)) if *age <= asked => phase.stop(reason),
                _ => {}
            }
        }
    }

    pub(super) fn stop_all(&self, reason: StopReason) {
        self.held().phases.values_mut().for_each(|(_, phase)| phase.stop(reason));
    }

    /// All of them, and the age of the youngest, to be given to [`recall`](Self::recall).
    pub(super) fn all(&self) -> (Vec<Lease>, Age) {
        let held = self.held();
        (held.phases.keys().cloned().collect(), held.youngest())
    }

    /// The same of those whose guests run.
    pub(super) fn running(&self) -> (Vec<Lease>, Age) {
        let held = self.held();
        let running = held.phases.iter().filter(|(_, (_, phase))| matches!(phase, Phase::Running(_)));
        (running.map(|(lease, _)| lease.clone()).collect(), held.youngest())
    }

    /// Waits until a guest has started since the last return. For one caller.
    pub(super) async fn started(&self) {
        self.started.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::JobId;
    use std::time::{Duration, Instant};

    fn lease() -> Lease {
        Lease { id: JobId::new(), attempt: 1 }
    }

    fn stop() -> Arc<Stop> {
        Arc::new(Stop::at(Instant::now() + Duration::from_secs(60)))
    }

    /// How many there are, and how many of their guests run.
    fn count(leases: &Leases) -> (usize, usize) {
        (leases.all().0.len(), leases.running().0.len())
    }

    #[test]
    fn a_guest_that_comes_after_the_order_to_stop_is_stopped_as_well() {
        let leases = Leases::default();
        let (early, late) = (stop(), stop());
        leases.start(&lease(), &early);
        leases.stop_all(StopReason::Lost);
        assert!(!leases.is_closed(), "a lost lease says nothing of the next ones");
        leases.close(StopReason::Interrupted);
        leases.start(&lease(), &late);
        assert_eq!((early.reason(), late.reason()), (Some(StopReason::Lost), Some(StopReason::Interrupted)));
    }

    #[test]
    fn a_job_that_is_recalled_before_its_guest_starts_does_not_run() {
        let leases = Leases::default();
        let (lease, stop) = (lease(), stop());
        leases.add(lease.clone());
        leases.recall(&[Recalled { lease: lease.clone(), cancelled: true }], leases.all().1);
        leases.start(&lease, &stop);
        assert_eq!(stop.reason(), Some(StopReason::Cancelled));
    }

    #[test]
    fn an_answer_about_a_lease_that_was_given_back_does_not_recall_the_one_that_came_after_it() {
        let leases = Leases::default();
        let (lease, stop) = (lease(), stop());
        leases.add(lease.clone());
        let (_, asked) = leases.all();
        leases.remove(&lease);
        leases.add(lease.clone());
        let recalled = [Recalled { lease: lease.clone(), cancelled: false }];
        leases.recall(&recalled, asked);
        leases.start(&lease, &stop);
        leases.recall(&recalled, asked);
        assert_eq!(stop.reason(), None);
        leases.recall(&recalled, leases.running().1);
        assert_eq!(stop.reason(), Some(StopReason::Lost));
    }

    #[test]
    fn a_lease_is_held_until_the_attempt_is_settled_but_its_guest_only_runs_until_it_ends() {
        let leases = Leases::default();
        let lease = lease();
        leases.add(lease.clone());
        assert_eq!(count(&leases), (1, 0));
        leases.start(&lease, &stop());
        assert_eq!(count(&leases), (1, 1));
        leases.end(&lease);
        assert_eq!(count(&leases), (1, 0));
        leases.remove(&lease);
        assert_eq!(count(&leases), (0, 0));
    }
}
