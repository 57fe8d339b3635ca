//! The leases that a worker holds, from the claim until the queue knows how the attempt ended.

use crate::job::Progress;
use crate::queue::{Lease, Recalled, Report};
use crate::sandbox::{LiveLog, Stop, StopReason};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};

/// The leases that a worker holds, each with the means to stop its guest.
#[derive(Debug, Default)]
pub(super) struct Leases {
    held: Mutex<Held>,
    started: Notify,
}

#[derive(Debug, Default)]
struct Held {
    /// Each with its guest, while that runs.
    leases: HashMap<Lease, Option<Guest>>,
    /// Claims that were asked for, and those of them that were answered.
    claims: (u64, u64),
    /// What the queue took for this worker's at the last heartbeat and the worker did not hold, with the claims that
    /// had been asked for by then.
    suspects: (HashSet<Lease>, u64),
    /// Why no guest may run any more, if that is so.
    closed: Option<StopReason>,
}

/// A guest that runs.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) stop: Arc<Stop>,
    pub(super) progress: watch::Receiver<Option<Progress>>,
    pub(super) log: Arc<LiveLog>,
}

impl Leases {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A claim is asked for.
    pub(super) fn asked(&self) {
        self.held().claims.0 += 1;
    }

    /// A claim was answered, and everything that it brought was added.
    pub(super) fn answered(&self) {
        self.held().claims.1 += 1;
    }

    /// Adds a lease that was just claimed. Its guest is stopped at once if none may run any more.
    pub(super) fn add(&self, lease: Lease, guest: Guest) {
        let mut held = self.held();
        if let Some(reason) = held.closed {
            guest.stop.order(reason);
        }
        held.leases.insert(lease, Some(guest));
        drop(held);
        self.started.notify_one();
    }

    /// An attempt's guest runs no more.
    pub(super) fn end(&self, lease: &Lease) {
        if let Some(guest) = self.held().leases.get_mut(lease) {
            *guest = None;
        }
    }

    pub(super) fn remove(&self, lease: &Lease) {
        self.held().leases.remove(lease);
    }

    /// Stops all guests, those of leases that are only added later too.
    pub(super) fn close(&self, reason: StopReason) {
        self.held().closed = Some(reason);
        self.stop_all(reason);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.held().closed.is_some()
    }

    /// Stops all guests that run now.
    pub(super) fn stop_all(&self, reason: StopReason) {
        self.held().leases.values().flatten().for_each(|guest| guest.stop.order(reason));
    }

    /// Stops the guests whose leases are gone.
    pub(super) fn recall(&self, recalled: &[Recalled]) {
        let held = self.held();
        for Recalled { lease, cancelled } in recalled {
            if let Some(Some(guest)) = held.leases.get(lease) {
                guest.stop.order(if *cancelled { StopReason::Cancelled } else { StopReason::Lost });
            }
        }
    }

    /// Takes note of leases that the queue takes for this worker's and that it did not hold, and returns those to put
    /// back.
    ///
    /// The answer to a claim may be on its way. So a lease is put back at the second heartbeat that names it, once all
    /// claims that had been asked for at the first one were answered.
    pub(super) fn put_right(&self, unheld: Vec<Lease>) -> Vec<Lease> {
        let mut held = self.held();
        let (named, asked) = std::mem::take(&mut held.suspects);
        let unheld: HashSet<_> = unheld.into_iter().filter(|lease| !held.leases.contains_key(lease)).collect();
        let (lost, new): (Vec<_>, Vec<_>) = unheld.into_iter().partition(|lease| named.contains(lease));
        if !lost.is_empty() && held.claims.1 < asked {
            held.suspects = (lost.into_iter().chain(new).collect(), asked);
            return Vec::new();
        }
        held.suspects = (new.into_iter().collect(), held.claims.0);
        lost
    }

    /// All leases.
    pub(super) fn all(&self) -> Vec<Lease> {
        self.held().leases.keys().cloned().collect()
    }

    /// Those whose guests run.
    pub(super) fn running(&self) -> Vec<Lease> {
        self.held().leases.iter().filter(|(_, guest)| guest.is_some()).map(|(lease, _)| lease.clone()).collect()
    }

    /// Waits until a guest has started since the last call.
    pub(super) async fn started(&self) {
        self.started.notified().await;
    }

    /// What the guests that run have to say since the last call.
    pub(super) fn reports(&self) -> Vec<Report> {
        let mut reports = Vec::new();
        for (lease, guest) in &mut self.held().leases {
            let Some(guest) = guest else { continue };
            let log = guest.log.take();
            let has_progress = guest.progress.has_changed().unwrap_or_default();
            let progress = has_progress.then(|| guest.progress.borrow_and_update().clone()).flatten();
            if progress.is_some() || !log.is_empty() {
                reports.push(Report { lease: lease.clone(), progress, log });
            }
        }
        reports
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

    fn guest() -> (Guest, watch::Sender<Option<Progress>>) {
        let stop = Arc::new(Stop::at(Instant::now() + Duration::from_secs(60)));
        let (sender, progress) = watch::channel(None);
        (Guest { stop, progress, log: Arc::new(LiveLog::new(100)) }, sender)
    }

    #[test]
    fn a_lease_outlives_its_guest() {
        let (leases, lease) = (Leases::default(), lease());
        leases.add(lease.clone(), guest().0);
        assert_eq!((leases.all().len(), leases.running().len()), (1, 1));
        leases.end(&lease);
        assert_eq!((leases.all().len(), leases.running().len()), (1, 0));
        leases.remove(&lease);
        assert_eq!((leases.all().len(), leases.running().len()), (0, 0));
    }

    #[test]
    fn guests_that_start_after_the_end_are_stopped() {
        let leases = Leases::default();
        let [before, after] = [guest().0, guest().0];
        let stops = [Arc::clone(&before.stop), Arc::clone(&after.stop)];
        leases.add(lease(), before);
        leases.close(StopReason::Interrupted);
        leases.add(lease(), after);
        assert_eq!(stops.map(|stop| stop.reason()), [Some(StopReason::Interrupted); 2]);
    }

    #[test]
    fn a_guest_is_told_why_its_lease_is_gone() {
        let leases = Leases::default();
        let given = [lease(), lease(), lease()];
        let stops = given.clone().map(|lease| {
            let guest = guest().0;
            let stop = Arc::clone(&guest.stop);
            leases.add(lease, guest);
            stop
        });
        let recalled = |lease: &Lease, cancelled| Recalled { lease: lease.clone(), cancelled };
        leases.recall(&[recalled(&given[0], true), recalled(&given[1], false), recalled(&lease(), true)]);
        let reasons = stops.map(|stop| stop.reason());
        assert_eq!(reasons, [Some(StopReason::Cancelled), Some(StopReason::Lost), None]);
    }

    #[test]
    fn an_unknown_lease_is_put_back_at_the_second_beat() {
        let (leases, lost) = (Leases::default(), lease());
        assert_eq!(leases.put_right(vec![lost.clone()]), []);
        assert_eq!(leases.put_right(vec![lost.clone(), lease()]), std::slice::from_ref(&lost));
        assert_eq!(leases.put_right(vec![lost.clone()]), [], "it is named anew");
        assert_eq!(leases.put_right(Vec::new()), []);
        assert_eq!(leases.put_right(vec![lost.clone()]), [], "two beats in a row");
        leases.add(lost.clone(), guest().0);
        assert_eq!(leases.put_right(vec![lost]), [], "its answer came");
    }

    #[test]
    fn a_lease_whose_claim_is_not_answered_is_not_put_back() {
        let (leases, claimed) = (Leases::default(), lease());
        leases.asked();
        for _ in 0..3 {
            assert_eq!(leases.put_right(vec![claimed.clone()]), []);
        }
        leases.answered();
        leases.asked();
        assert_eq!(leases.put_right(vec![claimed.clone()]), [claimed], "the first claim did not bring it");
    }

    #[test]
    fn a_guest_reports_what_is_new() {
        let (leases, lease) = (Leases::default(), lease());
        let (guest, sender) = guest();
        let log = Arc::clone(&guest.log);
        leases.add(lease.clone(), guest);
        assert_eq!(leases.reports(), []);
        log.write(b"a line\n");
        let progress = Progress { fraction: 0.5, message: "half".to_owned() };
        sender.send_replace(Some(progress.clone()));
        assert_eq!(leases.reports(), [Report { lease, progress: Some(progress), log: b"a line\n".to_vec() }]);
        assert_eq!(leases.reports(), []);
    }
}
