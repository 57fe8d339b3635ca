//! The fence: what the server is told at the end of an attempt, and how to find out whether it has heard.

use super::claim::{counts, seconds};
use super::client::{Body, ClientError};
use super::held::Held;
use super::server::Connection;
use super::stats::{JobState, JobStats};
use crate::job::{Decision, Digest};
use crate::queue::sqlite::{Counts, Kind, Place};

/// By what the end of one attempt is told from that of another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Proof {
    /// Where the server had the job when the attempt began.
    pub(super) place: Place,
    /// The priority with which the job is buried if it is done.
    pub(super) mark: u32,
    /// The process of the server that has given the reservation.
    pub(super) instance: u64,
}

/// What has become of an attempt whose end is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The server was told, on its reservation.
    Told,
    /// It was not, and cannot be any more.
    Untold,
    /// It may be told yet.
    Reserved,
}

/// Has the server let go of the job as it was decided; whether the reservation still stood.
pub(super) async fn shut(held: &Held, decision: Decision) -> Result<bool, ClientError> {
    let (number, priority, mark) = (held.proof.place.number, held.priority, held.proof.mark);
    held.tell(async |connection| match decision {
        Decision::Finish => connection.bury(number, mark).await,
        Decision::Bury => connection.bury(number, priority).await,
        Decision::Retry(wait) => connection.release(number, priority, seconds(wait)).await,
        Decision::Cancel => connection.delete(number).await,
    })
    .await
}

/// What the server has under the number, if that still is the job that it was when the attempt began.
pub(super) async fn look(connection: &mut Connection, place: Place) -> Result<Option<JobStats>, ClientError> {
    match is_there(connection, place).await? {
        true => connection.stats_job(place.number).await,
        false => Ok(None),
    }
}

/// Whether a job is the one that had this number when the attempt began.
pub(super) async fn is_there(connection: &mut Connection, place: Place) -> Result<bool, ClientError> {
    let body = connection.peek(place.number).await?;
    Ok(matches!(body, Some(Body::Whole(bytes)) if Digest::of(&bytes) == place.body))
}

/// Whether the job is reserved, and as far as its figures tell, on the reservation that it had.
pub(super) async fn is_reserved(connection: &mut Connection, place: Place) -> Result<bool, ClientError> {
    Ok(look(connection, place).await?.is_some_and(|stats| is_still_reserved(&stats, place)))
}

fn is_still_reserved(stats: &JobStats, place: Place) -> bool {
    stats.state == JobState::Reserved && counts(stats) == place.counts
}

/// What has become of an attempt.
///
/// A mark outlives the server's process. The figures do not: a process that was started since counts from what was
/// written down before the reservation, so its figures prove nothing.
pub(super) async fn found(connection: &mut Connection, kind: Kind, proof: &Proof) -> Result<Found, ClientError> {
    let Some(stats) = look(connection, proof.place).await? else {
        // Nothing is published of a cancelled job, so it does not matter who has deleted it.
        return Ok(if kind == Kind::Cancel { Found::Told } else { Found::Untold });
    };
    let then = proof.place.counts;
    // Somebody may have kicked the job meanwhile, and another one have put it back as it was.
    let is_marked = stats.state == JobState::Buried && stats.priority == proof.mark && stats.kicks == then.kicks;
    if kind == Kind::Finish && is_marked {
        return Ok(Found::Told);
    }
    if connection.instance().await? != proof.instance {
        return Ok(Found::Untold);
    }
    let released = Counts { releases: then.releases.saturating_add(1), ..then };
    Ok(match kind {
        _ if is_still_reserved(&stats, proof.place) => Found::Reserved,
        Kind::Bury if counts(&stats) == then && stats.state == JobState::Buried => Found::Told,
        Kind::Retry if counts(&stats) == released && stats.state != JobState::Reserved => Found::Told,
        _ => Found::Untold,
    })
}
