//! From a reservation to a lease, or to where the job belongs instead.

use super::Shared;
use super::body::{self, Reading};
use super::client::{Body, Reserved};
use super::fence::Proof;
use super::held::Held;
use super::mark;
use super::overdue::Overdue;
use super::server::Connection;
use super::stats::JobStats;
use crate::job::{Digest, Tube};
use crate::queue::sqlite::{Counts, Place, Ruling, Sighting};
use crate::queue::{Claimed, QueueError, Unreadable, WorkerId};
use jiff::{SignedDuration, Timestamp};
use std::time::{Duration, Instant};

/// As many jobs that cannot be run are put aside by one claim; the next one goes on.
const PUT_ASIDE: usize = 64;
/// How long a job waits that cannot be run now, because of this host's disk, or because it runs under another number.
const PUT_OFF: u32 = 5;

impl Shared {
    /// Leases the most urgent jobs, `most` at most.
    pub(super) async fn claim(
        &self,
        worker: &WorkerId,
        tubes: &[Tube],
        most: usize,
    ) -> Result<Vec<Claimed>, QueueError> {
        self.catch_up().await?;
        let (mut claimed, mut put_aside) = (Vec::new(), 0);
        while claimed.len() < most && put_aside < PUT_ASIDE {
            let Some((connection, reserved)) = self.reserve(tubes).await? else { break };
            match self.examine(worker, connection, reserved).await {
                Ok(Some(job)) => claimed.push(job),
                Ok(None) => put_aside += 1,
                // Those that were claimed are to be run; the next claim tells of the trouble.
                Err(_) if !claimed.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(claimed)
    }

    /// The most urgent job.
    pub(super) async fn reserve(&self, tubes: &[Tube]) -> Result<Option<(Connection, Reserved)>, QueueError> {
        let mut connection = self.server.connect().await?;
        let reserved = async {
            connection.watch(tubes).await?;
            connection.reserve(0).await
        };
        match reserved.await.map_err(|error| self.server.failed(&error))? {
            Some(reserved) => Ok(Some((connection, reserved))),
            None => {
                self.server.give_back(connection);
                Ok(None)
            }
        }
    }

    /// Leases a reserved job, or does to it what it is there for. Nothing of it is lost on the way: until the server
    /// hears otherwise, the job is reserved, and ready again as soon as the connection ends.
    pub(super) async fn examine(
        &self,
        worker: &WorkerId,
        mut connection: Connection,
        reserved: Reserved,
    ) -> Result<Option<Claimed>, QueueError> {
        let number = reserved.number;
        // This process may have been stopped with an answer unread. What was told of the job before a reservation could be
        // renewed was told of that reservation. The job's age tells when it was put, counted from now.
        let told = async {
            let instance = connection.instance().await?;
            let stats = connection.stats_job(number).await?;
            let renewed = Instant::now();
            let stands = connection.touch(number).await?;
            Ok((instance, stats.filter(|_| stands), renewed))
        };
        let (instance, stats, renewed) = told.await.map_err(|error| self.server.failed(&error))?;
        let Some(stats) = stats else {
            self.server.give_back(connection);
            return Ok(None);
        };
        let reading = self.read(&reserved, &stats).await;
        let priority = reading.as_ref().map_or(stats.priority, |reading| reading.document.priority);
        let until = renewed + Duration::from_secs(stats.ttr);
        let done = match self.rule(worker, &reserved, &stats, reading, until).await {
            Ok(Ruling::Run(claimed)) => {
                let place = place(number, &reserved.body, &stats);
                let proof = Proof { place, mark: mark::of(worker.start, &claimed.lease), instance };
                let leased = (claimed.lease.clone(), proof, priority);
                let ttr = Duration::from_secs(stats.ttr);
                let held = Held::start(&self.server, connection, leased, worker, ttr);
                self.hold(held);
                return Ok(Some(*claimed));
            }
            Ok(Ruling::Ended) => connection.delete(number).await,
            Ok(Ruling::Dead | Ruling::Taken(_)) => connection.bury(number, priority).await,
            Ok(Ruling::Runs) => connection.release(number, priority, PUT_OFF).await,
            Ok(Ruling::Early(wait)) => connection.release(number, priority, seconds(wait)).await,
            Err(error) => {
                // This host cannot run it now; perhaps another one can.
                let _ = connection.release(number, priority, PUT_OFF).await;
                return Err(error);
            }
        };
        done.map_err(|error| self.server.failed(&error))?;
        self.server.give_back(connection);
        Ok(None)
    }

    /// What is to be done with a reserved job.
    async fn rule(
        &self,
        worker: &WorkerId,
        Reserved { number, body }: &Reserved,
        stats: &JobStats,
        reading: Result<Reading, String>,
        until: Instant,
    ) -> Result<Ruling, QueueError> {
        let ruling = match reading {
            Ok(reading) => {
                let sighting = sighting(reading, *number, body, stats);
                let ruling = self.ledger.sight_until(until, sighting.clone(), worker).await;
                self.or_overdue(ruling, || Overdue::GivenBack(Box::new(sighting))).await?
            }
            Err(reason) => Ruling::Taken(reason),
        };
        if let Ruling::Taken(reason) = &ruling {
            // Written down first: what is put aside without a word is not found again.
            let found = unreadable(worker, *number, body, stats, reason.clone());
            let noted = self.ledger.note(found.clone()).await;
            self.or_overdue(noted, || Overdue::Found(Box::new(found))).await?;
        }
        Ok(ruling)
    }

    /// What a body asks for. How urgent a job was that comes back with a mark may be known here; if not, its body says
    /// so, or it is as urgent as any.
    async fn read(&self, Reserved { number, body }: &Reserved, stats: &JobStats) -> Result<Reading, String> {
        let mut reading = body::read(body, stats)?;
        let is_marked = reading.document.priority != stats.priority;
        if is_marked {
            let id = match reading.id {
                Some(id) => Ok(Some(id)),
                None => self.ledger.numbered(*number).await,
            };
            if let Ok(Some(id)) = id
                && let Ok(Some((record, _))) = self.ledger.find(id).await
            {
                reading.document.priority = record.document.priority;
            }
        }
        Ok(reading)
    }
}

fn place(number: u64, body: &Body, stats: &JobStats) -> Place {
    let body = match body {
        Body::Whole(bytes) => Digest::of(bytes),
        Body::TooLong { head, .. } => Digest::of(head),
    };
    Place { number, body, counts: counts(stats) }
}

/// The figures by which one reservation is told from another.
pub(super) fn counts(stats: &JobStats) -> Counts {
    let &JobStats { reserves, releases, timeouts, kicks, .. } = stats;
    Counts { reserves, releases, timeouts, kicks }
}

fn sighting(reading: Reading, number: u64, body: &Body, stats: &JobStats) -> Sighting {
    let age = SignedDuration::from_secs(i64::try_from(stats.age).unwrap_or(i64::MAX));
    let put_at = Timestamp::now().checked_sub(age).unwrap_or(Timestamp::UNIX_EPOCH);
    let Reading { id, document, has_servers_ttr } = reading;
    Sighting { id, document, has_servers_ttr, place: place(number, body, stats), put_at, deaths: stats.deaths() }
}

fn unreadable(worker: &WorkerId, number: u64, body: &Body, stats: &JobStats, reason: String) -> Unreadable {
    let (length, excerpt) = body::beginning(body);
    Unreadable {
        number,
        tube: stats.tube.clone(),
        length,
        excerpt,
        reason,
        worker: worker.name.clone(),
        found_at: Timestamp::now(),
    }
}

/// A duration as servers take it: in whole seconds, none of it lost.
pub(super) fn seconds(duration: Duration) -> u32 {
    let whole = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
    u32::try_from(whole).unwrap_or(u32::MAX)
}
