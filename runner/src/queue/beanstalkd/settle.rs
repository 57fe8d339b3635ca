//! The end of an attempt, told to the server and to this data directory's file, of which either may stop at any time.
//!
//! Whoever holds a reservation may bury, release or delete its job, and nobody else: the server's answer to that is
//! the fence. A job that is done is buried first, where nobody gets it, with a priority that marks whose end that was
//! (`mark.rs`), and deleted once its result is published.
//!
//! | step | a process that is killed before the next one leaves | which is resolved by |
//! |---|---|---|
//! | – | a running attempt; a job that is ready again | ending the attempt as lost |
//! | the end is written down | the same, and the end | the same: the reservation was given back before the server was told |
//! | the server is told: `bury`, `release`, or `delete` of a cancelled job | a done job that has this attempt's mark; another one that is buried, or waits, since this very reservation | committing what was written down |
//! | the end is committed, which publishes the result | a done job that is still buried | deleting it |
//! | a done job is deleted | a note that it is to be deleted | forgetting that |
//!
//! Which reservation was the last, a server says in figures that it does not write to its binlog. If it was started again
//! since, they prove nothing: then what is not marked, or gone, counts as a lost attempt, and the job stays as it is.
//!
//! A holder that was stopped and goes on finds its fence shut (`NOT_FOUND`), or its attempt ended in the file.
//! Everything that resolves can be done by any process of the data directory, at any time, and more than once.

use super::Shared;
use super::claim::seconds;
use super::fence::{self, Found, Proof};
use super::held::{Held, Phase};
use super::mark;
use super::stats::JobState;
use crate::job::{Decision, State, Verdict};
use crate::queue::sqlite::{Intent, Kind, Place};
use crate::queue::{Lease, QueueError, Settlement, WorkerId};
use std::time::Duration;

/// The shortest wait before a failed attempt is repeated.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

impl Shared {
    /// Ends an attempt, if its reservation still stands.
    pub(super) async fn settle(
        &self,
        worker: &WorkerId,
        lease: &Lease,
        settlement: Settlement,
    ) -> Result<(), QueueError> {
        let stale = || QueueError::Stale { id: lease.id, attempt: lease.attempt };
        let held = self.held(lease).ok_or_else(stale)?;
        let settlement = in_whole_seconds(settlement);
        let mut phase = held.phase.lock().await;
        if *phase == Phase::Runs {
            if let Err(error) = self.ledger.begin(worker, lease, settlement.clone(), held.proof.instance).await {
                if let QueueError::Stale { .. } = error {
                    self.let_go(&held).await;
                }
                return Err(error);
            }
            *phase = match fence::shut(&held, settlement.decision).await {
                Ok(true) => Phase::Fenced,
                Ok(false) => {
                    self.ledger.lost(lease, true).await?;
                    self.release(&held).await;
                    return Err(stale());
                }
                Err(_) => Phase::Unknown,
            };
        }
        if *phase == Phase::Unknown {
            let mut connection = self.server.connect().await?;
            let kind = Kind::of(settlement.decision);
            match fence::found(&mut connection, kind, &held.proof).await.map_err(|error| self.server.failed(&error))? {
                Found::Told => *phase = Phase::Fenced,
                // The server has not seen the end of the connection yet; it will.
                Found::Reserved => {
                    return Err(QueueError::Backend(format!("{} is still being told", self.server.address())));
                }
                Found::Untold => {
                    self.ledger.lost(lease, true).await?;
                    self.release(&held).await;
                    return Err(stale());
                }
            }
            self.server.give_back(connection);
        }
        let committed = self.ledger.commit(lease, worker).await;
        if let Err(error) = committed {
            drop(phase);
            if let QueueError::Stale { .. } = error {
                self.release(&held).await;
            }
            return Err(error);
        }
        if settlement.decision == Decision::Finish {
            // If this fails, the job is buried and its deletion written down: `resolve` comes back to it.
            let _ = self.finish(lease, held.proof.place).await;
        }
        drop(phase);
        self.release(&held).await;
        Ok(())
    }

    /// Deletes a job whose result is published.
    async fn finish(&self, lease: &Lease, place: Place) -> Result<(), QueueError> {
        let mut connection = self.server.connect().await?;
        let deleted = async {
            // What does not lie buried was not put there by this end: a server that has lost its jobs counts anew.
            if fence::look(&mut connection, place).await?.is_some_and(|stats| stats.state == JobState::Buried) {
                connection.delete(place.number).await?;
            }
            Ok(())
        };
        deleted.await.map_err(|error| self.server.failed(&error))?;
        self.server.give_back(connection);
        self.ledger.close(lease).await
    }

    /// Ends a reservation whose attempt has ended in the file: it was cancelled, or found to be lost.
    async fn let_go(&self, held: &Held) {
        let record = self.ledger.find(held.lease.id).await;
        let is_cancelled = record.is_ok_and(|found| found.is_some_and(|(record, _)| record.state == State::Cancelled));
        if is_cancelled {
            let number = held.proof.place.number;
            // If it cannot be told now, the next one who reserves the job finds that it was cancelled.
            let _ = held.tell(async |connection| connection.delete(number).await).await;
            self.release(held).await;
        } else {
            // Ended with the connection, the reservation cannot be somebody else's by mistake.
            self.drop_held(&held.lease);
            drop(held.take().await);
        }
    }

    /// Keeps the connection of a job that is no longer reserved on it.
    async fn release(&self, held: &Held) {
        self.drop_held(&held.lease);
        if let Some(connection) = held.take().await {
            self.server.give_back(connection);
        }
    }

    /// Brings to their end what other processes of this data directory, or earlier ones, have left under way. Returns
    /// the attempts that were found to be lost.
    pub(super) async fn resolve(&self, worker: &WorkerId) -> Result<Vec<Lease>, QueueError> {
        let mut lost = Vec::new();
        let open: Vec<Intent> = self.ledger.open().await?.into_iter().filter(|one| !self.holds(&one.lease)).collect();
        let running = self.ledger.running().await?.into_iter().filter(|one| !self.holds(&one.lease));
        let running: Vec<_> = running.collect();
        if open.is_empty() && running.is_empty() {
            return Ok(lost);
        }
        let mut connection = self.server.connect().await?;
        for Intent { lease, kind, holder, place, instance } in open {
            let state = match holder {
                Some(start) => {
                    let proof = Proof { place, mark: mark::of(start, &lease), instance };
                    fence::found(&mut connection, kind, &proof).await.map_err(|error| self.server.failed(&error))?
                }
                None => Found::Told,
            };
            match state {
                Found::Told => match self.ledger.commit(&lease, worker).await {
                    Ok(()) if kind == Kind::Finish => self.finish(&lease, place).await?,
                    // Another process has come first.
                    Ok(()) | Err(QueueError::Stale { .. }) => {}
                    Err(error) => return Err(error),
                },
                Found::Untold if self.ledger.lost(&lease, true).await? => lost.push(lease),
                Found::Untold | Found::Reserved => {}
            }
        }
        for one in running {
            let is_reserved = fence::is_reserved(&mut connection, one.place).await;
            // An end that was written down meanwhile is looked at the next time.
            if !is_reserved.map_err(|error| self.server.failed(&error))? && self.ledger.lost(&one.lease, false).await? {
                lost.push(one.lease);
            }
        }
        self.server.give_back(connection);
        Ok(lost)
    }
}

/// A wait that the server can keep. Only who was interrupted is tried again at once.
fn in_whole_seconds(settlement: Settlement) -> Settlement {
    let decision = match settlement.decision {
        Decision::Retry(_) if matches!(settlement.verdict, Verdict::Interrupted { .. }) => {
            Decision::Retry(Duration::ZERO)
        }
        Decision::Retry(wait) => Decision::Retry(Duration::from_secs(seconds(wait.max(SHORTEST_WAIT)).into())),
        other => other,
    };
    Settlement { decision, ..settlement }
}
