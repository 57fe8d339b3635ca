//! The leases that a worker holds, from the claim until the queue knows how the attempt ended.

use crate::queue::{Lease, Recalled};
use crate::sandbox::{Stop, StopReason};
use std::collections::HashMap;
use std::slice;
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
    phases: HashMap<Lease, Phase>,
    /// Why no guest may run any more, if that is so.
    closed: Option<StopReason>,
}

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

impl Leases {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a lease that was just claimed.
    pub(super) fn add(&self, lease: Lease) {
        self.held().phases.insert(lease, Phase::Waiting(None));
    }

    /// An attempt's guest may run from now on; it is stopped at once if there was an order before.
    pub(super) fn start(&self, lease: &Lease, stop: &Arc<Stop>) {
        let mut held = self.held();
        let closed = held.closed;
        let before = held.phases.insert(lease.clone(), Phase::Running(Arc::clone(stop)));
        drop(held);
        let ordered = if let Some(Phase::Waiting(reason)) = before { reason } else { None };
        if let Some(reason) = closed.or(ordered) {
            stop.order(reason);
        }
        self.started.notify_one();
    }

    /// An attempt's guest runs no more.
    pub(super) fn end(&self, lease: &Lease) {
        if let Some(phase) = self.held().phases.get_mut(lease) {
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
            if let Some(phase) = held.phases.get_mut(lease) {
                phase.stop(reason);
            }
        }
    }

    /// Stops the guests whose leases are gone.
    pub(super) fn recall(&self, recalled: &[Recalled]) {
        for Recalled { lease, cancelled } in recalled {
            let reason = if *cancelled { StopReason::Cancelled } else { StopReason::Lost };
            self.stop(slice::from_ref(lease), reason);
        }
    }

    pub(super) fn stop_all(&self, reason: StopReason) {
        self.held().phases.values_mut().for_each(|phase| phase.stop(reason));
    }

    pub(super) fn all(&self) -> Vec<Lease> {
        self.held().phases.keys().cloned().collect()
    }

    /// Those whose guests run.
    pub(super) fn running(&self) -> Vec<Lease> {
        let held = self.held();
        let running = held.phases.iter().filter(|(_, phase)| matches!(phase, Phase::Running(_)));
        running.map(|(lease, _)| lease.clone()).collect()
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
        leases.recall(&[Recalled { lease: lease.clone(), cancelled: true }]);
        leases.start(&lease, &stop);
        assert_eq!(stop.reason(), Some(StopReason::Cancelled));
    }

    #[test]
    fn a_lease_is_held_until_the_attempt_is_settled_but_its_guest_only_runs_until_it_ends() {
        let leases = Leases::default();
        let lease = lease();
        leases.add(lease.clone());
        assert_eq!((leases.all().len(), leases.running().len()), (1, 0));
        leases.start(&lease, &stop());
        assert_eq!((leases.all().len(), leases.running().len()), (1, 1));
        leases.end(&lease);
        assert_eq!((leases.all().len(), leases.running().len()), (1, 0));
        leases.remove(&lease);
        assert!(leases.all().is_empty());
    }
}
