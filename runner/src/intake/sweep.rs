//! Looking after what is buried at a server: originals of jobs that were kicked here, and notes that are out
//! of date.

use super::client::{JobState, JobStats};
use super::notes::Note;
use super::reading::{self, is_same_time};
use super::reservation::Desk;
use super::server::{Connection, Server, Trouble};
use crate::job::{JobId, State};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// How often buried jobs are looked at.
const PERIOD: Duration = Duration::from_secs(1);
/// As many notes are looked at in one period.
const AT_ONCE: usize = 100;
/// An earlier version gave jobs that are done, but buried until they are published, a larger priority than
/// this.
const OLD_MARK: u32 = 1 << 31;

/// A job that an earlier version has buried at its server although it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldBuried {
    /// The server, as `beanstalkd://HOST:PORT`.
    pub server: String,
    /// The server's number for the job.
    pub number: u64,
    /// The job.
    pub id: JobId,
}

/// Looks after one server until the intake stops.
pub(super) async fn sweep(desk: Arc<Desk>, server: Arc<Server>, mut old: Vec<OldBuried>) {
    old.retain(|old| old.server == server.name());
    let (mut place, mut stop) = (0, desk.stop.clone());
    while !desk.is_stopped() {
        let swept = async {
            delete_old(&server, &mut old).await?;
            place = look_at_notes(&desk, &server, place).await?;
            Ok::<_, Trouble>(())
        };
        let pause = match swept.await {
            Ok(()) => PERIOD,
            Err(trouble) => server.failed(&trouble).max(PERIOD),
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }
}

/// Deletes what an earlier version has left, if it is still there.
async fn delete_old(server: &Server, old: &mut Vec<OldBuried>) -> Result<(), Trouble> {
    while let Some(OldBuried { number, id, .. }) = old.last() {
        let mut connection = server.connect().await?;
        if let Some(stats) = connection.stats_job(*number).await?
            && stats.state == JobState::Buried
            && stats.priority > OLD_MARK
            && let Some(body) = connection.peek(*number).await?
            && let Ok(read) = reading::read(&body, &stats)
            && read.id.is_none_or(|read| read == *id)
        {
            connection.delete(*number).await?;
        }
        server.give_back(connection);
        old.pop();
    }
    Ok(())
}

/// Looks at the next notes of this server, and returns where to go on.
async fn look_at_notes(desk: &Desk, server: &Server, place: usize) -> Result<usize, Trouble> {
    let notes = match desk.notes.all().await {
        Ok(notes) => notes,
        Err(error) => {
            tracing::debug!(%error, "the notes of the intake cannot be read");
            return Ok(0);
        }
    };
    let notes: Vec<Note> = notes.into_iter().filter(|note| note.place().0 == server.name()).collect();
    if notes.is_empty() {
        return Ok(0);
    }
    let mut connection = server.connect().await?;
    for note in notes.iter().skip(place).take(AT_ONCE) {
        if is_over(desk, &mut connection, note).await?
            && let Err(error) = desk.notes.remove(note.clone()).await
        {
            tracing::debug!(%error, "a note of the intake cannot be removed");
        }
    }
    server.give_back(connection);
    Ok(if place + AT_ONCE < notes.len() { place + AT_ONCE } else { 0 })
}

/// Whether a note is needed no longer. The buried original of a job that was kicked or deleted here is
/// deleted.
async fn is_over(desk: &Desk, connection: &mut Connection, note: &Note) -> Result<bool, Trouble> {
    let number = note.place().1;
    let Some(JobStats { state, age, .. }) = connection.stats_job(number).await? else { return Ok(true) };
    if !is_same_time(note.put_at(), reading::put_at(Timestamp::now(), age)) {
        // A server without a binlog was started again, and has given the number to another job.
        return Ok(true);
    }
    match note {
        // It is reserved while it is noted down.
        Note::Rubbish(_) => Ok(matches!(state, JobState::Ready | JobState::Delayed)),
        Note::Dead(dead) if state == JobState::Buried => {
            let is_dead = desk.queue.find(dead.id).await?.is_some_and(|record| record.state == State::Dead);
            Ok(!is_dead && connection.delete(number).await?)
        }
        // It was kicked there; the next reservation needs the note.
        Note::Dead(_) => Ok(false),
    }
}
