//! What several tests share: a physical model of a network that uses none of the crate's own computation.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of this")]

use faer::c64;
use power_flow::case::{Branch, Bus, BusType, Case, Generator};

pub const CASE14: &[u8] = include_bytes!("../../data/case14.json");

/// Numbers that look random and are the same everywhere (splitmix64).
pub struct Numbers(pub u64);

impl Numbers {
    /// Evenly distributed within `low..high`.
    pub fn within(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// One of `0..count`.
    pub fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The currents in p.u. that enter a branch, from the voltage behind its ideal transformer and Kirchhoff's laws.
pub fn currents(branch: &Branch, at_from: c64, at_to: c64) -> (c64, c64) {
    let ratio = c64::from_polar(if branch.tap == 0.0 { 1.0 } else { branch.tap }, branch.shift_deg.to_radians());
    let behind = at_from / ratio;
    let series = (behind - at_to) / c64::new(branch.r_pu, branch.x_pu);
    let half = c64::new(0.0, branch.b_pu / 2.0);
    ((series + behind * half) / ratio.conj(), at_to * half - series)
}

/// The power in p.u. that each bus feeds into branches and shunts at these voltages.
pub fn injections(case: &Case, voltages: &[c64]) -> Vec<c64> {
    let position = |id: &power_flow::case::BusId| case.buses.iter().position(|bus| bus.id == *id).unwrap();
    let mut currents_out: Vec<c64> = (case.buses.iter().zip(voltages))
        .map(|(bus, voltage)| voltage * c64::new(bus.gs_mw, bus.bs_mvar) / case.base_mva)
        .collect();
    for branch in case.branches.iter().filter(|branch| branch.in_service) {
        let (from, to) = (position(&branch.from), position(&branch.to));
        let (at_from, at_to) = currents(branch, voltages[from], voltages[to]);
        currents_out[from] += at_from;
        currents_out[to] += at_to;
    }
    voltages.iter().zip(currents_out).map(|(voltage, current)| voltage * current.conj()).collect()
}

/// A meshed network of `size` buses with lines, parallel lines, tap changers, phase shifters, shunts and branches
/// out of service, whose loads and generation are made to fit the voltages returned with it.
pub fn network_with_known_voltages(size: usize, seed: u64) -> (Case, Vec<c64>) {
    let mut numbers = Numbers(seed);
    let (mut angles, mut magnitudes) = (vec![0.0_f64], vec![1.02_f64]);
    let mut branches = Vec::new();
    for to in 1..size {
        let from = to - 1 - numbers.below(to.min(12));
        let branch = random_branch(&mut numbers, from, to);
        // Angle and magnitude follow the transformer, as they do in a real network.
        magnitudes.push((magnitudes[from] + numbers.within(-0.01, 0.01)).clamp(0.95, 1.08));
        angles.push(angles[from] - branch.shift_deg.to_radians() + numbers.within(-0.03, 0.03));
        if numbers.below(6) == 0 {
            branches.push(branch.clone());
        }
        branches.push(branch);
    }
    for _ in 0..size / 2 {
        let (from, to) = (numbers.below(size), numbers.below(size));
        // A mesh must not force large angles across a branch, or the voltages would be out of reach of any solver.
        if from != to && (angles[from] - angles[to]).abs() < 0.1 {
            let mut branch = random_branch(&mut numbers, from, to);
            (branch.shift_deg, branch.in_service) = (0.0, numbers.below(10) != 0);
            branches.push(branch);
        }
    }
    let voltages: Vec<_> = magnitudes.iter().zip(&angles).map(|(&vm, &va)| c64::from_polar(vm, va)).collect();
    let buses = (0..size).map(|bus| random_bus(&mut numbers, bus)).collect();
    let mut case = Case { base_mva: 100.0, buses, generators: Vec::new(), branches };
    fit(&mut case, &voltages);
    (case, voltages)
}

fn random_branch(numbers: &mut Numbers, from: usize, to: usize) -> Branch {
    let x_pu = numbers.within(0.02, 0.2);
    let kind = numbers.below(8);
    Branch {
        from: (from as i64).into(),
        to: (to as i64).into(),
        r_pu: x_pu * numbers.within(0.0, 0.5),
        x_pu,
        b_pu: if kind < 6 { numbers.within(0.0, 0.1) } else { 0.0 },
        tap: if kind >= 6 { numbers.within(0.98, 1.02) } else { 0.0 },
        shift_deg: if kind == 7 { numbers.within(-30.0, 30.0) } else { 0.0 },
        rate_a_mva: None,
        in_service: true,
    }
}

fn random_bus(numbers: &mut Numbers, bus: usize) -> Bus {
    let kind = match bus {
        0 => BusType::Slack,
        bus if bus % 5 == 0 => BusType::Pv,
        _ => BusType::Pq,
    };
    let shunt =
        if numbers.below(7) == 0 { (numbers.within(0.0, 2.0), numbers.within(-15.0, 20.0)) } else { (0.0, 0.0) };
    Bus { id: (bus as i64).into(), kind, pd_mw: 0.0, qd_mvar: 0.0, gs_mw: shunt.0, bs_mvar: shunt.1 }
}

/// Sets loads at `pq` buses and two generators at the others, so that `voltages` are a solution.
fn fit(case: &mut Case, voltages: &[c64]) {
    for (bus, power) in injections(case, voltages).into_iter().enumerate() {
        let power = power * case.base_mva;
        if case.buses[bus].kind == BusType::Pq {
            (case.buses[bus].pd_mw, case.buses[bus].qd_mvar) = (-power.re, -power.im);
            continue;
        }
        case.buses[bus].pd_mw = 10.0;
        for share in [0.25, 0.75] {
            case.generators.push(Generator {
                bus: (bus as i64).into(),
                pg_mw: share * (power.re + 10.0),
                qg_mvar: 0.0,
                vm_pu: Some(voltages[bus].norm()),
                in_service: true,
            });
        }
    }
}
