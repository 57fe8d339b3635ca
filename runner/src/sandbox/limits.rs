//! Counting what a guest uses, and remembering what it was refused.

use super::engine::MAX_TABLE_ELEMENTS;
use crate::job::{Excess, LimitName};
use wasmtime::ResourceLimiter;

/// What a table element costs: the host keeps a pointer for each.
const TABLE_ELEMENT: usize = std::mem::size_of::<usize>();

/// A request above a limit that the guest was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Which limit.
    pub limit: LimitName,
    /// What is allowed.
    pub allowed: u64,
    /// What the guest would have used.
    pub observed: u64,
    /// What the figures are for, in a sentence, if they are not for the whole limit.
    pub share: &'static str,
}

impl Refusal {
    /// The refusal as part of a verdict, after `what` the guest did.
    pub fn excess(self, what: &str) -> Excess {
        let (allowed, observed) = (self.limit.display(self.allowed), self.limit.display(self.observed));
        Excess {
            limit: self.limit,
            allowed: self.allowed,
            observed: self.observed,
            message: format!(
                "{what}: it wanted {observed} where the limit `{}` allows {allowed}{}",
                self.limit, self.share
            ),
        }
    }
}

/// All linear memories and tables of a guest together.
#[derive(Debug)]
pub struct Memory {
    allowed: u64,
    used: u64,
    peak: u64,
    refused: Option<Refusal>,
}

impl Memory {
    /// So many bytes.
    pub fn new(allowed: u64) -> Self {
        Self { allowed, used: 0, peak: 0, refused: None }
    }

    /// The most bytes at any time.
    pub fn peak(&self) -> u64 {
        self.peak
    }

    /// The first growth that was refused.
    pub fn refused(&self) -> Option<Refusal> {
        self.refused
    }

    fn grow(&mut self, by: u64) -> bool {
        let wanted = self.used.saturating_add(by);
        if wanted > self.allowed {
            let refusal = Refusal { limit: LimitName::Memory, allowed: self.allowed, observed: wanted, share: "" };
            self.refused.get_or_insert(refusal);
            return false;
        }
        self.used = wanted;
        self.peak = self.peak.max(wanted);
        true
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        // Growth beyond the memory's own maximum fails whatever is answered, so it is not charged.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        Ok(self.grow(desired.saturating_sub(current) as u64))
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if let Some(maximum) = maximum.filter(|maximum| desired > *maximum) {
            // The table's own maximum is nobody's limit, but the engine's is: a table's share of all memory.
            if maximum == MAX_TABLE_ELEMENTS {
                let [allowed, observed] =
                    [maximum, desired].map(|elements| elements.saturating_mul(TABLE_ELEMENT) as u64);
                self.refused.get_or_insert(Refusal {
                    limit: LimitName::Memory,
                    allowed,
                    observed,
                    share: " for one table",
                });
            }
            return Ok(false);
        }
        Ok(self.grow(desired.saturating_sub(current).saturating_mul(TABLE_ELEMENT) as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_are_counted_together_and_the_first_refusal_is_remembered() {
        let mut memory = Memory::new(1000);
        assert!(memory.memory_growing(0, 600, None).unwrap());
        assert!(memory.table_growing(0, 50, None).unwrap());
        assert!(!memory.memory_growing(0, 10, None).unwrap());
        assert!(!memory.memory_growing(0, 99_999, None).unwrap());
        assert_eq!(memory.peak(), 1000);
        assert_eq!(memory.refused().map(|refusal| refusal.observed), Some(1010));
    }

    #[test]
    fn growth_beyond_a_memorys_own_maximum_is_nobodys_limit() {
        let mut memory = Memory::new(1000);
        assert!(!memory.memory_growing(0, 600, Some(500)).unwrap());
        assert!(!memory.table_growing(0, 60, Some(50)).unwrap());
        assert_eq!((memory.peak(), memory.refused()), (0, None));
        assert!(!memory.table_growing(0, MAX_TABLE_ELEMENTS + 1, Some(MAX_TABLE_ELEMENTS)).unwrap());
        let excess = memory.refused().unwrap().excess("it trapped");
        assert!(excess.observed > excess.allowed && excess.message.ends_with("for one table"), "{}", excess.message);
    }
}
