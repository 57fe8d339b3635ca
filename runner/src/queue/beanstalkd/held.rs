//! A reservation, kept alive for as long as its worker's heart beats.

use super::client::ClientError;
use super::fence::Proof;
use super::lock;
use super::server::{Connection, Server};
use crate::queue::{Lease, WorkerId};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

/// How often a reservation is renewed at most; a server's `ttr` is a second at least.
const SHORTEST: Duration = Duration::from_millis(100);

/// How far the end of an attempt has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It runs.
    Runs,
    /// The server was told, and nobody knows whether it has heard.
    Unknown,
    /// The server has let the job go as it was told, on this reservation.
    Fenced,
}

/// A reserved job, with the one connection on which it can be settled.
pub(super) struct Held {
    pub(super) lease: Lease,
    pub(super) proof: Proof,
    /// With which the job waits again, or is dead.
    pub(super) priority: u32,
    pub(super) phase: tokio::sync::Mutex<Phase>,
    connection: tokio::sync::Mutex<Option<Connection>>,
    is_lost: AtomicBool,
    /// When the worker's heart last beat, and how long it may be silent.
    beat: Mutex<Instant>,
    silence: Duration,
}

impl Held {
    /// Keeps the reservation alive from now on; `ttr` is how long it lasts by itself.
    pub(super) fn start(
        server: &Server,
        connection: Connection,
        (lease, proof, priority): (Lease, Proof, u32),
        worker: &WorkerId,
        ttr: Duration,
    ) -> Arc<Self> {
        let held = Arc::new(Self {
            lease,
            proof,
            priority,
            phase: tokio::sync::Mutex::new(Phase::Runs),
            connection: tokio::sync::Mutex::new(Some(connection)),
            is_lost: AtomicBool::new(false),
            beat: Mutex::new(Instant::now()),
            silence: worker.lease,
        });
        let interval = (ttr.min(worker.lease) / 3).max(SHORTEST);
        server.spawn(keep(Arc::downgrade(&held), interval));
        held
    }

    /// The worker's heart has beaten.
    pub(super) fn beat(&self) {
        *lock(&self.beat) = Instant::now();
    }

    /// Whether the server has given the job to somebody else, or may do so.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Acquire)
    }

    /// Gives a command on the connection that has the reservation. If it fails, the connection is ended, and with it
    /// the reservation; if it was ended before, there is no reservation.
    pub(super) async fn tell(
        &self,
        command: impl AsyncFnOnce(&mut Connection) -> Result<bool, ClientError>,
    ) -> Result<bool, ClientError> {
        let mut connection = self.connection.lock().await;
        let Some(open) = connection.as_mut() else { return Ok(false) };
        let told = command(open).await;
        if !open.is_usable() {
            *connection = None;
        }
        told
    }

    /// Takes the connection, once the job is no longer reserved on it.
    pub(super) async fn take(&self) -> Option<Connection> {
        self.connection.lock().await.take()
    }

    /// Renews the reservation; whether that is to go on.
    async fn renew(&self) -> bool {
        if *self.phase.lock().await != Phase::Runs {
            return false;
        }
        // A worker that shows no sign of life must lose what it has, and at once.
        let is_alive = lock(&self.beat).elapsed() <= self.silence;
        let number = self.proof.place.number;
        let is_ours = match is_alive {
            true => self.tell(async |connection| connection.touch(number).await).await.unwrap_or(false),
            false => false,
        };
        if !is_alive {
            drop(self.take().await);
        }
        if !is_ours {
            self.is_lost.store(true, Ordering::Release);
        }
        is_ours
    }
}

async fn keep(held: Weak<Held>, interval: Duration) {
    loop {
        // The first time at once: the job may have waited a while for whoever is to run it.
        match held.upgrade() {
            Some(held) => {
                if !held.renew().await {
                    return;
                }
            }
            None => return,
        }
        tokio::time::sleep(interval).await;
    }
}
