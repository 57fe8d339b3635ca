//! Takes jobs that foreign producers have put into beanstalkd servers, and submits them to the queue of this
//! node.
//!
//! The server keeps its job reserved until the job has ended here; then it is deleted there, or buried. So a
//! producer needs to know nothing of Longboat, and if this node dies, the server gives the job to another
//! one.
//!
//! An intake has a thread of its own, which no guest and no HTTP client delays. The worker tells it through
//! a [`Gate`] how many slots are free, and that the worker's heart still beats.

mod address;
mod client;
mod notes;
mod reading;
mod reservation;
mod server;
mod sweep;
#[cfg(test)]
mod tests;

pub use address::{Address, AddressError};
pub use client::{Body, Client, ClientError, Denial, JobState, JobStats, Reserved, TubeStats};
pub use notes::{Rubbish, rubbish};
pub use sweep::OldBuried;

use crate::job::Tube;
use crate::queue::Queue;
use notes::Notes;
use reservation::{Desk, Pauses};
use server::{Server, Trouble};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How often a server is asked for jobs while it has none.
const POLL: Duration = Duration::from_millis(50);
/// Reservations beyond the slots, at one server: jobs that wait for less than a minute keep theirs.
const BEYOND_SLOTS: usize = 16;
/// How long the end of an intake may take.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How an intake works.
#[derive(Debug)]
pub struct Options {
    /// The worker's name, which pinned jobs use.
    pub worker: String,
    /// The tubes that are taken from at servers whose address names none.
    pub tubes: Vec<Tube>,
    /// The worker's slots.
    pub slots: usize,
    /// Where `intake.jsonl` is.
    pub data_dir: PathBuf,
    /// Jobs that an earlier version has buried although they are done. They are deleted.
    pub old_buried: Vec<OldBuried>,
}

/// What the worker tells its intake. At first no slot is free, and the heart has just beaten.
#[derive(Debug)]
pub struct Gate {
    free: watch::Sender<usize>,
    beat: Mutex<Instant>,
    lease: Duration,
}

impl Gate {
    /// The gate of a worker whose leases last so long: after that time without a heartbeat it gives up all reservations.
    pub fn new(lease: Duration) -> Self {
        Self { free: watch::Sender::new(0), beat: Mutex::new(Instant::now()), lease }
    }

    /// So many slots are free now. Jobs are taken only while there is one; a worker that drains has none.
    pub fn set_free(&self, slots: usize) {
        self.free.send_if_modified(|free| std::mem::replace(free, slots) != slots);
    }

    /// The worker's heart has beaten: its runtime answers, and the queue has extended its leases.
    pub fn beat(&self) {
        *self.beat.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn is_alive(&self) -> bool {
        self.beat.lock().unwrap_or_else(PoisonError::into_inner).elapsed() <= self.lease
    }
}

/// The tubes that a worker serves: `tubes`, and those that the addresses name.
pub fn served(addresses: &[Address], mut tubes: Vec<Tube>) -> Vec<Tube> {
    for tube in addresses.iter().flat_map(Address::tubes) {
        if !tubes.contains(tube) {
            tubes.push(tube.clone());
        }
    }
    tubes
}

/// A running intake.
pub struct Intake {
    servers: Vec<Arc<Server>>,
    runtime: Handle,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Intake {
    /// Starts to take jobs from these servers. One that cannot be reached is tried again and again.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        addresses: Vec<Address>,
        queue: Arc<dyn Queue>,
        gate: Arc<Gate>,
        options: Options,
    ) -> io::Result<Self> {
        let Options { worker, tubes, slots, data_dir, old_buried } = options;
        let most = slots.saturating_add(BEYOND_SLOTS);
        let waiting = Arc::new(AtomicUsize::new(0));
        let server = |address| Arc::new(Server::new(address, &tubes, most, Arc::clone(&waiting)));
        let servers: Vec<_> = addresses.into_iter().map(server).collect();
        let stop = watch::Sender::new(false);
        let desk = Arc::new(Desk {
            queue,
            gate,
            notes: Notes::new(&data_dir),
            worker,
            stop: stop.subscribe(),
            pauses: Pauses::default(),
        });
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let tasks = servers.clone();
        let thread = std::thread::Builder::new().name("intake".to_owned()).spawn(move || {
            runtime.block_on(async {
                let mut running = JoinSet::new();
                for server in tasks {
                    running.spawn(sweep::sweep(Arc::clone(&desk), Arc::clone(&server), old_buried.clone()));
                    running.spawn(take_jobs(Arc::clone(&desk), server));
                }
                while let Some(ended) = running.join_next().await {
                    if let Err(error) = ended {
                        tracing::error!(%error, "an intake has a bug, and takes no more jobs");
                    }
                }
            });
            runtime.shutdown_background();
        })?;
        Ok(Self { servers, runtime: handle, stop, thread })
    }

    /// Whether a server has a job in a watched tube that is ready, delayed or reserved, or cannot be asked.
    ///
    /// Ask this before [`Work::has_work`](crate::queue::Work::has_work): a job that leaves a server is in
    /// the queue by then.
    pub async fn has_work(&self) -> bool {
        for server in &self.servers {
            let server = Arc::clone(server);
            // A connection belongs to the thread of the intake.
            let counted = self.runtime.spawn(async move { server.has_work().await });
            if counted.await.ok().and_then(Result::ok).unwrap_or(true) {
                return true;
            }
        }
        false
    }

    /// Ends the intake. Jobs that have ended are deleted or buried at their servers; the servers are given
    /// back the others, which stay in this queue too.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // A thread of a runtime must not wait for another thread.
        let _ = tokio::task::spawn_blocking(move || self.thread.join()).await;
    }
}

/// Takes jobs from one server while slots are free, until the intake stops.
async fn take_jobs(desk: Arc<Desk>, server: Arc<Server>) {
    let mut reservations = JoinSet::new();
    let (mut free, mut stop) = (desk.gate.free.subscribe(), desk.stop.clone());
    while !desk.is_stopped() {
        while let Some(ended) = reservations.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "attending to a reservation failed; the server gives the job away again");
            }
        }
        let (pause, may_have_room) = match take(&desk, &server, &mut reservations).await {
            Ok(Taken::One) => continue,
            Ok(Taken::Nothing) => (POLL, false),
            Ok(Taken::NoRoom) => (POLL, true),
            Err(trouble) => (server.failed(&trouble), false),
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.wait_for(|stop| *stop) => {}
            _ = free.changed(), if may_have_room => {}
            () = server.room_changed(), if may_have_room => {}
        }
    }
    let ended = async { while reservations.join_next().await.is_some() {} };
    // What is not ended then is dropped with its connection.
    let _ = tokio::time::timeout(LAST_WORDS, ended).await;
}

/// What came of asking a server.
enum Taken {
    One,
    Nothing,
    NoRoom,
}

/// Reserves one job, if a slot is free for it.
async fn take(desk: &Arc<Desk>, server: &Arc<Server>, reservations: &mut JoinSet<()>) -> Result<Taken, Trouble> {
    let free = *desk.gate.free.borrow();
    if !desk.gate.is_alive() {
        return Ok(Taken::NoRoom);
    }
    let Some(room) = server.room(free) else { return Ok(Taken::NoRoom) };
    let mut connection = server.connect().await?;
    connection.watch(server.tubes()).await?;
    match connection.reserve().await? {
        Some(reserved) => {
            reservations.spawn(reservation::attend(Arc::clone(desk), Arc::clone(server), connection, reserved, room));
            Ok(Taken::One)
        }
        None => {
            server.give_back(connection);
            Ok(Taken::Nothing)
        }
    }
}
