//! The network in indices and per unit, once every element of the case has been checked.

mod checks;
mod generators;
mod islands;

use crate::Error;
use crate::case::{BusId, BusType, Case};
use faer::c64;
use std::collections::BTreeMap;

/// A checked network; a bus is known by its position in the case, quantities are in p.u. and radians.
#[derive(Debug, Clone)]
pub struct Network {
    /// What is given at each bus.
    pub kinds: Vec<BusType>,
    /// The bus whose angle is 0.
    pub slack: usize,
    /// Generation less load at each bus; only what the bus's type gives has a meaning.
    pub scheduled: Vec<c64>,
    /// Shunt admittance at each bus.
    pub shunts: Vec<c64>,
    /// The voltage held at slack and `pv` buses, 1 at the others.
    pub set_points: Vec<f64>,
    /// The branches of the case in its order; `None` for one that is switched off.
    pub branches: Vec<Option<TwoPort>>,
    /// What the submitter should know about how the case was understood.
    pub warnings: Vec<String>,
}

/// A branch as seen from its ends: I from = ff·V from + ft·V to, I to = tf·V from + tt·V to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TwoPort {
    /// Bus at the end with the tap changer.
    pub from: usize,
    /// Bus at the other end.
    pub to: usize,
    /// Own admittance at `from`.
    pub ff: c64,
    /// Transfer admittance to the current at `from`.
    pub ft: c64,
    /// Transfer admittance to the current at `to`.
    pub tf: c64,
    /// Own admittance at `to`.
    pub tt: c64,
    /// Susceptance that the DC load flow uses.
    pub dc: f64,
    /// Phase shift in radians.
    pub shift: f64,
}

impl Network {
    /// Checks the case and brings it into per unit.
    ///
    /// # Errors
    /// The first fault found, naming the element.
    pub fn new(case: &Case) -> Result<Self, Error> {
        checks::values(case)?;
        let index = index(case)?;
        let slack = slack(case)?;
        let branches = two_ports(case, &index)?;
        let generation = generators::aggregate(case, &index)?;
        islands::refuse(case, slack, &branches)?;
        let base = case.base_mva;
        Ok(Self {
            kinds: generation.kinds,
            slack,
            scheduled: case
                .buses
                .iter()
                .zip(&generation.power_mva)
                .map(|(bus, &power)| (power - c64::new(bus.pd_mw, bus.qd_mvar)) / base)
                .collect(),
            shunts: case.buses.iter().map(|bus| c64::new(bus.gs_mw, bus.bs_mvar) / base).collect(),
            set_points: generation.set_points,
            branches,
            warnings: generation.warnings,
        })
    }
}

type Index<'a> = BTreeMap<&'a BusId, usize>;

fn index(case: &Case) -> Result<Index<'_>, Error> {
    let mut index = Index::new();
    for (second, bus) in case.buses.iter().enumerate() {
        if let Some(first) = index.insert(&bus.id, second) {
            return Err(Error::DuplicateBus { id: bus.id.clone(), first, second });
        }
    }
    if index.is_empty() { Err(Error::NoBuses) } else { Ok(index) }
}

fn find(index: &Index<'_>, id: &BusId, element: impl FnOnce() -> String) -> Result<usize, Error> {
    index.get(id).copied().ok_or_else(|| Error::UnknownBus { element: element(), id: id.shortened() })
}

fn slack(case: &Case) -> Result<usize, Error> {
    let mut slacks = (0..case.buses.len()).filter(|&bus| case.buses[bus].kind == BusType::Slack);
    match (slacks.next(), slacks.next()) {
        (None, _) => Err(Error::NoSlack),
        (Some(slack), None) => Ok(slack),
        (Some(first), Some(second)) => {
            Err(Error::SeveralSlacks { first: case.buses[first].id.clone(), second: case.buses[second].id.clone() })
        }
    }
}

/// The π model of each branch that is in service, after MATPOWER's manual, section 3.2; a branch out of service
/// must still name buses that exist.
fn two_ports(case: &Case, index: &Index<'_>) -> Result<Vec<Option<TwoPort>>, Error> {
    let two_port = |(position, branch): (usize, &crate::case::Branch)| {
        let element = || checks::branch_name(position, branch);
        let (from, to) = (find(index, &branch.from, element)?, find(index, &branch.to, element)?);
        if !branch.in_service {
            return Ok(None);
        }
        if from == to {
            return Err(Error::SelfLoop { element: element() });
        }
        let impedance = c64::new(branch.r_pu, branch.x_pu);
        let tap = if branch.tap == 0.0 { 1.0 } else { branch.tap };
        let shift = branch.shift_deg.to_radians();
        let ratio = c64::from_polar(tap, shift);
        let series = impedance.inv();
        let own = series + c64::new(0.0, branch.b_pu / 2.0);
        let reactance = if branch.x_pu.abs() > 1e-3 * impedance.norm() { branch.x_pu } else { impedance.norm() };
        Ok(Some(TwoPort {
            from,
            to,
            ff: own / (tap * tap),
            ft: -series / ratio.conj(),
            tf: -series / ratio,
            tt: own,
            dc: 1.0 / (reactance * tap),
            shift,
        }))
    };
    case.branches.iter().enumerate().map(two_port).collect()
}
