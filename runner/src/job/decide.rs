//! What becomes of a job after an attempt: a pure function of the verdict and of where the job stands.

use super::{Class, State, Verdict};
use std::time::Duration;

/// The first back-off; each further one is twice as long.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// The longest back-off.
const LONGEST_BACKOFF: Duration = Duration::from_secs(600);

/// Where a job stands when an attempt ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Attempts that were started and count, this one included.
    pub attempts: u32,
    /// Attempts that the job may have: `max_attempts`, and as many again for every kick.
    pub granted: u32,
    /// Whether the submitter pinned the seed, and with it the attempt's course.
    pub seed_pinned: bool,
}

/// What becomes of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is done; its result is published.
    Finish,
    /// It is tried again after this long.
    Retry(Duration),
    /// It is dead until somebody kicks it.
    Bury,
    /// It is cancelled.
    Cancel,
}

impl Decision {
    /// The state that the job is in from then on.
    pub fn state(self) -> State {
        match self {
            Decision::Finish => State::Done,
            Decision::Retry(Duration::ZERO) => State::Ready,
            Decision::Retry(_) => State::Delayed,
            Decision::Bury => State::Dead,
            Decision::Cancel => State::Cancelled,
        }
    }
}

/// Decides what becomes of a job whose attempt ended in `verdict`.
///
/// `jitter`, from 0 to 1, lengthens a back-off by up to a quarter, so that jobs that failed together do not
/// come back together. A run that depends only on what is pinned is never repeated.
pub fn decide(verdict: &Verdict, standing: Standing, jitter: f64) -> Decision {
    // An interrupted attempt does not count, so it cannot have been the last one.
    if matches!(verdict, Verdict::Interrupted { .. }) {
        return Decision::Retry(Duration::ZERO);
    }
    let may_retry = standing.attempts < standing.granted;
    match verdict.class() {
        Class::Success => Decision::Finish,
        Class::Final => Decision::Cancel,
        Class::Permanent => Decision::Bury,
        Class::Reproducible if standing.seed_pinned => Decision::Bury,
        Class::Transient | Class::Reproducible if may_retry => {
            Decision::Retry(wait_after(verdict, standing.attempts, jitter))
        }
        Class::Transient | Class::Reproducible => Decision::Bury,
    }
}

fn wait_after(verdict: &Verdict, attempts: u32, jitter: f64) -> Duration {
    match verdict {
        Verdict::Lost { .. } => Duration::ZERO,
        Verdict::InputUnavailable { retry_after_ms: Some(millis), .. } => {
            backoff(attempts, Duration::from_millis(*millis), jitter)
        }
        _ => backoff(attempts, Duration::ZERO, jitter),
    }
}

/// How long to wait after so many failures, the first of which is number 1: a second, doubling, at most ten minutes.
///
/// A peer that `asked` for more gets it, up to the same ten minutes. `jitter` is as for [`decide`].
pub fn backoff(failures: u32, asked: Duration, jitter: f64) -> Duration {
    let doubled = FIRST_BACKOFF.saturating_mul(1 << failures.saturating_sub(1).min(20));
    let wait = doubled.max(asked).min(LONGEST_BACKOFF);
    wait.mul_f64(1.0 + 0.25 * jitter.clamp(0.0, 1.0)).min(LONGEST_BACKOFF)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Excess, LimitName};
    use proptest::prelude::*;

    fn standing(attempts: u32, granted: u32) -> Standing {
        Standing { attempts, granted, seed_pinned: false }
    }

    fn failed(permanent: bool) -> Verdict {
        Verdict::Failed { message: String::new(), permanent, exit_code: None }
    }

    fn out_of_fuel() -> Verdict {
        Verdict::OutOfFuel(Excess { limit: LimitName::Fuel, allowed: 1, observed: 1, message: String::new() })
    }

    #[test]
    fn a_transient_failure_is_tried_again_until_the_attempts_are_used_up() {
        assert_eq!(decide(&failed(false), standing(1, 3), 0.0), Decision::Retry(Duration::from_secs(1)));
        assert_eq!(decide(&failed(false), standing(2, 3), 0.0), Decision::Retry(Duration::from_secs(2)));
        assert_eq!(decide(&failed(false), standing(3, 3), 0.0), Decision::Bury);
    }

    #[test]
    fn a_permanent_failure_buries_the_job_at_once() {
        assert_eq!(decide(&failed(true), standing(1, 3), 0.0), Decision::Bury);
    }

    #[test]
    fn a_reproducible_ending_is_repeated_only_while_the_seed_is_free() {
        assert!(matches!(decide(&out_of_fuel(), standing(1, 3), 0.0), Decision::Retry(_)));
        let pinned = Standing { seed_pinned: true, ..standing(1, 3) };
        assert_eq!(decide(&out_of_fuel(), pinned, 0.0), Decision::Bury);
        assert!(matches!(decide(&failed(false), pinned, 0.0), Decision::Retry(_)));
    }

    #[test]
    fn a_job_that_lost_its_worker_comes_back_without_waiting() {
        let lost = Verdict::Lost { message: String::new() };
        assert_eq!(decide(&lost, standing(1, 3), 1.0), Decision::Retry(Duration::ZERO));
        assert_eq!(decide(&lost, standing(3, 3), 1.0), Decision::Bury);
        let interrupted = Verdict::Interrupted { message: String::new() };
        assert_eq!(decide(&interrupted, standing(3, 3), 1.0), Decision::Retry(Duration::ZERO));
    }

    #[test]
    fn a_server_that_asks_for_patience_gets_it() {
        let busy = Verdict::InputUnavailable {
            message: String::new(),
            permanent: false,
            retry_after_ms: Some(30_000),
            exceeded: None,
        };
        assert_eq!(decide(&busy, standing(1, 3), 0.0), Decision::Retry(Duration::from_secs(30)));
    }

    proptest! {
        #[test]
        fn a_backoff_is_from_one_second_to_ten_minutes(attempts in 1..u32::MAX, jitter in 0.0..1.0) {
            let Decision::Retry(wait) = decide(&failed(false), standing(attempts, u32::MAX), jitter) else {
                panic!("not retried");
            };
            prop_assert!(wait >= FIRST_BACKOFF && wait <= LONGEST_BACKOFF);
        }
    }
}
