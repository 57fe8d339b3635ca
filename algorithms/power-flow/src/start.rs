//! The voltages from which the iteration sets out.

use crate::case::BusType;
use crate::lu::{Solver, Unsolved};
use crate::network::Network;
use crate::newton::Voltages;
use faer::sparse::{SparseColMat, Triplet};

/// All angles 0, magnitudes at their set points.
pub fn flat(network: &Network) -> Voltages {
    Voltages { magnitude: network.set_points.clone(), angle: vec![0.0; network.set_points.len()] }
}

/// Magnitudes at their set points, and the angles of the DC load flow: active power alone, in a network without
/// losses at 1 p.u., with phase shifts as injections (B. Stott, J. Jardim, O. Alsaç, "DC power flow revisited",
/// IEEE Transactions on Power Systems 24 (2009), 1290–1300). `None` if the network has no such solution.
pub fn dc(network: &Network) -> Option<Voltages> {
    let mut voltages = flat(network);
    let unknowns = Unknowns::new(network);
    let mut power = vec![0.0; unknowns.count];
    for (bus, position) in unknowns.positions.iter().enumerate() {
        if let Some(position) = *position {
            power[position] = network.scheduled[bus].re - network.shunts[bus].re;
        }
    }
    let mut entries = Vec::new();
    for branch in network.branches.iter().flatten() {
        let (from, to) = (unknowns.positions[branch.from], unknowns.positions[branch.to]);
        for (row, other, sign) in [(from, to, 1.0), (to, from, -1.0)] {
            let Some(row) = row else { continue };
            power[row] += sign * branch.dc * branch.shift;
            entries.push(Triplet::new(row, row, branch.dc));
            entries.extend(other.map(|column| Triplet::new(row, column, -branch.dc)));
        }
    }
    solve(unknowns.count, &entries, &mut power).ok()?;
    for (angle, position) in voltages.angle.iter_mut().zip(&unknowns.positions) {
        *angle = position.map_or(0.0, |position| power[position]);
    }
    Some(voltages)
}

fn solve(count: usize, entries: &[Triplet<usize, usize, f64>], unknowns: &mut [f64]) -> Result<(), Unsolved> {
    if count == 0 {
        return Ok(());
    }
    let matrix = SparseColMat::try_new_from_triplets(count, count, entries).map_err(|_| Unsolved::OutOfMemory)?;
    Solver::new(matrix.symbolic())?.solve(&matrix, unknowns)
}

/// The angles sought, numbered.
struct Unknowns {
    positions: Vec<Option<usize>>,
    count: usize,
}

impl Unknowns {
    fn new(network: &Network) -> Self {
        let mut count = 0;
        let number = |kind: &BusType| {
            (*kind != BusType::Slack).then(|| {
                count += 1;
                count - 1
            })
        };
        let positions = network.kinds.iter().map(number).collect();
        Self { positions, count }
    }
}
