//! What is refused, and whether the message names the element.

#![allow(clippy::unwrap_used)]

mod common;

use common::CASE14;
use longboat_sdk::Job;
use power_flow::{Error, Params, case, solve};
use proptest::prelude::*;
use serde_json::{Value, json};

/// The message after `edit` was made to the 14-bus system.
fn refused(edit: impl FnOnce(&mut Value)) -> String {
    let mut document = serde_json::from_slice(CASE14).unwrap();
    edit(&mut document);
    let job = Job::native(Params::default())
        .with_input("input", document.to_string())
        .with_result_dir("/nowhere: a case that is refused writes nothing");
    let failure = power_flow::power_flow(job).unwrap_err();
    assert!(failure.is_permanent(), "{failure}");
    failure.to_string()
}

#[track_caller]
fn assert_names(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn a_case_without_exactly_one_slack_bus_is_refused() {
    assert_names(&refused(|case| case["bus"][0]["type"] = json!("pv")), &["no slack bus"]);
    assert_names(&refused(|case| case["bus"][5]["type"] = json!("slack")), &["bus 1 and bus 6", "slack"]);
    assert_names(&refused(|case| case["bus"] = json!([])), &["no buses"]);
}

#[test]
fn an_island_is_refused_with_one_of_its_buses() {
    let message = refused(|case| {
        for branch in case["branch"].as_array_mut().unwrap() {
            if branch["to"] == 8 || branch["to"] == 3 || branch["from"] == 3 {
                branch["in_service"] = json!(false);
            }
        }
    });
    assert_names(&message, &["2 of 14 buses", "bus 3 among them", "slack bus 1"]);
}

#[test]
fn elements_that_do_not_fit_together_are_refused_by_name() {
    assert_names(&refused(|case| case["bus"][4]["id"] = json!(2)), &["bus 2", "bus[1]", "bus[4]"]);
    assert_names(&refused(|case| case["branch"][3]["to"] = json!(99)), &["branch[3] (2 to 99)", "no such bus"]);
    assert_names(&refused(|case| case["branch"][3]["to"] = json!("4")), &["branch[3] (2 to \"4\")", "bus \"4\""]);
    assert_names(&refused(|case| case["gen"][2]["bus"] = json!(77)), &["gen[2]", "bus 77"]);
    assert_names(&refused(|case| case["branch"][0]["to"] = json!(1)), &["branch[0] (1 to 1)", "same bus"]);
    let both = |case: &mut Value| {
        case["branch"][5]["r_pu"] = json!(0);
        case["branch"][5]["x_pu"] = json!(0);
    };
    assert_names(&refused(both), &["branch[5] (3 to 4)", "series impedance of 0"]);
}

#[test]
fn a_bus_that_nothing_holds_is_refused() {
    let gone = |position: usize| move |case: &mut Value| drop(case["gen"].as_array_mut().unwrap().remove(position));
    assert_names(&refused(gone(0)), &["bus 1", "`slack`", "no generator stands at it"]);
    assert_names(&refused(gone(3)), &["bus 6", "`pv`", "no generator stands at it"]);
    assert_names(&refused(|case| case["gen"][0]["in_service"] = json!(false)), &["bus 1", "at it is in service"]);
    let second = |case: &mut Value| case["gen"].as_array_mut().unwrap().push(json!({"bus": 2, "vm_pu": 1.02}));
    assert_names(&refused(second), &["gen[1] (bus 2)", "gen[5] (bus 2)", "1.045", "1.02"]);
    let unset = |case: &mut Value| case["gen"].as_array_mut().unwrap().push(json!({"bus": 2}));
    assert_names(&refused(unset), &["gen[5] (bus 2)", "no `vm_pu`"]);
}

#[test]
fn numbers_beyond_all_reason_are_refused_with_the_range() {
    assert_names(&refused(|case| case["base_mva"] = json!(0)), &["base_mva", "is 0", "1e-6 to 1e9 MVA"]);
    assert_names(&refused(|case| case["base_mva"] = json!(-100)), &["base_mva", "-100"]);
    assert_names(&refused(|case| case["bus"][2]["pd_mw"] = json!(1e300)), &["bus[2] (id 3)", "pd_mw"]);
    assert_names(&refused(|case| case["branch"][1]["tap"] = json!(-1)), &["branch[1] (1 to 5)", "tap", "-1"]);
    assert_names(&refused(|case| case["branch"][1]["shift_deg"] = json!(1e4)), &["branch[1]", "shift_deg"]);
    assert_names(&refused(|case| case["gen"][1]["vm_pu"] = json!(0)), &["gen[1] (bus 2)", "vm_pu", "0.2 to 2"]);
    let id = "x".repeat(101);
    assert_names(&refused(|case| case["bus"][2]["id"] = json!(id)), &["bus[2]", "101 bytes"]);
}

#[test]
fn what_is_not_a_case_is_refused_with_the_place() {
    assert_names(&refused(|case| case["branch"][7]["x_pu"] = json!("much")), &["`branch[7].x_pu`", "\"much\""]);
    assert_names(&refused(|case| case["bus"][1]["type"] = json!("ref")), &["`bus[1].type`", "`ref`", "`slack`"]);
    assert_names(&refused(|case| case["bus"][1]["id"] = json!(1.5)), &["`bus[1].id`", "an integer or a text"]);
    assert_names(&refused(|case| drop(case["branch"][2].as_object_mut().unwrap().remove("x_pu"))), &["`branch[2]"]);
    assert_names(&refused(|case| *case = json!([])), &["not a case"]);
    let huge = "x".repeat(10_000);
    assert!(refused(|case| case["bus"][1]["type"] = json!(huge)).len() < 500);
    assert!(refused(|case| case["branch"][1]["from"] = json!(huge)).len() < 500);
}

#[test]
fn fields_that_mean_nothing_here_are_ignored_and_those_with_defaults_may_be_absent() {
    let mut document: Value = serde_json::from_slice(CASE14).unwrap();
    let full = solve(&case::parse(CASE14).unwrap(), &Params::default()).unwrap();
    document["version"] = json!({"a": [1, 2]});
    for bus in document["bus"].as_array_mut().unwrap() {
        bus["area"] = json!(1);
        bus.as_object_mut().unwrap().retain(|_, value| value != 0.0);
    }
    for branch in document["branch"].as_array_mut().unwrap() {
        branch["angmin"] = json!(-360);
        let plain = |field: &str, value: &Value| {
            ["b_pu", "shift_deg"].contains(&field) && value == 0.0 || field == "tap" && value == 1.0 || value == true
        };
        branch.as_object_mut().unwrap().retain(|field, value| !plain(field, value));
    }
    let short = solve(&case::parse(document.to_string().as_bytes()).unwrap(), &Params::default()).unwrap();
    assert_eq!(full.voltages, short.voltages);
}

#[test]
fn more_elements_than_are_accepted_are_refused_before_they_are_kept() {
    let buses = vec![r#"{"id": 1, "type": "pq"}"#; case::MAX_BUSES + 1].join(",");
    let error = case::parse(format!(r#"{{"base_mva": 1, "bus": [{buses}]}}"#).as_bytes()).unwrap_err();
    assert!(error.to_string().contains("more than 20000 elements"), "{error}");
    let failure = case::read(std::io::empty(), case::MAX_BYTES + 1).unwrap_err();
    assert!(failure.is_permanent() && failure.to_string().contains("bytes"));
}

#[test]
fn a_network_without_a_solution_diverges_at_a_bus() {
    let message = refused(|case| case["bus"][13]["pd_mw"] = json!(5000));
    assert_names(&message, &["diverged", "p.u. of", "power, at bus "]);
    let case = json!({"base_mva": 100, "bus": [{"id": 1, "type": "slack"}, {"id": 2, "type": "pq", "pd_mw": 600}],
        "gen": [{"bus": 1, "vm_pu": 1}], "branch": [{"from": 1, "to": 2, "r_pu": 0, "x_pu": 0.1}]});
    let error = solve(&case::parse(case.to_string().as_bytes()).unwrap(), &Params::default()).unwrap_err();
    assert!(matches!(error, Error::Diverged { .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(case::parse(&bytes).is_err());
    }

    #[test]
    fn a_case_with_bytes_overwritten_is_answered(edits in prop::collection::vec((0..CASE14.len(), any::<u8>()), 1..6)) {
        let mut bytes = CASE14.to_vec();
        for (at, byte) in edits {
            bytes[at] = byte;
        }
        if let Ok(case) = case::parse(&bytes) {
            let _ = solve(&case, &Params::default());
        }
    }

    #[test]
    fn a_case_with_any_numbers_is_solved_or_refused(
        edits in prop::collection::vec((0..20_usize, 0..8_usize, any::<f64>(), -3.0..3.0), 1..8)
    ) {
        let mut case = case::parse(CASE14).unwrap();
        for (element, field, wild, tame) in edits {
            let value = if element % 2 == 0 { tame } else { wild };
            let (bus, branch) = (&mut case.buses[element % 14], &mut case.branches[element]);
            *[&mut bus.pd_mw, &mut bus.qd_mvar, &mut bus.bs_mvar, &mut branch.r_pu, &mut branch.x_pu,
                &mut branch.b_pu, &mut branch.tap, &mut branch.shift_deg][field] = value;
        }
        if let Ok(solution) = solve(&case, &Params::default()) {
            prop_assert!(solution.voltages.magnitude.iter().all(|vm| vm.is_finite()));
            prop_assert!(solution.mismatch.iter().all(|mismatch| mismatch.is_finite()));
        }
    }
}
