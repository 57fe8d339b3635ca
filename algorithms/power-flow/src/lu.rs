//! Sparse LU factors, with the ordering and the workspace kept from one matrix to the next.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::lu::partial_pivoting::factor::PartialPivLuParams;
use faer::sparse::linalg::LuError;
use faer::sparse::linalg::lu::{LuSymbolicParams, NumericLu, SymbolicLu, factorize_symbolic_lu};
use faer::sparse::{SparseColMat, SymbolicSparseColMatRef};
use faer::{ColMut, Conj, Par, Spec};

/// Solves systems whose matrices share one pattern.
pub(crate) struct Solver {
    symbolic: SymbolicLu<usize>,
    numeric: NumericLu<usize, f64>,
    workspace: MemBuffer,
}

/// Why there is no solution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsolved {
    /// The matrix is singular, or so nearly that the solution is not finite.
    Singular,
    /// The factors do not fit into memory.
    OutOfMemory,
}

impl Solver {
    /// Orders the columns of the pattern for little fill-in (COLAMD) and provides the workspace.
    pub(crate) fn new(pattern: SymbolicSparseColMatRef<'_, usize>) -> Result<Self, Unsolved> {
        let symbolic =
            factorize_symbolic_lu(pattern, LuSymbolicParams::default()).map_err(|_| Unsolved::OutOfMemory)?;
        let factorise = symbolic.factorize_numeric_lu_scratch::<f64>(Par::Seq, pivoting());
        let solve = symbolic.solve_in_place_scratch::<f64>(1, Par::Seq);
        let workspace = MemBuffer::try_new(factorise.or(solve)).map_err(|_| Unsolved::OutOfMemory)?;
        Ok(Self { symbolic, numeric: NumericLu::new(), workspace })
    }

    /// Replaces `unknowns`, the right-hand side, by the solution.
    pub(crate) fn solve(&mut self, matrix: &SparseColMat<usize, f64>, unknowns: &mut [f64]) -> Result<(), Unsolved> {
        let stack = MemStack::new(&mut self.workspace);
        self.symbolic
            .factorize_numeric_lu(&mut self.numeric, matrix.as_ref(), Par::Seq, stack, pivoting())
            .map_err(|error| match error {
                LuError::SymbolicSingular { .. } => Unsolved::Singular,
                LuError::Generic(_) => Unsolved::OutOfMemory,
            })?
            .solve_in_place_with_conj(Conj::No, ColMut::from_slice_mut(unknowns).as_mat_mut(), Par::Seq, stack);
        if unknowns.iter().all(|unknown| unknown.is_finite()) { Ok(()) } else { Err(Unsolved::Singular) }
    }
}

fn pivoting() -> Spec<PartialPivLuParams, f64> {
    Spec::default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use faer::sparse::Triplet;

    fn matrix(entries: &[(usize, usize, f64)]) -> SparseColMat<usize, f64> {
        let entries: Vec<_> = entries.iter().map(|&(row, col, value)| Triplet::new(row, col, value)).collect();
        SparseColMat::try_new_from_triplets(2, 2, &entries).unwrap()
    }

    #[test]
    fn one_solver_takes_one_matrix_after_another() {
        let first = matrix(&[(0, 0, 0.0), (0, 1, 2.0), (1, 0, 4.0), (1, 1, 1.0)]);
        let second = matrix(&[(0, 0, 1.0), (0, 1, 1.0), (1, 0, 0.0), (1, 1, 1.0)]);
        let mut solver = Solver::new(first.symbolic()).unwrap();
        let mut unknowns = [6.0, 7.0];
        solver.solve(&first, &mut unknowns).unwrap();
        assert_eq!(unknowns, [1.0, 3.0]);
        solver.solve(&second, &mut unknowns).unwrap();
        assert_eq!(unknowns, [-2.0, 3.0]);
    }

    #[test]
    fn a_singular_matrix_is_told_from_a_solvable_one() {
        let singular = matrix(&[(0, 0, 1.0), (0, 1, 2.0), (1, 0, 2.0), (1, 1, 4.0)]);
        let mut solver = Solver::new(singular.symbolic()).unwrap();
        assert_eq!(solver.solve(&singular, &mut [1.0, 1.0]), Err(Unsolved::Singular));
    }
}
