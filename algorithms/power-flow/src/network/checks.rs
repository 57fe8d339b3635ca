//! Ranges of all numbers of a case, wide enough for any real network.

use crate::Error;
use crate::case::{Branch, BusId, Case, Generator};

/// The least series impedance |r + jx| in p.u.: below it rounding eats the flow.
const LEAST_IMPEDANCE: f64 = 1e-8;

/// A range with how to write it in a message; both ends are allowed, and so no value that is not a number.
struct Range(f64, f64, &'static str);

const BASE: Range = Range(1e-6, 1e9, "1e-6 to 1e9 MVA");
const POWER: Range = Range(-1e9, 1e9, "-1e9 to 1e9 MW or Mvar");
const SET_POINT: Range = Range(0.2, 2.0, "0.2 to 2 p.u.");
const IMPEDANCE: Range = Range(-1e6, 1e6, "-1e6 to 1e6 p.u.");
const TAP: Range = Range(0.05, 20.0, "0.05 to 20, or 0 for none");
const SHIFT: Range = Range(-360.0, 360.0, "-360 to 360 degrees");
const RATING: Range = Range(0.0, 1e12, "0 to 1e12 MVA");

impl Range {
    fn check(&self, element: impl FnOnce() -> String, field: &'static str, value: f64) -> Result<(), Error> {
        if (self.0..=self.1).contains(&value) {
            return Ok(());
        }
        Err(Error::Value { element: element(), field, value, allowed: self.2.to_owned() })
    }
}

/// Checks every number of the case, those of elements out of service included.
pub(super) fn values(case: &Case) -> Result<(), Error> {
    BASE.check(|| "the case".to_owned(), "base_mva", case.base_mva)?;
    for (position, bus) in case.buses.iter().enumerate() {
        if let BusId::Text(id) = &bus.id
            && id.len() > BusId::LONGEST
        {
            return Err(Error::LongId { position, length: id.len(), limit: BusId::LONGEST });
        }
        let powers = [("pd_mw", bus.pd_mw), ("qd_mvar", bus.qd_mvar), ("gs_mw", bus.gs_mw), ("bs_mvar", bus.bs_mvar)];
        for (field, value) in powers {
            POWER.check(|| format!("bus[{position}] (id {})", bus.id), field, value)?;
        }
    }
    for (position, generator) in case.generators.iter().enumerate() {
        let element = || generator_name(position, generator);
        POWER.check(element, "pg_mw", generator.pg_mw)?;
        POWER.check(element, "qg_mvar", generator.qg_mvar)?;
        if let Some(vm) = generator.vm_pu {
            SET_POINT.check(element, "vm_pu", vm)?;
        }
    }
    case.branches.iter().enumerate().try_for_each(|(position, branch)| branch_values(position, branch))
}

fn branch_values(position: usize, branch: &Branch) -> Result<(), Error> {
    let element = || branch_name(position, branch);
    for (field, value) in [("r_pu", branch.r_pu), ("x_pu", branch.x_pu), ("b_pu", branch.b_pu)] {
        IMPEDANCE.check(element, field, value)?;
    }
    if branch.tap != 0.0 {
        TAP.check(element, "tap", branch.tap)?;
    }
    SHIFT.check(element, "shift_deg", branch.shift_deg)?;
    if let Some(rating) = branch.rate_a_mva {
        RATING.check(element, "rate_a_mva", rating)?;
    }
    let impedance = branch.r_pu.hypot(branch.x_pu);
    if branch.in_service && impedance < LEAST_IMPEDANCE {
        return Err(Error::ZeroImpedance { element: element(), impedance, least: LEAST_IMPEDANCE });
    }
    Ok(())
}

/// How messages name a branch.
pub(super) fn branch_name(position: usize, branch: &Branch) -> String {
    format!("branch[{position}] ({} to {})", branch.from.shortened(), branch.to.shortened())
}

/// How messages name a generator.
pub(super) fn generator_name(position: usize, generator: &Generator) -> String {
    format!("gen[{position}] (bus {})", generator.bus.shortened())
}
