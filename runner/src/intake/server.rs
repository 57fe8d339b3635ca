//! The way to one server: its connections, how many reservations there may be, and the pauses after
//! failures.

use super::address::Address;
use super::client::{Client, ClientError};
use crate::job::Tube;
use crate::queue::QueueError;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// How long making a connection may take, the look-up of the name included.
const CONNECTING: Duration = Duration::from_secs(5);
/// The pause after a first failure; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// So many bodies may be put aside in one second. A server that sends nothing but rubbish must not fill the
/// log.
const PUT_ASIDE: u32 = 100;

/// A connection to a server.
pub(super) type Connection = Client<TcpStream>;

/// Why a job could not be taken, or its reservation not be kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("it cannot be reached: {0}; start beanstalkd there, or correct the intake's address")]
    Unreachable(io::Error),
    #[error("{0}")]
    Client(#[from] ClientError),
    #[error("this node's queue: {0}")]
    Queue(#[from] QueueError),
    #[error("the reservation is over, and the server may have given the job to another worker")]
    Lost,
    #[error("the worker's heart has stopped")]
    HeartStopped,
    #[error("the intake stops")]
    Stopping,
}

/// The way to one server.
pub(super) struct Server {
    address: Address,
    name: String,
    tubes: Vec<Tube>,
    /// The host's name, as the server told it last.
    host: Mutex<String>,
    /// One permit for each reservation.
    permits: Arc<Semaphore>,
    /// Reservations, at all servers of the intake, whose job waits for a slot.
    waiting: Arc<AtomicUsize>,
    changed: Notify,
    /// Connections that have no reservation.
    idle: Mutex<Vec<Connection>>,
    failures: Mutex<Failures>,
    /// Of this node's queue, which could not take a job in.
    queue_failures: Mutex<Failures>,
    aside: Mutex<(Instant, u32)>,
}

/// Failures in a row.
#[derive(Debug, Default)]
struct Failures {
    count: u32,
    until: Option<Instant>,
}

impl Failures {
    /// How long the present pause still is.
    fn pause(&self, now: Instant) -> Duration {
        self.until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// Counts one more failure; whether it is the first in a row. Those of the same pause count as one.
    fn add(&mut self, now: Instant) -> bool {
        if !self.pause(now).is_zero() {
            return false;
        }
        self.until = Some(now + FIRST_PAUSE.saturating_mul(1 << self.count.min(16)).min(LONGEST_PAUSE));
        self.count = self.count.saturating_add(1);
        self.count == 1
    }
}

impl Server {
    /// The way to the server at `address`, at which there are at most `most` reservations. All servers share
    /// `waiting`.
    pub(super) fn new(address: Address, tubes: &[Tube], most: usize, waiting: Arc<AtomicUsize>) -> Self {
        let tubes = if address.tubes().is_empty() { tubes } else { address.tubes() }.to_vec();
        Self {
            name: address.server(),
            address,
            tubes,
            host: Mutex::default(),
            permits: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
            waiting,
            changed: Notify::new(),
            idle: Mutex::default(),
            failures: Mutex::default(),
            queue_failures: Mutex::default(),
            aside: Mutex::new((Instant::now(), 0)),
        }
    }

    /// How the server is called here.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The server's name and its host's: two servers behind one name, as `localhost` is, are told apart by
    /// it.
    pub(super) fn full_name(&self) -> String {
        format!("{} {}", self.name, lock(&self.host))
    }

    /// The tubes that are taken from.
    pub(super) fn tubes(&self) -> &[Tube] {
        &self.tubes
    }

    /// Room for one more reservation, if fewer jobs wait for a slot than slots are `free`.
    pub(super) fn room(self: &Arc<Self>, free: usize) -> Option<Room> {
        let is_flooded = {
            let (since, count) = *lock(&self.aside);
            count >= PUT_ASIDE && since.elapsed() < Duration::from_secs(1)
        };
        let now = Instant::now();
        let is_pausing = [&self.failures, &self.queue_failures].iter().any(|one| !lock(one).pause(now).is_zero());
        if is_flooded || is_pausing || self.waiting.load(Ordering::Acquire) >= free {
            return None;
        }
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        self.waiting.fetch_add(1, Ordering::AcqRel);
        Some(Room { server: Arc::clone(self), waits: AtomicBool::new(true), _permit: permit })
    }

    /// Returns when there may be room again.
    pub(super) async fn room_changed(&self) {
        self.changed.notified().await;
    }

    /// Counts a body that was put aside.
    pub(super) fn put_aside(&self) {
        let mut aside = lock(&self.aside);
        if aside.0.elapsed() >= Duration::from_secs(1) {
            *aside = (Instant::now(), 0);
        }
        aside.1 = aside.1.saturating_add(1);
    }

    /// A connection without a reservation.
    pub(super) async fn connect(&self) -> Result<Connection, Trouble> {
        while let Some(connection) = self.pop_idle() {
            if is_open(&connection) {
                return Ok(connection);
            }
        }
        let address = (self.address.host(), self.address.port());
        let dialled = tokio::time::timeout(CONNECTING, TcpStream::connect(address)).await;
        let stream = dialled.unwrap_or_else(|late| Err(late.into())).map_err(Trouble::Unreachable)?;
        stream.set_nodelay(true).map_err(Trouble::Unreachable)?;
        let mut connection = Client::new(stream);
        let host = connection.hostname().await?;
        *lock(&self.host) = host;
        Ok(connection)
    }

    /// Keeps a connection that has no reservation for later.
    pub(super) fn give_back(&self, connection: Connection) {
        if connection.is_usable() {
            let was_failing = std::mem::take(&mut *lock(&self.failures)).count > 0;
            if was_failing {
                tracing::info!(server = self.name, "the server answers again");
            }
            lock(&self.idle).push(connection);
        }
    }

    /// This node's queue has taken a job in.
    pub(super) fn queue_works(&self) {
        *lock(&self.queue_failures) = Failures::default();
    }

    /// Logs a failure, if it is the first in a row, and returns how long no job is to be taken.
    pub(super) fn failed(&self, trouble: &Trouble) -> Duration {
        if let Trouble::Client(ClientError::Connection(_) | ClientError::Silent(_)) | Trouble::Unreachable(_) = trouble
        {
            // What has ended one connection has most often ended all.
            lock(&self.idle).clear();
        }
        let is_queue = matches!(trouble, Trouble::Queue(_));
        let mut failures = lock(if is_queue { &self.queue_failures } else { &self.failures });
        let now = Instant::now();
        match failures.add(now) {
            true => tracing::warn!(server = self.name, "no jobs are taken for a while: {trouble}"),
            false => tracing::debug!(server = self.name, "no jobs are taken for a while: {trouble}"),
        }
        failures.pause(now)
    }

    /// Whether a job in one of the tubes is ready, delayed or reserved.
    pub(super) async fn has_work(&self) -> Result<bool, Trouble> {
        let mut connection = self.connect().await?;
        let mut has_work = false;
        for tube in &self.tubes {
            let stats = connection.stats_tube(tube).await?;
            has_work |= stats.is_some_and(|stats| stats.ready > 0 || stats.delayed > 0 || stats.reserved > 0);
        }
        self.give_back(connection);
        Ok(has_work)
    }

    fn pop_idle(&self) -> Option<Connection> {
        lock(&self.idle).pop()
    }
}

/// Room for one reservation, for as long as this lives.
pub(super) struct Room {
    server: Arc<Server>,
    waits: AtomicBool,
    _permit: OwnedSemaphorePermit,
}

impl Room {
    /// Says whether the job waits for a slot. A new one does.
    pub(super) fn set_waits(&self, waits: bool) {
        if self.waits.swap(waits, Ordering::AcqRel) != waits {
            match waits {
                true => self.server.waiting.fetch_add(1, Ordering::AcqRel),
                false => self.server.waiting.fetch_sub(1, Ordering::AcqRel),
            };
            self.server.changed.notify_one();
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.set_waits(false);
        self.server.changed.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the server still is at the other end. It sends nothing unasked, so nothing can be read.
fn is_open(connection: &Connection) -> bool {
    let nothing = connection.stream().try_read(&mut [0]);
    connection.is_usable() && nothing.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_100ms_to_5s() {
        let (mut failures, mut now, mut pauses) = (Failures::default(), Instant::now(), Vec::new());
        for nth in 0..9 {
            assert_eq!(failures.add(now), nth == 0);
            assert!(!failures.add(now), "a failure of the same pause");
            pauses.push(failures.pause(now).as_millis());
            now += failures.pause(now);
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]);
    }

    #[test]
    fn room_is_for_free_slots_and_bounded() {
        let server = Arc::new(Server::new("beanstalkd://x".parse().unwrap(), &[Tube::default()], 3, Arc::default()));
        assert!(server.room(0).is_none());
        let (first, second) = (server.room(2).unwrap(), server.room(2).unwrap());
        assert!(server.room(2).is_none(), "two jobs wait for two slots");
        first.set_waits(false);
        let third = server.room(2).unwrap();
        third.set_waits(false);
        assert!(server.room(2).is_none(), "there are three reservations");
        drop(second);
        drop(server.room(2).unwrap());
        assert!(server.room(1).is_some());
        for _ in 0..PUT_ASIDE {
            server.put_aside();
        }
        assert!(server.room(1).is_none(), "the server is full of rubbish");
    }
}
