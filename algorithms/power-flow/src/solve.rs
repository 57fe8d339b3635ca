//! From a case to its voltages, by as many starts as it takes.

use crate::admittance::Admittance;
use crate::case::Case;
use crate::network::Network;
use crate::newton::{Equations, Outcome, Stop, Voltages};
use crate::params::{Params, Start, StartParam};
use crate::{Error, start};
use faer::c64;

/// A solved network.
#[derive(Debug, Clone)]
pub struct Solution {
    /// The network as it was solved.
    pub network: Network,
    /// Voltages at all buses.
    pub voltages: Voltages,
    /// Power in p.u. that each bus feeds into the network.
    pub injections: Vec<c64>,
    /// The largest mismatch in p.u. at the start and after each step.
    pub mismatch: Vec<f64>,
    /// The start that led there.
    pub start: Start,
    /// Whether steps had to be damped.
    pub damped: bool,
}

impl Solution {
    /// The Newton steps that were made from the start that led to the solution.
    pub fn iterations(&self) -> usize {
        self.mismatch.len() - 1
    }
}

/// One way to try.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    start: Start,
    damped: bool,
}

const FLAT: Attempt = Attempt { start: Start::Flat, damped: false };
const DC: Attempt = Attempt { start: Start::Dc, damped: false };
const DC_DAMPED: Attempt = Attempt { start: Start::Dc, damped: true };

impl StartParam {
    /// What is tried, in this order. The DC angles come first since they are near the solution where phase
    /// shifters or long distances make a flat start diverge.
    fn attempts(self) -> &'static [Attempt] {
        match self {
            Self::Auto => &[DC, FLAT, DC_DAMPED],
            Self::Flat => &[FLAT],
            Self::Dc => &[DC],
        }
    }
}

/// Solves the load flow of a case; limits of generators' reactive power are not enforced.
///
/// # Errors
/// What is wrong with the case, or [`Error::Diverged`] from the last start that was tried.
pub fn solve(case: &Case, params: &Params) -> Result<Solution, Error> {
    params.check()?;
    let network = Network::new(case)?;
    let admittance = Admittance::new(&network)?;
    let mut equations = Equations::new(&network, &admittance);
    let mut failed = None;
    for attempt in params.start.attempts() {
        let (voltages, start) = match attempt.start {
            Start::Flat => (start::flat(&network), Start::Flat),
            Start::Dc => start::dc(&network).map_or_else(|| (start::flat(&network), Start::Flat), |dc| (dc, Start::Dc)),
        };
        let outcome = equations.iterate(voltages, params.tolerance, params.max_iterations, attempt.damped);
        match outcome.stopped {
            None => {
                let Outcome { voltages, injections, history: mismatch, .. } = outcome;
                return Ok(Solution { network, voltages, injections, mismatch, start, damped: attempt.damped });
            }
            Some(Stop::OutOfMemory) => return Err(Error::OutOfMemory),
            Some(stop) => failed = Some((stop, outcome)),
        }
    }
    // Every `StartParam` has at least one attempt.
    Err(failed.map_or(Error::OutOfMemory, |(stop, outcome)| diverged(case, params.start, stop, &outcome)))
}

fn diverged(case: &Case, start: StartParam, stop: Stop, outcome: &Outcome) -> Error {
    let tried = match start {
        StartParam::Auto => "from DC angles, from a flat start, and from DC angles with damped steps",
        StartParam::Flat => "from a flat start",
        StartParam::Dc => "from DC angles",
    };
    let reason = match stop {
        Stop::Iterations => "no solution",
        Stop::Unbounded => "voltages beyond all bounds",
        Stop::Singular => "a singular Jacobian",
        Stop::Stalled | Stop::OutOfMemory => "no step that brings it nearer",
    };
    Error::Diverged {
        tried: tried.to_owned(),
        reason,
        iterations: outcome.history.len() - 1,
        mismatch: outcome.history.last().copied().unwrap_or(f64::NAN),
        power: if outcome.worst.reactive { "reactive" } else { "active" },
        bus: case.buses[outcome.worst.bus].id.clone(),
    }
}
