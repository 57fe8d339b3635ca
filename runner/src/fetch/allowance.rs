//! How many bytes the inputs of one job may have.

use super::FetchError;

/// What is left of the bytes that all inputs of a job may have together: once as they are sent, and once as the
/// algorithm reads them, which is more where a server compresses.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    limit: u64,
    sent: u64,
    read: u64,
}

impl Allowance {
    /// So many bytes of either kind.
    pub fn of(limit: u64) -> Self {
        Self { limit, sent: 0, read: 0 }
    }

    /// How many bytes the algorithm is given so far.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// How many bytes the algorithm may still be given.
    pub fn left(&self) -> u64 {
        self.limit.saturating_sub(self.read)
    }

    /// Counts an input that was not sent.
    pub fn take(&mut self, bytes: u64) {
        self.sent = self.sent.saturating_add(bytes);
        self.read = self.read.saturating_add(bytes);
    }

    /// Counts bytes as they are sent, or are about to be.
    pub(super) fn take_sent(&mut self, bytes: u64) -> Result<(), FetchError> {
        self.sent = self.sent.saturating_add(bytes);
        if self.sent > self.limit {
            return Err(FetchError::TooLarge { at_most: self.limit, observed: self.sent, as_sent: true });
        }
        Ok(())
    }

    /// Counts bytes of a body that has been sent.
    pub(super) fn take_read(&mut self, bytes: u64) {
        self.read = self.read.saturating_add(bytes);
    }

    /// The error when a body turns out to have at least so many bytes, and they are more than are left.
    pub(super) fn exceeded(&self, bytes: u64) -> FetchError {
        FetchError::TooLarge { at_most: self.limit, observed: self.read.saturating_add(bytes), as_sent: false }
    }
}
