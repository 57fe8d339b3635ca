//! The result: voltages, flows, generation and losses in the case's own units and order.

use crate::case::{BusId, BusType, Case};
use crate::network::TwoPort;
use crate::params::Start;
use crate::solve::Solution;
use faer::c64;
use serde::Serialize;
use std::io::{self, Write};

/// A voltage in p.u. below which a solution is hardly one that a network could run at.
const LOW_VOLTAGE: f64 = 0.5;

/// What the algorithm returns.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The power in MVA that per-unit values refer to.
    pub base_mva: f64,
    /// Voltages in the order of the case.
    pub bus: Vec<BusVoltage>,
    /// Flows in the order of the case; absent if the result would be too long with them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<Vec<BranchFlow>>,
    /// Generation at slack and `pv` buses in the order of the buses.
    pub generation: Vec<Generation>,
    /// Active power lost in all branches, in MW.
    pub losses_mw: f64,
    /// Newton steps.
    pub iterations: usize,
    /// The largest mismatch in p.u. at the start and after each step.
    pub mismatch: Vec<f64>,
    /// The start that led to the solution.
    pub start: Start,
    /// Whether steps had to be damped.
    pub damped: bool,
    /// What the submitter should know.
    pub warnings: Vec<String>,
}

/// The voltage at a bus.
#[derive(Debug, Clone, Serialize)]
pub struct BusVoltage {
    /// The bus.
    pub id: BusId,
    /// Magnitude in p.u.
    pub vm_pu: f64,
    /// Angle against the slack bus in degrees, within (−180, 180].
    pub va_deg: f64,
}

/// The power that enters a branch at its ends; all 0 if it is out of service.
#[derive(Debug, Clone, Serialize)]
pub struct BranchFlow {
    /// The end with the tap changer.
    pub from: BusId,
    /// The other end.
    pub to: BusId,
    /// Whether it is switched in.
    pub in_service: bool,
    /// Active power in MW that enters at `from`.
    pub p_from_mw: f64,
    /// Reactive power in Mvar that enters at `from`.
    pub q_from_mvar: f64,
    /// Active power in MW that enters at `to`.
    pub p_to_mw: f64,
    /// Reactive power in Mvar that enters at `to`.
    pub q_to_mvar: f64,
    /// Active power that the branch keeps, in MW.
    pub losses_mw: f64,
    /// The larger apparent power of both ends in per cent of the rating, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loading_percent: Option<f64>,
}

/// What all generators at a bus produce together.
#[derive(Debug, Clone, Serialize)]
pub struct Generation {
    /// The bus.
    pub bus: BusId,
    /// Active power in MW.
    pub p_mw: f64,
    /// Reactive power in Mvar.
    pub q_mvar: f64,
}

impl Report {
    /// Computes flows, generation and losses from the voltages of the case's solution.
    pub fn new(case: &Case, solution: Solution) -> Self {
        let voltages = solution.voltages.complex();
        let branch: Vec<_> = case
            .branches
            .iter()
            .zip(&solution.network.branches)
            .map(|(branch, two_port)| flow(branch, two_port.as_ref(), &voltages, case.base_mva))
            .collect();
        let bus: Vec<_> = (case.buses.iter().zip(&solution.voltages.magnitude).zip(&solution.voltages.angle))
            .map(|((bus, &vm_pu), angle)| BusVoltage { id: bus.id.clone(), vm_pu, va_deg: angle.to_degrees() })
            .collect();
        let iterations = solution.iterations();
        let mut warnings = solution.network.warnings;
        if let Some(lowest) = bus.iter().min_by(|a, b| a.vm_pu.total_cmp(&b.vm_pu))
            && lowest.vm_pu < LOW_VOLTAGE
        {
            warnings.push(format!(
                "the voltage at bus {} is {:.3} p.u.: this may be a second solution at which no network is run",
                lowest.id, lowest.vm_pu
            ));
        }
        let generation = (case.buses.iter().zip(&solution.network.kinds).zip(&solution.injections))
            .filter(|((_, kind), _)| **kind != BusType::Pq)
            .map(|((bus, _), injection)| Generation {
                bus: bus.id.clone(),
                p_mw: injection.re * case.base_mva + bus.pd_mw,
                q_mvar: injection.im * case.base_mva + bus.qd_mvar,
            })
            .collect();
        Self {
            base_mva: case.base_mva,
            losses_mw: branch.iter().map(|flow| flow.losses_mw).sum(),
            bus,
            branch: Some(branch),
            generation,
            iterations,
            mismatch: solution.mismatch,
            start: solution.start,
            damped: solution.damped,
            warnings,
        }
    }

    /// The report as a document of at most `limit` bytes: without the branches if it takes that.
    #[must_use]
    pub fn within(mut self, limit: u64) -> Self {
        let mut size = Size(0);
        if serde_json::to_writer(&mut size, &self).is_err() || size.0 > limit {
            self.branch = None;
            self.warnings.push(
                "`branch` is left out, since the result would exceed `document_size`: \
                see branch.csv"
                    .to_owned(),
            );
        }
        self
    }
}

fn flow(branch: &crate::case::Branch, two_port: Option<&TwoPort>, voltages: &[c64], base_mva: f64) -> BranchFlow {
    let zero = c64::new(0.0, 0.0);
    let (at_from, at_to) = two_port.map_or((zero, zero), |two_port| {
        let (from, to) = (voltages[two_port.from], voltages[two_port.to]);
        let at_from = from * (two_port.ff * from + two_port.ft * to).conj();
        let at_to = to * (two_port.tf * from + two_port.tt * to).conj();
        (at_from * base_mva, at_to * base_mva)
    });
    let rating = branch.rate_a_mva.filter(|&rating| rating > 0.0);
    BranchFlow {
        from: branch.from.clone(),
        to: branch.to.clone(),
        in_service: branch.in_service,
        p_from_mw: at_from.re,
        q_from_mvar: at_from.im,
        p_to_mw: at_to.re,
        q_to_mvar: at_to.im,
        losses_mw: at_from.re + at_to.re,
        loading_percent: rating.map(|rating| 100.0 * at_from.norm().max(at_to.norm()) / rating),
    }
}

/// Counts the bytes written to it.
struct Size(u64);

impl Write for Size {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
