//! A guest's log: its beginning and its end.

use std::collections::VecDeque;

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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
