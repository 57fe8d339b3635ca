//! The IEEE systems, against solutions by another program.

#![allow(clippy::unwrap_used)]

mod common;

use common::CASE14;
use longboat_sdk::Job;
use power_flow::params::StartParam;
use power_flow::{Params, Report, case, solve};
use serde_json::Value;

const CASES: [(&[u8], &str); 2] = [
    (CASE14, include_str!("../data/case14.solution.json")),
    (include_bytes!("../data/case30.json"), include_str!("../data/case30.solution.json")),
];

fn assert_agrees(report: &Report, solution: &Value) {
    let expected = solution["bus"].as_array().unwrap();
    assert_eq!(report.bus.len(), expected.len());
    for (bus, expected) in report.bus.iter().zip(expected) {
        assert_eq!(serde_json::to_value(&bus.id).unwrap(), expected["id"]);
        // The files are rounded to 8 and 6 decimals.
        assert!((bus.vm_pu - expected["vm_pu"].as_f64().unwrap()).abs() < 6e-9, "{bus:?}");
        assert!((bus.va_deg - expected["va_deg"].as_f64().unwrap()).abs() < 6e-7, "{bus:?}");
    }
    assert!((report.losses_mw - solution["losses_mw"].as_f64().unwrap()).abs() < 1e-6);
}

#[test]
fn the_ieee_systems_are_solved_to_the_last_published_digit_from_every_start() {
    for (text, solution) in CASES {
        let case = case::parse(text).unwrap();
        let solution: Value = serde_json::from_str(solution).unwrap();
        for start in [StartParam::Auto, StartParam::Flat, StartParam::Dc] {
            let report = Report::new(&case, solve(&case, &Params { start, ..Params::default() }).unwrap());
            assert_agrees(&report, &solution);
            assert!(report.iterations <= 5 && !report.damped);
        }
    }
}

#[test]
fn the_iteration_converges_quadratically_and_ends_within_the_tolerance() {
    let case = case::parse(CASE14).unwrap();
    let solution = solve(&case, &Params::default()).unwrap();
    assert_eq!(solution.mismatch.len(), solution.iterations() + 1);
    assert!(solution.mismatch.last().unwrap() <= &1e-10);
    for pair in solution.mismatch.windows(2).filter(|pair| pair[0] < 0.1 && pair[0] > 1e-7) {
        assert!(pair[1] < 10.0 * pair[0] * pair[0], "{:?}", solution.mismatch);
    }
}

#[test]
fn generation_and_losses_balance_the_load_of_the_14_bus_system() {
    let case = case::parse(CASE14).unwrap();
    let report = Report::new(&case, solve(&case, &Params::default()).unwrap());
    let load: f64 = case.buses.iter().map(|bus| bus.pd_mw).sum();
    let generation: f64 = report.generation.iter().map(|generation| generation.p_mw).sum();
    assert_eq!(report.generation.len(), 5);
    assert!((generation - load - report.losses_mw).abs() < 1e-8);
    assert!((report.losses_mw - 13.393).abs() < 5e-4);
    assert!((report.generation[0].p_mw - 232.393).abs() < 5e-4);
}

#[test]
fn a_job_returns_the_report_and_writes_it_as_tables() {
    let dir = tempfile::tempdir().unwrap();
    let job = Job::native(Params::default()).with_input("input", CASE14).with_result_dir(dir.path());
    let report = power_flow::power_flow(job).unwrap();
    let document = serde_json::to_value(&report).unwrap();
    for field in ["base_mva", "bus", "branch", "generation", "losses_mw", "iterations", "mismatch", "start", "damped"] {
        assert!(document.get(field).is_some(), "{field} is missing");
    }
    let table = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    let bus = table("bus.csv");
    assert_eq!(bus.lines().next().unwrap(), "id,vm_pu,va_deg");
    assert_eq!(bus.lines().nth(1).unwrap(), "1,1.06,0");
    assert_eq!(bus.lines().count(), 15);
    assert_eq!(table("branch.csv").lines().count(), 21);
}

#[test]
fn branches_that_would_make_the_document_too_large_are_left_to_the_table() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = Job::native(Params::default()).with_input("input", CASE14).with_result_dir(dir.path());
    job.limits.document_size = 3_000;
    let report = power_flow::power_flow(job).unwrap();
    assert!(report.branch.is_none());
    assert!(report.warnings[0].contains("branch.csv"));
    assert!(serde_json::to_vec(&report).unwrap().len() < 3_000);
    assert_eq!(std::fs::read_to_string(dir.path().join("branch.csv")).unwrap().lines().count(), 21);
}

#[test]
fn the_same_job_gives_the_same_bytes() {
    let run = || {
        let dir = tempfile::tempdir().unwrap();
        let job = Job::native(Params::default()).with_input("input", CASE14).with_result_dir(dir.path());
        let document = serde_json::to_vec(&power_flow::power_flow(job).unwrap()).unwrap();
        (document, std::fs::read(dir.path().join("branch.csv")).unwrap())
    };
    assert_eq!(run(), run());
}
