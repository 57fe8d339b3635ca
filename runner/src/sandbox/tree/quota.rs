//! The quota on the result directory.

use super::TreeError;
use crate::job::LimitName;
use crate::sandbox::limits::Refusal;

/// The quota on the result directory.
#[derive(Debug)]
pub struct Quota {
    allowed_bytes: u64,
    allowed_entries: u64,
    bytes: u64,
    entries: u64,
    refused: Option<Refusal>,
}

impl Quota {
    /// So many bytes and so many entries.
    pub fn new(bytes: u64, entries: u32) -> Self {
        Self { allowed_bytes: bytes, allowed_entries: u64::from(entries), bytes: 0, entries: 0, refused: None }
    }

    /// Bytes and entries in use.
    #[cfg(test)]
    pub fn used(&self) -> (u64, u64) {
        (self.bytes, self.entries)
    }

    /// The first request that was refused.
    pub fn refused(&self) -> Option<Refusal> {
        self.refused
    }

    /// Remembers a refusal of what is bounded elsewhere, such as the returned document.
    pub fn remember(&mut self, refusal: Refusal) {
        self.refused.get_or_insert(refusal);
    }

    pub(super) fn add_entry(&mut self) -> Result<(), TreeError> {
        let observed = self.entries + 1;
        if observed > self.allowed_entries {
            self.remember(Refusal {
                limit: LimitName::ResultFiles,
                allowed: self.allowed_entries,
                observed,
                share: "",
            });
            return Err(TreeError::Quota);
        }
        self.entries = observed;
        Ok(())
    }

    pub(super) fn remove_entry(&mut self) {
        self.entries = self.entries.saturating_sub(1);
    }

    pub(super) fn resize(&mut self, old: u64, new: u64) -> Result<(), TreeError> {
        let observed = self.bytes.saturating_sub(old).saturating_add(new);
        if new > old && observed > self.allowed_bytes {
            self.remember(Refusal { limit: LimitName::ResultSize, allowed: self.allowed_bytes, observed, share: "" });
            return Err(TreeError::InsufficientSpace);
        }
        self.bytes = observed;
        Ok(())
    }

    pub(super) fn give_back(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}
