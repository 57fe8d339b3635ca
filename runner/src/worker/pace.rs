//! How fast slots become free.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// An attempt that held its slot for longer says nothing about how soon a slot will be free.
const QUICK: Duration = Duration::from_millis(20);
/// As many ends are remembered, and so as many jobs are claimed ahead at most.
const MOST: usize = 256;

/// The quick attempts that ended lately.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<VecDeque<Instant>>);

impl Pace {
    fn ends(&self) -> MutexGuard<'_, VecDeque<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a slot that is free at `now`, after so long.
    pub(super) fn ended(&self, took: Duration, now: Instant) {
        if took > QUICK {
            return;
        }
        let mut ends = self.ends();
        if ends.len() == MOST {
            ends.pop_front();
        }
        ends.push_back(now);
    }

    /// How many there were in the time before `now`.
    pub(super) fn within(&self, window: Duration, now: Instant) -> usize {
        let ends = self.ends();
        ends.len() - ends.partition_point(|end| now.saturating_duration_since(*end) > window)
    }

    /// Starts from nothing, since what was expected has not come about.
    pub(super) fn forget(&self) {
        self.ends().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_quick_attempts_of_late_count_and_not_too_many_of_them() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let pace = Pace::default();
        for (took, now) in [(1, 0), (3, 10), (500, 20), (2, 30)] {
            pace.ended(Duration::from_millis(took), at(now));
        }
        let within = |window, now| pace.within(Duration::from_millis(window), at(now));
        assert_eq!((within(20, 30), within(30, 30), within(5, 50)), (2, 3, 0));
        for _ in 0..1000 {
            pace.ended(QUICK, at(60));
        }
        assert_eq!(within(20, 60), MOST);
        pace.forget();
        assert_eq!(within(20, 60), 0);
    }
}
