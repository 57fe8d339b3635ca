//! Larger systems, checked by Kirchhoff's laws and by voltages that are known beforehand.

#![allow(clippy::unwrap_used)]

mod common;

use common::{CASE14, injections, network_with_known_voltages};
use faer::c64;
use power_flow::case::{BusId, BusType};
use power_flow::params::StartParam;
use power_flow::{Params, Report, case, solve};
use proptest::prelude::*;

fn voltages(report: &Report) -> Vec<c64> {
    report.bus.iter().map(|bus| c64::from_polar(bus.vm_pu, bus.va_deg.to_radians())).collect()
}

/// The angle between two phasors in degrees.
fn apart(one: c64, other: c64) -> f64 {
    (one / other).arg().to_degrees().abs()
}

#[test]
fn eight_hundred_buses_give_back_the_voltages_that_their_loads_were_made_from() {
    let (case, known) = network_with_known_voltages(800, 1);
    let report = Report::new(&case, solve(&case, &Params::default()).unwrap());
    for (found, known) in voltages(&report).iter().zip(&known) {
        assert!((found.norm() - known.norm()).abs() < 1e-8 && apart(*found, *known) < 1e-6, "{found} {known}");
    }
}

#[test]
fn power_balances_at_every_bus_of_a_large_system() {
    let (case, _) = network_with_known_voltages(600, 2);
    let report = Report::new(&case, solve(&case, &Params::default()).unwrap());
    let mut generation = report.generation.iter();
    for (bus, injected) in case.buses.iter().zip(injections(&case, &voltages(&report))) {
        let load = c64::new(bus.pd_mw, bus.qd_mvar);
        let generated = if bus.kind == BusType::Pq {
            c64::new(0.0, 0.0)
        } else {
            let at_bus = generation.next().unwrap();
            assert_eq!(at_bus.bus, bus.id);
            c64::new(at_bus.p_mw, at_bus.q_mvar)
        };
        assert!((generated - load - injected * case.base_mva).norm() < 1e-6, "bus {}", bus.id);
    }
}

#[test]
fn flows_are_those_of_the_pi_model() {
    let (case, _) = network_with_known_voltages(300, 3);
    let report = Report::new(&case, solve(&case, &Params::default()).unwrap());
    let voltages = voltages(&report);
    let at = |id: &BusId| voltages[case.buses.iter().position(|bus| bus.id == *id).unwrap()];
    for (flow, branch) in report.branch.unwrap().iter().zip(&case.branches) {
        let (from, to) = common::currents(branch, at(&branch.from), at(&branch.to));
        let (from, to) = if branch.in_service {
            (at(&branch.from) * from.conj() * case.base_mva, at(&branch.to) * to.conj() * case.base_mva)
        } else {
            (c64::new(0.0, 0.0), c64::new(0.0, 0.0))
        };
        assert!((c64::new(flow.p_from_mw, flow.q_from_mvar) - from).norm() < 1e-6);
        assert!((c64::new(flow.p_to_mw, flow.q_to_mvar) - to).norm() < 1e-6);
        assert!((flow.losses_mw - (from + to).re).abs() < 1e-6);
    }
}

#[test]
fn a_tap_of_0_is_a_tap_of_1_and_a_branch_out_of_service_is_no_branch() {
    let plain = case::parse(CASE14).unwrap();
    let mut altered = plain.clone();
    for branch in altered.branches.iter_mut().filter(|branch| branch.tap == 1.0) {
        branch.tap = 0.0;
    }
    let mut off = altered.branches[0].clone();
    (off.in_service, off.x_pu) = (false, 0.3);
    altered.branches.push(off);
    let [plain, altered] = [plain, altered].map(|case| solve(&case, &Params::default()).unwrap().voltages);
    assert_eq!(plain, altered);
}

#[test]
fn a_phase_shift_delays_the_angle_at_the_far_end() {
    let text = r#"{"base_mva": 100, "bus": [{"id": "a", "type": "slack"}, {"id": "b", "type": "pq"}],
        "gen": [{"bus": "a", "vm_pu": 1.02}],
        "branch": [{"from": "a", "to": "b", "r_pu": 0.01, "x_pu": 0.1, "tap": 0.97, "shift_deg": 30}]}"#;
    let case = case::parse(text.as_bytes()).unwrap();
    let report = Report::new(&case, solve(&case, &Params::default()).unwrap());
    assert_eq!(report.bus[1].id, BusId::Text("b".to_owned()));
    assert!((report.bus[1].va_deg + 30.0).abs() < 1e-9);
    assert!((report.bus[1].vm_pu - 1.02 / 0.97).abs() < 1e-12);
}

#[test]
fn the_rating_gives_the_loading() {
    let text = r#"{"base_mva": 10, "bus": [{"id": 1, "type": "slack"}, {"id": 2, "type": "pq", "pd_mw": 5}],
        "gen": [{"bus": 1, "vm_pu": 1}],
        "branch": [{"from": 1, "to": 2, "r_pu": 0, "x_pu": 0.01, "rate_a": 20},
                   {"from": 2, "to": 1, "r_pu": 0, "x_pu": 0.01, "rate_a": null}]}"#;
    let case = case::parse(text.as_bytes()).unwrap();
    let flows = Report::new(&case, solve(&case, &Params::default()).unwrap()).branch.unwrap();
    assert!((flows[0].loading_percent.unwrap() - 12.5).abs() < 0.01);
    assert_eq!(flows[1].loading_percent, None);
}

#[test]
fn a_generator_at_a_pq_bus_is_a_fixed_injection_and_an_idle_one_is_nothing() {
    let mut with = case::parse(CASE14).unwrap();
    let mut without = with.clone();
    let mut injection = with.generators[1].clone();
    (injection.bus, injection.pg_mw, injection.qg_mvar, injection.vm_pu) = (4.into(), 30.0, 12.0, None);
    let mut idle = injection.clone();
    idle.in_service = false;
    with.generators.extend([injection, idle]);
    without.buses[3].pd_mw -= 30.0;
    without.buses[3].qd_mvar -= 12.0;
    let [with, without] = [with, without].map(|case| solve(&case, &Params::default()).unwrap().voltages);
    for (one, other) in with.angle.iter().zip(&without.angle) {
        assert!((one - other).abs() < 1e-12);
    }
}

#[test]
fn a_pv_bus_whose_generators_are_all_idle_is_solved_as_pq_and_that_is_said() {
    let mut case = case::parse(CASE14).unwrap();
    case.generators[4].in_service = false;
    let report = Report::new(&case, solve(&case, &Params::default()).unwrap());
    assert_eq!(report.warnings, ["pv bus 8 is solved as pq: no generator at it is in service"]);
    assert_eq!(report.generation.len(), 4);
    assert!((report.bus[7].vm_pu - report.bus[6].vm_pu).abs() < 1e-9, "nothing flows to a bus without load");
}

#[test]
fn a_single_slack_bus_is_a_network() {
    let text = r#"{"base_mva": 1, "bus": [{"id": 7, "type": "slack", "pd_mw": 2}], "gen": [{"bus": 7, "vm_pu": 1}]}"#;
    let case = case::parse(text.as_bytes()).unwrap();
    let report = Report::new(&case, solve(&case, &Params::default()).unwrap());
    assert_eq!((report.iterations, report.generation[0].p_mw), (0, 2.0));
}

#[test]
fn damped_steps_find_a_solution_that_full_steps_miss() {
    let (case, known) = network_with_known_voltages(800, 68);
    for start in [StartParam::Dc, StartParam::Flat] {
        assert!(solve(&case, &Params { start, ..Params::default() }).is_err());
    }
    let solution = solve(&case, &Params::default()).unwrap();
    assert!(solution.damped);
    for (found, known) in solution.voltages.complex().into_iter().zip(known) {
        assert!((found - known).norm() < 1e-8);
    }
}

#[test]
fn a_divergence_tells_what_was_tried() {
    let mut case = case::parse(CASE14).unwrap();
    for bus in &mut case.buses {
        bus.pd_mw *= 20.0;
    }
    let message = solve(&case, &Params::default()).unwrap_err().to_string();
    assert!(message.contains("with damped steps") && message.contains("at bus "), "{message}");
    let message = solve(&case, &Params { start: StartParam::Flat, ..Params::default() }).unwrap_err().to_string();
    assert!(message.contains("(from a flat start)"), "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn known_voltages_come_back_whatever_the_network(size in 2_usize..120, seed: u64) {
        let (case, known) = network_with_known_voltages(size, seed);
        let report = Report::new(&case, solve(&case, &Params::default()).unwrap());
        for (found, known) in voltages(&report).iter().zip(&known) {
            prop_assert!((found.norm() - known.norm()).abs() < 1e-7 && apart(*found, *known) < 1e-5);
        }
    }
}
