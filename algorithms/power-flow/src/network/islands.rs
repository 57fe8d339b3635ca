//! Whether the slack bus supplies every bus.

use super::TwoPort;
use crate::Error;
use crate::case::Case;

/// Refuses a network with buses that no path of branches in service joins to the slack bus.
pub(super) fn refuse(case: &Case, slack: usize, branches: &[Option<TwoPort>]) -> Result<(), Error> {
    let buses = case.buses.len();
    let mut groups = Groups((0..buses).collect());
    for branch in branches.iter().flatten() {
        groups.join(branch.from, branch.to);
    }
    let main = groups.of(slack);
    let mut cut_off = (0..buses).filter(|&bus| groups.of(bus) != main);
    let Some(example) = cut_off.next() else { return Ok(()) };
    let count = 1 + cut_off.count();
    let id = |bus: usize| case.buses[bus].id.clone();
    Err(Error::Island { example: id(example), count, buses, slack: id(slack) })
}

/// Disjoint sets (union–find with path halving); each bus knows one nearer to its set's root.
struct Groups(Vec<usize>);

impl Groups {
    fn of(&mut self, mut bus: usize) -> usize {
        while self.0[bus] != bus {
            self.0[bus] = self.0[self.0[bus]];
            bus = self.0[bus];
        }
        bus
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.of(one), self.of(other));
        self.0[one] = other;
    }
}
