//! The bus admittance matrix and the power that voltages make it carry.

use crate::Error;
use crate::network::Network;
use faer::c64;
use faer::sparse::{SparseColMat, Triplet};

/// The bus admittance matrix Y with I = Y·V, by columns; its pattern is symmetric and has the whole diagonal.
#[derive(Debug, Clone)]
pub struct Admittance {
    matrix: SparseColMat<usize, c64>,
    /// The rounding error in p.u. that the power at each bus can have at voltages near 1.
    pub rounding: Vec<f64>,
}

impl Admittance {
    /// Adds up the branches in service and the shunts.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn new(network: &Network) -> Result<Self, Error> {
        let buses = network.shunts.len();
        let shunts = network.shunts.iter().enumerate().map(|(bus, &shunt)| Triplet::new(bus, bus, shunt));
        let branches = network.branches.iter().flatten().flat_map(|branch| {
            let (from, to) = (branch.from, branch.to);
            [(from, from, branch.ff), (from, to, branch.ft), (to, from, branch.tf), (to, to, branch.tt)]
                .map(|(row, col, value)| Triplet::new(row, col, value))
        });
        let entries: Vec<_> = shunts.chain(branches).collect();
        let mut rounding = vec![0.0; buses];
        for entry in &entries {
            rounding[entry.row] += 4.0 * f64::EPSILON * entry.val.norm();
        }
        let matrix = SparseColMat::try_new_from_triplets(buses, buses, &entries).map_err(|_| Error::OutOfMemory)?;
        Ok(Self { matrix, rounding })
    }

    /// The number of buses.
    pub fn buses(&self) -> usize {
        self.rounding.len()
    }

    /// Rows and values of a column, by rising row.
    pub fn column(&self, bus: usize) -> impl Iterator<Item = (usize, c64)> {
        self.matrix.row_idx_of_col_raw(bus).iter().copied().zip(self.matrix.val_of_col(bus).iter().copied())
    }

    /// Complex power S = V·(Y·V)* that flows from each bus into the network, its shunt included.
    pub fn injections(&self, voltages: &[c64]) -> Vec<c64> {
        let mut currents = vec![c64::new(0.0, 0.0); self.buses()];
        for (bus, &voltage) in voltages.iter().enumerate() {
            for (row, admittance) in self.column(bus) {
                currents[row] += admittance * voltage;
            }
        }
        voltages.iter().zip(currents).map(|(voltage, current)| voltage * current.conj()).collect()
    }
}
