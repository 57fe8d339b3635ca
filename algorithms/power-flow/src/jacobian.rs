//! The Jacobian of the power equations in polar form.
//!
//! The unknowns are the angles at all buses but the slack and the magnitudes at `pq` buses; the equations are the
//! active power at the former and the reactive power at the latter, so that rows and columns share one numbering.
//! Columns of magnitudes are scaled by |V| (the unknown is Δ|V| / |V|), which makes every entry a part of
//! V_i·(Y_ij·V_j)*: W. F. Tinney and C. E. Hart, "Power flow solution by Newton's method", IEEE Transactions on
//! Power Apparatus and Systems PAS-86 (1967), 1449–1460.

use crate::admittance::Admittance;
use crate::case::BusType;
use faer::c64;
use faer::sparse::{SparseColMat, SymbolicSparseColMat};

/// Where each bus's unknowns stand; angle and magnitude of a bus are neighbours.
#[derive(Debug, Clone)]
pub struct Unknowns {
    /// Position of the angle, and of the active power equation.
    pub angle: Vec<Option<usize>>,
    /// Position of the magnitude, and of the reactive power equation.
    pub magnitude: Vec<Option<usize>>,
    /// How many there are.
    pub count: usize,
}

impl Unknowns {
    /// Numbers the unknowns in the order of the buses.
    pub fn new(kinds: &[BusType]) -> Self {
        let mut count = 0;
        let mut number = |is_unknown: bool| {
            is_unknown.then(|| {
                count += 1;
                count - 1
            })
        };
        let (angle, magnitude) =
            kinds.iter().map(|&kind| (number(kind != BusType::Slack), number(kind == BusType::Pq))).unzip();
        Self { angle, magnitude, count }
    }
}

/// The matrix, whose pattern is made once and whose values are filled in at every step.
#[derive(Debug, Clone)]
pub struct Jacobian {
    matrix: SparseColMat<usize, f64>,
}

impl Jacobian {
    /// Lays out the pattern.
    pub fn new(admittance: &Admittance, unknowns: &Unknowns) -> Self {
        let mut starts = vec![0];
        let mut rows = Vec::new();
        for bus in 0..admittance.buses() {
            for _column in [unknowns.angle[bus], unknowns.magnitude[bus]].into_iter().flatten() {
                for (row, _) in admittance.column(bus) {
                    rows.extend(unknowns.angle[row]);
                    rows.extend(unknowns.magnitude[row]);
                }
                starts.push(rows.len());
            }
        }
        let values = vec![0.0; rows.len()];
        let pattern = SymbolicSparseColMat::new_checked(unknowns.count, unknowns.count, starts, None, rows);
        Self { matrix: SparseColMat::new(pattern, values) }
    }

    /// The matrix as it was last filled.
    pub fn matrix(&self) -> &SparseColMat<usize, f64> {
        &self.matrix
    }

    /// Fills in the derivatives at `voltages`, which make the network draw `injections`.
    pub fn fill(&mut self, admittance: &Admittance, unknowns: &Unknowns, voltages: &[c64], injections: &[c64]) {
        let mut values = self.matrix.val_mut().iter_mut();
        let mut put = |row: Option<usize>, derivative: f64| {
            if row.is_some()
                && let Some(value) = values.next()
            {
                *value = derivative;
            }
        };
        for (bus, &voltage) in voltages.iter().enumerate() {
            let own = |row: usize| if row == bus { injections[bus] } else { c64::new(0.0, 0.0) };
            if unknowns.angle[bus].is_some() {
                for (row, entry) in admittance.column(bus) {
                    let shared = voltages[row] * (entry * voltage).conj();
                    put(unknowns.angle[row], shared.im - own(row).im);
                    put(unknowns.magnitude[row], own(row).re - shared.re);
                }
            }
            if unknowns.magnitude[bus].is_some() {
                for (row, entry) in admittance.column(bus) {
                    let shared = voltages[row] * (entry * voltage).conj();
                    put(unknowns.angle[row], shared.re + own(row).re);
                    put(unknowns.magnitude[row], shared.im + own(row).im);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case;
    use crate::network::Network;

    #[test]
    fn each_column_is_the_difference_quotient_of_the_injections() {
        let case = case::parse(include_bytes!("../data/case14.json")).unwrap();
        let network = Network::new(&case).unwrap();
        let admittance = Admittance::new(&network).unwrap();
        let unknowns = Unknowns::new(&network.kinds);
        let polar = |bus: usize, dm: f64, da: f64| {
            c64::from_polar((1.0 + 0.01 * bus as f64) * (1.0 + dm), -0.02 * bus as f64 + da)
        };
        let voltages: Vec<_> = (0..14).map(|bus| polar(bus, 0.0, 0.0)).collect();
        let mut jacobian = Jacobian::new(&admittance, &unknowns);
        jacobian.fill(&admittance, &unknowns, &voltages, &admittance.injections(&voltages));
        let dense = jacobian.matrix().to_dense();

        let step = 1e-6;
        for bus in 0..14 {
            for (column, dm, da) in [(unknowns.angle[bus], 0.0, step), (unknowns.magnitude[bus], step, 0.0)] {
                let Some(column) = column else { continue };
                let injections_at = |sign: f64| {
                    let mut moved = voltages.clone();
                    moved[bus] = polar(bus, sign * dm, sign * da);
                    admittance.injections(&moved)
                };
                for (row, (up, down)) in injections_at(1.0).into_iter().zip(injections_at(-1.0)).enumerate() {
                    let quotient = (up - down) / (2.0 * step);
                    for (equation, expected) in
                        [(unknowns.angle[row], quotient.re), (unknowns.magnitude[row], quotient.im)]
                    {
                        let Some(equation) = equation else { continue };
                        assert!((dense[(equation, column)] - expected).abs() < 1e-7);
                    }
                }
            }
        }
    }
}
