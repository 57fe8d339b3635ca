//! The priority with which a done job is buried until its result is published.
//!
//! A server keeps a job's priority in its binlog, but not how often the job was reserved since it last wrote. After it was
//! killed, the next reservation has the very figures that the last one had. So a priority that only one attempt can have
//! tells whose end a burial was; and it tells everybody that the job is not dead, though it is buried.

use super::stats::{JobState, JobStats};
use crate::job::{Digest, JobId, Record};
use crate::queue::Lease;

/// Every mark is larger: this very priority is what some clients give to every job.
const FIRST: u32 = 1 << 31;

/// The mark of an attempt that the worker makes whose start this is.
pub(super) fn of(start: JobId, lease: &Lease) -> u32 {
    let attempt = [start.as_bytes().as_slice(), lease.id.as_bytes(), &lease.attempt.to_be_bytes()].concat();
    let [a, b, c, d, ..] = *Digest::of(attempt).as_bytes();
    FIRST | u32::from_be_bytes([a, b, c, d]) | 1
}

/// Whether the priority that a job has at the server is a mark. Its `own` one may be as large, and without a burial
/// nobody has marked it.
pub(super) fn is_on(stats: &JobStats, own: u32) -> bool {
    stats.priority > FIRST && stats.buries > 0 && stats.priority != own
}

/// Whether a worker, on whichever node, is about to publish the job's result.
pub(super) fn is_publishing(record: &Record, stats: &JobStats) -> bool {
    stats.state == JobState::Buried && is_on(stats, record.document.priority)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attempt_of_every_worker_has_a_mark_of_its_own() {
        let (start, id) = (JobId::from_bytes([1; 16]), JobId::from_bytes([2; 16]));
        let lease = |attempt| Lease { id, attempt };
        let marks = [
            of(start, &lease(1)),
            of(start, &lease(2)),
            of(id, &lease(1)),
            of(start, &Lease { id: start, attempt: 1 }),
        ];
        assert!(marks.iter().all(|mark| *mark > FIRST));
        let distinct: std::collections::HashSet<_> = marks.into();
        assert_eq!((distinct.len(), of(start, &lease(1))), (4, marks[0]));
    }
}
