//! Newton's method on the power equations.

use crate::admittance::Admittance;
use crate::jacobian::{Jacobian, Unknowns};
use crate::lu::{Solver, Unsolved};
use crate::network::Network;
use faer::c64;
use std::f64::consts::{PI, TAU};

/// Voltages at all buses, in p.u. and radians.
#[derive(Debug, Clone, PartialEq)]
pub struct Voltages {
    /// Magnitudes.
    pub magnitude: Vec<f64>,
    /// Angles.
    pub angle: Vec<f64>,
}

/// How far an iteration came.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The voltages at the end.
    pub voltages: Voltages,
    /// The power in p.u. that they make each bus feed into the network.
    pub injections: Vec<c64>,
    /// The largest mismatch in p.u. at the start and after each step.
    pub history: Vec<f64>,
    /// Where the last of them is.
    pub worst: Worst,
    /// Why there is no solution; `None` if there is one.
    pub stopped: Option<Stop>,
}

/// The equation that is the furthest from being met.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Worst {
    /// The bus.
    pub bus: usize,
    /// Whether it is the reactive power's.
    pub reactive: bool,
}

/// Why an iteration ended without a solution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// `max_iterations` were made.
    Iterations,
    /// The voltages grew beyond all bounds.
    Unbounded,
    /// The Jacobian has no inverse.
    Singular,
    /// No damped step makes the mismatch smaller.
    Stalled,
    /// The factors do not fit into memory.
    OutOfMemory,
}

/// A mismatch in p.u. from which no iteration comes back.
const UNBOUNDED: f64 = 1e12;
/// Damped steps are halved as often as this.
const HALVINGS: usize = 10;

/// The equations of one network, with the pattern and the ordering of their Jacobian.
pub struct Equations<'a> {
    network: &'a Network,
    admittance: &'a Admittance,
    unknowns: Unknowns,
    jacobian: Jacobian,
    solver: Option<Solver>,
}

/// The power mismatch at some voltages.
struct Mismatch {
    injections: Vec<c64>,
    /// Scheduled less actual power by equation, in p.u.
    values: Vec<f64>,
    largest: f64,
    worst: Worst,
    solved: bool,
}

impl<'a> Equations<'a> {
    /// Lays out the Jacobian.
    pub fn new(network: &'a Network, admittance: &'a Admittance) -> Self {
        let unknowns = Unknowns::new(&network.kinds);
        let jacobian = Jacobian::new(admittance, &unknowns);
        Self { network, admittance, unknowns, jacobian, solver: None }
    }

    /// Iterates until all mismatches are within `tolerance` p.u., or where admittances are very large within what
    /// rounding leaves. A damped iteration halves each step until the sum of squares falls.
    pub fn iterate(&mut self, mut voltages: Voltages, tolerance: f64, max_iterations: usize, damped: bool) -> Outcome {
        let mut mismatch = self.mismatch(&voltages, tolerance);
        let mut history = vec![mismatch.largest];
        let stopped = loop {
            if mismatch.solved {
                break None;
            }
            if mismatch.largest >= UNBOUNDED {
                break Some(Stop::Unbounded);
            }
            if history.len() > max_iterations {
                break Some(Stop::Iterations);
            }
            let step = match self.step(&voltages, &mismatch) {
                Ok(step) => step,
                Err(Unsolved::Singular) => break Some(Stop::Singular),
                Err(Unsolved::OutOfMemory) => break Some(Stop::OutOfMemory),
            };
            let Some((next, at_next)) = self.advance(&voltages, &mismatch, &step, tolerance, damped) else {
                break Some(Stop::Stalled);
            };
            (voltages, mismatch) = (next, at_next);
            history.push(mismatch.largest);
        };
        Outcome { voltages, injections: mismatch.injections, history, worst: mismatch.worst, stopped }
    }

    /// The Newton step at `voltages`.
    fn step(&mut self, voltages: &Voltages, mismatch: &Mismatch) -> Result<Vec<f64>, Unsolved> {
        self.jacobian.fill(self.admittance, &self.unknowns, &voltages.complex(), &mismatch.injections);
        let matrix = self.jacobian.matrix();
        let solver = match &mut self.solver {
            Some(solver) => solver,
            none => none.insert(Solver::new(matrix.symbolic())?),
        };
        let mut step = mismatch.values.clone();
        solver.solve(matrix, &mut step)?;
        Ok(step)
    }

    /// Goes the step, or the largest part of it that is an improvement if it is to be damped.
    fn advance(
        &self,
        voltages: &Voltages,
        mismatch: &Mismatch,
        step: &[f64],
        tolerance: f64,
        damped: bool,
    ) -> Option<(Voltages, Mismatch)> {
        let squares = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>();
        let before = squares(&mismatch.values);
        let tries = if damped { HALVINGS } else { 0 };
        (0..=tries).find_map(|halvings| {
            let factor = 0.5_f64.powi(halvings as i32);
            let next = voltages.moved(&self.unknowns, step, factor);
            let at_next = self.mismatch(&next, tolerance);
            let improved = at_next.solved || squares(&at_next.values) < (1.0 - 0.1 * factor) * before;
            (improved || !damped).then_some((next, at_next))
        })
    }

    fn mismatch(&self, voltages: &Voltages, tolerance: f64) -> Mismatch {
        let injections = self.admittance.injections(&voltages.complex());
        let mut values = vec![0.0; self.unknowns.count];
        let (mut largest, mut worst, mut solved) = (0.0, Worst { bus: self.network.slack, reactive: false }, true);
        for (bus, injection) in injections.iter().enumerate() {
            let missing = self.network.scheduled[bus] - injection;
            let equations = [(self.unknowns.angle[bus], missing.re), (self.unknowns.magnitude[bus], missing.im)];
            for (reactive, (equation, value)) in [false, true].into_iter().zip(equations) {
                let Some(equation) = equation else { continue };
                values[equation] = value;
                // What is not a number must count as the largest, and compares as neither.
                let size = if value.is_nan() { f64::INFINITY } else { value.abs() };
                solved &= size <= tolerance.max(self.admittance.rounding[bus]);
                if size > largest {
                    (largest, worst) = (size, Worst { bus, reactive });
                }
            }
        }
        Mismatch { injections, values, largest, worst, solved }
    }
}

impl Voltages {
    /// The voltages as complex numbers.
    pub fn complex(&self) -> Vec<c64> {
        self.magnitude.iter().zip(&self.angle).map(|(&magnitude, &angle)| c64::from_polar(magnitude, angle)).collect()
    }

    /// The voltages after `factor` times `step`; a magnitude that falls below 0 is one with the opposite angle.
    fn moved(&self, unknowns: &Unknowns, step: &[f64], factor: f64) -> Self {
        let part = |position: &Option<usize>| position.map_or(0.0, |position| factor * step[position]);
        let (magnitude, angle) = (0..self.angle.len())
            .map(|bus| {
                let magnitude = self.magnitude[bus] * (1.0 + part(&unknowns.magnitude[bus]));
                let angle = self.angle[bus] + part(&unknowns.angle[bus]);
                if magnitude < 0.0 { (-magnitude, wrapped(angle + PI)) } else { (magnitude, wrapped(angle)) }
            })
            .unzip();
        Self { magnitude, angle }
    }
}

/// The same angle within (−π, π].
fn wrapped(angle: f64) -> f64 {
    if angle.abs() <= PI { angle } else { PI - (PI - angle).rem_euclid(TAU) }
}
