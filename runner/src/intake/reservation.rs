//! One reserved job, from the server's answer to the last word to the server.
//!
//! The connection that has the reservation belongs to this alone. When it is closed, whatever the reason,
//! the server gives the job to another worker. So an error needs no repair: the connection is dropped.

use super::Gate;
use super::client::{Body, JobStats, Reserved};
use super::notes::{Dead, Note, Notes, Rubbish};
use super::reading::{self, Put, Reading};
use super::server::{Connection, Room, Server, Trouble};
use crate::job::{AlgorithmRef, Digest, JobId, Record, State, Tube};
use crate::queue::{Action, Algorithm, Queue, QueueError, Refusal, Submission};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// A reservation is renewed after a third of its `ttr`, but at least this often.
const LONGEST_TOUCH: Duration = Duration::from_secs(5);
/// How often a reservation of one second is renewed.
const SHORTEST_TOUCH: Duration = Duration::from_millis(300);
/// How soon a stopped heart is noticed.
const PULSE: Duration = Duration::from_millis(500);
/// The shortest pause between two looks at a job.
const SHORTEST_LOOK: Duration = Duration::from_millis(2);
/// The longest pause between two looks at a job.
const LONGEST_LOOK: Duration = Duration::from_secs(1);
/// A job that will wait for longer leaves its server.
const LONG: SignedDuration = SignedDuration::from_secs(60);
/// A job of an unknown algorithm is released so often, each time for twice as long, since another node may
/// have it.
const RELEASES: u32 = 3;

/// What all reservations of an intake share.
pub(super) struct Desk {
    pub(super) queue: Arc<dyn Queue>,
    pub(super) gate: Arc<Gate>,
    pub(super) notes: Notes,
    /// The worker's name.
    pub(super) worker: String,
    /// Whether the intake is to end.
    pub(super) stop: watch::Receiver<bool>,
    pub(super) pauses: Pauses,
}

impl Desk {
    /// Whether the intake is to end.
    pub(super) fn is_stopped(&self) -> bool {
        *self.stop.borrow() || self.stop.has_changed().is_err()
    }
}

/// The paused tubes, asked for at most once a second.
#[derive(Default)]
pub(super) struct Pauses(tokio::sync::Mutex<Option<(Instant, Paused)>>);

/// The paused tubes, and until when, if that is known.
type Paused = BTreeMap<Tube, Option<Timestamp>>;

impl Pauses {
    /// Whether no job of the tube starts before `then`.
    async fn holds(&self, queue: &dyn Queue, tube: &Tube, then: Timestamp) -> bool {
        let mut known = self.0.lock().await;
        if known.as_ref().is_none_or(|(asked, _)| asked.elapsed() >= LONGEST_LOOK) {
            // If the queue cannot be asked, the next look at the job says so.
            let paused = queue.status().await.map(|status| status.paused).unwrap_or_default();
            *known = Some((Instant::now(), paused));
        }
        let paused = known.as_ref().and_then(|(_, paused)| paused.get(tube));
        paused.is_some_and(|until| until.is_none_or(|until| until > then))
    }
}

/// What is done next with a reserved job.
#[derive(Debug)]
enum Next {
    /// The queue has it: its reservation is kept until it has ended.
    Keep(JobId),
    /// It is deleted at the server.
    Delete,
    /// It is released at the server, for so many seconds.
    Release(u32),
    /// It is buried at the server.
    Bury(Note),
    /// The server gets it back.
    Leave,
}

/// Keeps a reservation until its job has ended, and tells the server.
pub(super) async fn attend(
    desk: Arc<Desk>,
    server: Arc<Server>,
    connection: Connection,
    Reserved { number, body }: Reserved,
    room: Room,
) {
    match live(&desk, &server, connection, number, body, &room).await {
        Ok(connection) => server.give_back(connection),
        Err(trouble @ (Trouble::Stopping | Trouble::HeartStopped | Trouble::Lost)) => {
            tracing::debug!(server = server.name(), number, "a reservation has ended: {trouble}");
        }
        Err(trouble) => {
            server.failed(&trouble);
        }
    }
}

/// The life of a reservation. What comes back is the connection, without a reservation.
async fn live(
    desk: &Desk,
    server: &Server,
    mut connection: Connection,
    number: u64,
    body: Body,
    room: &Room,
) -> Result<Connection, Trouble> {
    // This process may have been stopped before it read the answer. The figures belong to this reservation
    // only if the reservation still stands after them.
    let Some(stats) = connection.stats_job(number).await? else { return Ok(connection) };
    let put_at = reading::put_at(Timestamp::now(), stats.age);
    if !connection.touch(number).await? {
        return Ok(connection);
    }
    let mut held = Held::new(connection, number, &stats, &desk.gate);
    let case = Case { desk, server, number, stats: &stats, put_at };
    let mut next = held.during(case.take_in(body)).await??;
    if let Next::Keep(id) = next {
        server.queue_works();
        next = held.during(case.ended(id, room)).await??;
    }
    if let Next::Bury(note) = &next {
        held.during(case.note(note.clone())).await?;
    }
    held.say(next).await
}

/// The connection that has a reservation.
struct Held<'a> {
    connection: Connection,
    number: u64,
    priority: u32,
    gate: &'a Gate,
    interval: Duration,
    touched: Instant,
}

impl<'a> Held<'a> {
    fn new(connection: Connection, number: u64, stats: &JobStats, gate: &'a Gate) -> Self {
        let interval = match stats.ttr {
            0..=1 => SHORTEST_TOUCH,
            ttr => LONGEST_TOUCH.min(Duration::from_secs(ttr) / 3),
        };
        Self { connection, number, priority: stats.priority, gate, interval, touched: Instant::now() }
    }

    /// Renews the reservation while `work` is done, for as long as the worker's heart beats.
    async fn during<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Trouble> {
        let mut work = pin!(work);
        loop {
            let due = self.touched + self.interval;
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                () = tokio::time::sleep_until(due.min(Instant::now() + PULSE)) => {}
            }
            if !self.gate.is_alive() {
                return Err(Trouble::HeartStopped);
            }
            if Instant::now() >= due {
                if !self.connection.touch(self.number).await? {
                    return Err(Trouble::Lost);
                }
                self.touched = Instant::now();
            }
        }
    }

    /// Tells the server what becomes of the job.
    async fn say(mut self, next: Next) -> Result<Connection, Trouble> {
        let is_done = match next {
            Next::Delete => self.connection.delete(self.number).await?,
            Next::Release(seconds) => self.connection.release(self.number, self.priority, seconds).await?,
            Next::Bury(_) => self.connection.bury(self.number, self.priority).await?,
            Next::Keep(_) | Next::Leave => return Err(Trouble::Stopping),
        };
        if is_done { Ok(self.connection) } else { Err(Trouble::Lost) }
    }
}

/// A reserved job, as the server tells of it.
struct Case<'a> {
    desk: &'a Desk,
    server: &'a Server,
    number: u64,
    stats: &'a JobStats,
    put_at: Timestamp,
}

impl Case<'_> {
    /// Submits the job to the queue, if it is one, and says what becomes of it at the server.
    async fn take_in(&self, body: Body) -> Result<Next, Trouble> {
        let queue = &self.desk.queue;
        let (id, document) = match reading::read(&body, self.stats) {
            Err(reason) => return Ok(self.rubbish(&body, reason)),
            Ok(Reading { id, document }) => match self.known(id, &body).await? {
                (id, true) => (id, document),
                (id, false) if self.knows(&document.algorithm).await? => (id, document),
                (_, false) if self.stats.releases < RELEASES => {
                    self.server.put_aside();
                    return Ok(Next::Release(1 << self.stats.releases));
                }
                (_, false) => {
                    let algorithm = &document.algorithm;
                    return Ok(self.rubbish(&body, format!("no node has taken the algorithm {algorithm} yet")));
                }
            },
        };
        match queue.submit(vec![Submission { id, document }]).await {
            Ok(()) => {}
            Err(error @ (QueueError::IdTaken(_) | QueueError::NotUnique { .. })) => {
                return Ok(self.rubbish(&body, error.to_string()));
            }
            Err(error @ (QueueError::Busy(_) | QueueError::Backend(_))) => return Err(error.into()),
        }
        match queue.find(id).await? {
            // Only the id is left of it. A done job was deleted at the server, so a buried one was dead.
            None if self.stats.buries > 0 => {
                let reason = format!("job {id} ended here, and its record is no longer kept; put it with a new id");
                Ok(self.rubbish(&body, reason))
            }
            None => Ok(Next::Delete),
            Some(record) => match record.state {
                State::Done | State::Cancelled => Ok(Next::Delete),
                State::Dead => self.dead_again(&record, &body).await,
                State::Held | State::Delayed | State::Ready | State::Running => Ok(Next::Keep(id)),
            },
        }
    }

    /// The job's id, and whether the queue knows it. Without one of its own it has the id of an earlier
    /// delivery, or a new one.
    async fn known(&self, id: Option<JobId>, body: &Body) -> Result<(JobId, bool), QueueError> {
        let (Body::Whole(bytes) | Body::TooLong { head: bytes, .. }) = body;
        let (server, number, at) = (self.server.full_name(), self.number, self.put_at);
        let put = Put { server, number, body: Digest::of(bytes), at };
        let ids = id.map_or_else(|| put.ids(), |id| vec![id]);
        for id in &ids {
            if self.desk.queue.find(*id).await?.is_some() {
                return Ok((*id, true));
            }
        }
        Ok((ids[0], false))
    }

    /// Whether the algorithm can be run here.
    async fn knows(&self, algorithm: &AlgorithmRef) -> Result<bool, QueueError> {
        let known = self.desk.queue.algorithm(&algorithm.name).await?;
        let Some(digest) = algorithm.digest else { return Ok(known.is_some()) };
        let is_version = |known: Algorithm| {
            known.current.module == digest || known.earlier.iter().any(|version| version.module == digest)
        };
        // A module stays when its name is removed.
        Ok(known.is_some_and(is_version) || self.desk.queue.module(digest).await?.is_some())
    }

    /// What becomes of a job that is dead here, and that the server gives away all the same.
    async fn dead_again(&self, record: &Record, body: &Body) -> Result<Next, Trouble> {
        let noted = self.desk.notes.dead(self.server.name(), self.number).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the notes of the intake cannot be read");
            None
        });
        let noted = noted.filter(|noted| noted.id == record.id && reading::is_same_time(noted.put_at, self.put_at));
        let was_kicked = match &noted {
            Some(noted) => self.stats.kicks > noted.kicks,
            // Another node buried it, or the note was dropped: each death here is one burial there.
            None => self.stats.buries > record.kicks && self.stats.kicks > 0,
        };
        if !was_kicked {
            return Ok(self.dead(record.id));
        }
        let acted = self.desk.queue.act(&[record.id], &Action::Kick).await?;
        if let Some(noted) = noted
            && let Err(error) = self.desk.notes.remove(Note::Dead(noted)).await
        {
            tracing::warn!(%error, "a note of the intake cannot be removed");
        }
        match acted.into_iter().next().map(|acted| acted.outcome) {
            // It is not dead any more: another node, or an operator, was faster.
            Some(Ok(_) | Err(Refusal::State(..))) => Ok(Next::Keep(record.id)),
            Some(Err(refusal)) => Ok(self.rubbish(body, format!("job {} cannot be kicked: {refusal}", record.id))),
            None => Ok(Next::Leave),
        }
    }

    /// Waits until the job has ended here, or will wait for long, and says what becomes of it at the server.
    async fn ended(&self, id: JobId, room: &Room) -> Result<Next, Trouble> {
        let (queue, mut watch) = (&self.desk.queue, self.desk.queue.watch());
        let mut stop = self.desk.stop.clone();
        let mut looks = 0_u32;
        loop {
            let is_stopping = self.desk.is_stopped();
            let started = Instant::now();
            match queue.find(id).await {
                Ok(None) => return Ok(Next::Delete),
                Ok(Some(record)) => match record.state {
                    State::Done | State::Cancelled => return Ok(Next::Delete),
                    State::Dead => return Ok(self.dead(id)),
                    state => {
                        room.set_waits(state == State::Ready);
                        if let Some(why) = self.waits_long(&record, looks).await {
                            let (server, number) = (self.server.name(), self.number);
                            tracing::info!(job = %id, server, number, "the job leaves its server, since {why}");
                            return Ok(Next::Delete);
                        }
                    }
                },
                Err(error) => tracing::debug!(job = %id, %error, "the queue cannot be asked"),
            }
            if is_stopping {
                return Ok(Next::Leave);
            }
            looks = looks.saturating_add(1);
            // Looking takes a fifth of the time at most, however often the queue changes.
            tokio::time::sleep(SHORTEST_LOOK.max(started.elapsed() * 4)).await;
            tokio::select! {
                () = watch.changed(LONGEST_LOOK) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        }
    }

    /// Why the job will wait for longer than a minute, if it will.
    async fn waits_long(&self, record: &Record, looks: u32) -> Option<&'static str> {
        let then = Timestamp::now().checked_add(LONG).unwrap_or(Timestamp::MAX);
        let document = &record.document;
        match record.state {
            State::Held => Some("it is held"),
            State::Delayed if record.ready_at > then => Some("its time comes later than in a minute"),
            State::Delayed | State::Ready => {
                if document.host.as_ref().is_some_and(|host| *host != self.desk.worker) {
                    return Some("it is pinned to another worker");
                }
                // A job that starts at once costs no look at the pauses.
                let is_paused = looks > 0 && self.desk.pauses.holds(&*self.desk.queue, &document.tube, then).await;
                is_paused.then_some("its tube is paused")
            }
            _ => None,
        }
    }

    /// The job is buried as dead.
    fn dead(&self, id: JobId) -> Next {
        let (server, kicks, put_at) = (self.server.name().to_owned(), self.stats.kicks, self.put_at);
        Next::Bury(Note::Dead(Dead { server, number: self.number, id, kicks, put_at }))
    }

    /// The body is buried, with the reason.
    fn rubbish(&self, body: &Body, reason: String) -> Next {
        self.server.put_aside();
        let (length, excerpt) = reading::beginning(body);
        let (server, number, tube) = (self.server.name().to_owned(), self.number, self.stats.tube.clone());
        tracing::warn!(server, number, %tube, excerpt, "what a producer has put is buried: {reason}");
        let (worker, put_at, found_at) = (self.desk.worker.clone(), self.put_at, Timestamp::now());
        let rubbish = Rubbish { server, number, tube, length, excerpt, reason, worker, put_at, found_at };
        Next::Bury(Note::Rubbish(rubbish))
    }

    /// Writes a note down. Without it the job is buried all the same: the log has the reason.
    async fn note(&self, note: Note) {
        if let Err(error) = self.desk.notes.add(note).await {
            tracing::warn!(%error, "intake.jsonl cannot be written; see whether the disk is full");
        }
    }
}
