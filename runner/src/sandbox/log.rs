//! A guest's log: its beginning and its end, and what can be read of it while the guest runs.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Keeps the first and the last half of what is written, and counts what was dropped between.
#[derive(Debug)]
pub struct Log {
    half: usize,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    dropped: u64,
}

impl Log {
    /// Keeps at most `size` bytes.
    pub fn new(size: u64) -> Self {
        let half = usize::try_from(size / 2).unwrap_or(usize::MAX);
        Self { half, head: Vec::new(), tail: VecDeque::new(), dropped: 0 }
    }

    /// Takes what the guest wrote.
    pub fn write(&mut self, bytes: &[u8]) {
        let (head, mut rest) = bytes.split_at(bytes.len().min(self.half - self.head.len()));
        self.head.extend_from_slice(head);
        if rest.len() > self.half {
            self.dropped += (rest.len() - self.half) as u64;
            rest = &rest[rest.len() - self.half..];
        }
        let excess = (self.tail.len() + rest.len()).saturating_sub(self.half);
        self.tail.drain(..excess);
        self.dropped += excess as u64;
        self.tail.extend(rest);
    }

    /// What was kept, with a line in the place of what was dropped.
    pub fn into_bytes(self) -> Vec<u8> {
        let mut bytes = self.head;
        if self.dropped > 0 {
            bytes.extend_from_slice(format!("\n[{} bytes dropped]\n", self.dropped).as_bytes());
        }
        bytes.extend(self.tail);
        bytes
    }
}

/// What a guest has written to its log and nobody has taken so far, for whoever follows a run. Only the
/// beginning of a log goes through, since its end is known when the guest has ended.
#[derive(Debug)]
pub struct LiveLog(Mutex<Untaken>);

#[derive(Debug)]
struct Untaken {
    bytes: Vec<u8>,
    /// How many more go through.
    left: usize,
}

impl LiveLog {
    /// A log of which the first `most` bytes can be followed.
    pub fn new(most: u64) -> Self {
        Self(Mutex::new(Untaken { bytes: Vec::new(), left: usize::try_from(most).unwrap_or(usize::MAX) }))
    }

    pub(crate) fn write(&self, bytes: &[u8]) {
        let mut untaken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = &bytes[..bytes.len().min(untaken.left)];
        untaken.left -= bytes.len();
        untaken.bytes.extend_from_slice(bytes);
    }

    /// What was written since the last time.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_log_is_followed_piece_by_piece_up_to_its_bound() {
        let log = LiveLog::new(5);
        log.write(b"ab");
        log.write(b"c");
        assert_eq!(log.take(), b"abc");
        log.write(b"defg");
        assert_eq!((log.take(), log.take()), (b"de".to_vec(), Vec::new()));
    }

    #[test]
    fn the_middle_of_a_long_log_is_dropped_and_counted() {
        let mut log = Log::new(8);
        for line in ["abc", "def", "ghi", "jkl"] {
            log.write(line.as_bytes());
        }
        assert_eq!(String::from_utf8(log.into_bytes()).unwrap(), "abcd\n[4 bytes dropped]\nijkl");
    }

    proptest! {
        #[test]
        fn a_log_within_its_size_is_kept_whole(chunks in prop::collection::vec("[a-z]{0,9}", 0..9)) {
            let whole = chunks.concat();
            let mut log = Log::new(whole.len() as u64 + 1);
            for chunk in &chunks {
                log.write(chunk.as_bytes());
            }
            prop_assert_eq!(log.into_bytes(), whole.into_bytes());
        }

        #[test]
        fn memory_stays_within_the_size(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..99), 0..20), size in 0u64..64) {
            let mut log = Log::new(size);
            for chunk in &chunks {
                log.write(chunk);
                prop_assert!((log.head.len() + log.tail.len()) as u64 <= size);
            }
        }
    }
}
