//! Which receivers are left alone for a while, so that one that does not answer keeps no result from the others.

use crate::job::backoff;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use url::Url;

/// The longest that a receiver is left alone of which nothing is heard: about as long as it may keep a try waiting.
const LEFT_ALONE: Duration = Duration::from_secs(30);
/// More receivers than these are not remembered.
const MOST: usize = 1000;

/// The receivers that were silent when they were last tried, by scheme, host and port.
///
/// Without them, what is due to a dead receiver would take all the places there are, and keep each for as long as a
/// connection may take.
#[derive(Debug, Default)]
pub(super) struct Receivers(Mutex<HashMap<String, Silence>>);

#[derive(Debug)]
struct Silence {
    /// When nothing was heard of it for the first time.
    since: Instant,
    /// Tries in a row of which nothing was heard; such as were made at once count as one.
    tries: u32,
    /// Until then nothing is sent.
    until: Instant,
    /// Whether a result is just finding out whether it has ended.
    is_probed: bool,
}

/// Why a result is not sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LeftAlone {
    /// How long the result is to wait.
    pub(super) after: Duration,
    /// How long nothing was heard of its receiver.
    pub(super) silent: Duration,
}

impl Receivers {
    fn silent(&self) -> MutexGuard<'_, HashMap<String, Silence>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a result be sent to `url`, or says how long it is to wait: as long as if it had been tried as well, so that
    /// many that wait for one receiver are not looked at again and again. Of a silent receiver only one finds out at a
    /// time whether it answers again.
    pub(super) fn admit(&self, url: &Url, jitter: f64, now: Instant) -> Result<(), LeftAlone> {
        match self.silent().get_mut(&name(url)) {
            Some(silence) if silence.until > now => Err(LeftAlone {
                after: backoff(silence.tries, silence.until - now, jitter),
                silent: now.saturating_duration_since(silence.since),
            }),
            Some(silence) => {
                (silence.until, silence.is_probed) = (now + LEFT_ALONE, true);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A receiver has said something, whatever it was.
    pub(super) fn answered(&self, url: &Url) {
        self.silent().remove(&name(url));
    }

    /// Nothing was heard of a receiver: it is left alone for a second, and twice as long each time.
    pub(super) fn kept_silent(&self, url: &Url, now: Instant) {
        let mut silent = self.silent();
        if let Some(silence) = silent.get_mut(&name(url)) {
            if silence.is_probed {
                silence.tries = silence.tries.saturating_add(1);
                silence.until = now + backoff(silence.tries, Duration::ZERO, 0.0).min(LEFT_ALONE);
                silence.is_probed = false;
            }
            return;
        }
        if silent.len() >= MOST {
            silent.retain(|_, silence| silence.until > now);
        }
        if silent.len() < MOST {
            let until = now + backoff(1, Duration::ZERO, 0.0);
            silent.insert(name(url), Silence { since: now, tries: 1, until, is_probed: false });
        }
    }
}

fn name(url: &Url) -> String {
    url.origin().ascii_serialization()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn a_silent_receiver_is_left_alone_and_then_tried_by_one_at_a_time() {
        let (start, receivers) = (Instant::now(), Receivers::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        let wait =
            |after, silent| Err(LeftAlone { after: Duration::from_secs(after), silent: Duration::from_secs(silent) });
        let dead = url("http://a.example/1");
        let admit = |seconds| receivers.admit(&url("http://me@a.example:80/2"), 0.0, at(seconds));
        for _ in 0..8 {
            receivers.kept_silent(&dead, at(0));
        }
        assert_eq!((admit(0), admit(1)), (wait(1, 0), Ok(())), "eight at once were one try");
        assert_eq!(admit(1), wait(30, 1), "one finds out");
        receivers.kept_silent(&dead, at(2));
        assert_eq!((admit(2), admit(4)), (wait(2, 2), Ok(())));
        assert_eq!(receivers.admit(&url("http://a.example:81/"), 0.0, at(4)), Ok(()), "another receiver");
        receivers.answered(&dead);
        assert_eq!((admit(4), admit(4)), (Ok(()), Ok(())));
    }

    #[test]
    fn a_receiver_that_has_long_been_silent_is_tried_every_half_minute_and_most_that_is_due_waits_for_longer() {
        let (start, receivers) = (Instant::now(), Receivers::default());
        let (dead, mut now) = (url("http://a.example/"), start);
        let (mut waits, mut others) = (Vec::new(), Vec::new());
        for _ in 0..12 {
            receivers.kept_silent(&dead, now);
            others.push(receivers.admit(&dead, 0.0, now).unwrap_err().after.as_secs());
            let wait = (0..60).find(|wait| receivers.admit(&dead, 0.0, now + Duration::from_secs(*wait)).is_ok());
            waits.push(wait.unwrap());
            now += Duration::from_secs(wait.unwrap());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 30, 30]);
        assert_eq!(others, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
    }

    #[test]
    fn no_more_receivers_are_remembered_than_there_is_room_for() {
        let (start, receivers) = (Instant::now(), Receivers::default());
        for host in 0..2 * MOST {
            receivers.kept_silent(&url(&format!("http://{host}.example/")), start);
        }
        assert_eq!(receivers.silent().len(), MOST);
        receivers.kept_silent(&url("http://late.example/"), start + LEFT_ALONE);
        assert_eq!(receivers.silent().len(), 1);
    }
}
