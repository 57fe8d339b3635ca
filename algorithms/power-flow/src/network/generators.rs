//! What the generators of a bus give together.

use super::{Index, checks, find};
use crate::Error;
use crate::case::{BusType, Case, Generator};
use faer::c64;

/// Generation by bus.
pub(super) struct Generation {
    /// Types as they are solved: a `pv` bus whose generators are all out of service is a `pq` bus.
    pub(super) kinds: Vec<BusType>,
    /// Power fed in, in MW and Mvar.
    pub(super) power_mva: Vec<c64>,
    /// Voltage held in p.u.; 1 at `pq` buses.
    pub(super) set_points: Vec<f64>,
    pub(super) warnings: Vec<String>,
}

/// The generators at one bus.
#[derive(Clone, Copy, Default)]
struct AtBus {
    power_mva: c64,
    /// Position of the first generator that holds the voltage, and the voltage.
    held: Option<(usize, f64)>,
    /// Whether there is a generator that is switched off.
    idle: bool,
}

/// Adds up the generators of each bus and checks that they agree about its voltage.
pub(super) fn aggregate(case: &Case, index: &Index<'_>) -> Result<Generation, Error> {
    let mut at_buses = vec![AtBus::default(); case.buses.len()];
    for (position, generator) in case.generators.iter().enumerate() {
        let bus = find(index, &generator.bus, || format!("gen[{position}]"))?;
        let at_bus = &mut at_buses[bus];
        if !generator.in_service {
            at_bus.idle = true;
            continue;
        }
        at_bus.power_mva += c64::new(generator.pg_mw, generator.qg_mvar);
        if case.buses[bus].kind != BusType::Pq {
            at_bus.held = Some(held(case, at_bus.held, position, generator)?);
        }
    }
    decide(case, &at_buses)
}

/// The voltage that a bus is held at, one more generator considered.
fn held(
    case: &Case,
    before: Option<(usize, f64)>,
    position: usize,
    generator: &Generator,
) -> Result<(usize, f64), Error> {
    let name = |position: usize| checks::generator_name(position, &case.generators[position]);
    let second_vm = generator.vm_pu.ok_or_else(|| Error::MissingSetPoint { element: name(position) })?;
    match before {
        Some((first, first_vm)) if first_vm != second_vm => {
            Err(Error::SetPointsDiffer { first: name(first), second: name(position), first_vm, second_vm })
        }
        Some(before) => Ok(before),
        None => Ok((position, second_vm)),
    }
}

fn decide(case: &Case, at_buses: &[AtBus]) -> Result<Generation, Error> {
    let mut warnings = Vec::new();
    let mut kinds = Vec::with_capacity(at_buses.len());
    for (bus, at_bus) in case.buses.iter().zip(at_buses) {
        let refused = |kind, why| Err(Error::NoSetPoint { id: bus.id.clone(), kind, why });
        kinds.push(match (bus.kind, at_bus.held, at_bus.idle) {
            (BusType::Slack, None, false) => return refused("slack", "stands at it"),
            (BusType::Slack, None, true) => return refused("slack", "at it is in service"),
            (BusType::Pv, None, false) => return refused("pv", "stands at it"),
            (BusType::Pv, None, true) => {
                warnings.push(format!("pv bus {} is solved as pq: no generator at it is in service", bus.id));
                BusType::Pq
            }
            (kind, ..) => kind,
        });
    }
    Ok(Generation {
        kinds,
        power_mva: at_buses.iter().map(|at_bus| at_bus.power_mva).collect(),
        set_points: at_buses.iter().map(|at_bus| at_bus.held.map_or(1.0, |(_, vm)| vm)).collect(),
        warnings,
    })
}
