//! Energy, determinism, limiting cases and hostile input.

#![allow(clippy::unwrap_used)]

use longboat_sdk::{Failure, Job};
use proptest::prelude::*;
use serde_json::{Value, json};
use storage::{Model, Params, Scenario, simulate, storage};

/// Ten scenarios of the default house.
fn few() -> Params {
    Params { scenarios: 10, ..Params::default() }
}

fn scenarios(params: &Params) -> Vec<Scenario> {
    params.check().unwrap();
    let model = Model::new(params, None);
    (0..params.scenarios).map(|number| simulate(&model, 7, number).unwrap()).collect()
}

/// What a job publishes: the document and its files.
fn run(params: Params, seed: u64, load: Option<&[u8]>) -> Result<(Value, String, String), Failure> {
    let dir = tempfile::tempdir().unwrap();
    let mut job = Job::native(params).with_seed(seed).with_result_dir(dir.path());
    if let Some(load) = load {
        job = job.with_input("load", load);
    }
    let report = serde_json::to_value(storage(job)?).unwrap();
    let file = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    Ok((report, file("scenarios.csv"), file("storage.svg")))
}

/// The message with which params that are JSON are refused.
fn refused(params: &Value) -> String {
    match serde_json::from_value::<Params>(params.clone()) {
        Ok(params) => params.check().unwrap_err().to_string(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    assert_eq!(run(few(), 1, None).unwrap(), run(few(), 1, None).unwrap());
    assert_ne!(run(few(), 1, None).unwrap().1, run(few(), 2, None).unwrap().1);
}

#[test]
fn a_scenario_does_not_depend_on_how_many_there_are() {
    let few = run(few(), 3, None).unwrap().1;
    let more = run(Params { scenarios: 25, ..Params::default() }, 3, None).unwrap().1;
    assert!(more.starts_with(few.as_str()));
    let rows: Vec<_> = more.lines().skip(1).map(|row| row.split_once(',').unwrap().1).collect();
    let mut apart = rows.clone();
    apart.sort_unstable();
    apart.dedup();
    assert_eq!(apart.len(), rows.len(), "no two scenarios are alike");
}

#[test]
fn the_weather_does_not_depend_on_load_or_battery() {
    let one = scenarios(&few());
    let other = scenarios(&Params { battery_kwh: 0.0, annual_load_kwh: 9_000.0, ..few() });
    for (one, other) in one.iter().zip(&other) {
        assert_eq!(one.total.pv, other.total.pv);
        assert_ne!(one.total.load, other.total.load);
    }
}

#[test]
fn the_default_house_comes_out_like_real_ones() {
    let params = Params::default();
    let scenarios = scenarios(&params);
    let mean = |of: fn(&Scenario) -> f64| scenarios.iter().map(of).sum::<f64>() / scenarios.len() as f64;
    let per_kwp = mean(|scenario| scenario.total.pv) / params.pv_kwp;
    assert!((850.0..1_100.0).contains(&per_kwp), "{per_kwp} kWh per kWp in London");
    let load = mean(|scenario| scenario.total.load);
    assert!((load - 4_000.0).abs() < 120.0, "{load}");
    let sufficiency = mean(|scenario| 1.0 - scenario.total.import / scenario.total.load);
    assert!((0.5..0.8).contains(&sufficiency), "{sufficiency}");
    let cycles = mean(|scenario| scenario.cycles.unwrap());
    assert!((150.0..330.0).contains(&cycles), "{cycles}");
}

#[test]
fn a_better_equipped_house_draws_less_from_the_grid() {
    let import = |params: &Params| scenarios(params).iter().map(|scenario| scenario.total.import).sum::<f64>();
    let house = import(&few());
    assert!(import(&Params { battery_kwh: 10.0, battery_kw: 5.0, ..few() }) < house);
    assert!(import(&Params { pv_kwp: 10.0, ..few() }) < house);
    assert!(import(&Params { round_trip_efficiency: 0.6, ..few() }) > house);
    assert!(import(&Params { azimuth_deg: Some(0.0), ..few() }) > house, "panels that face north");
    assert!(import(&Params { battery_kw: 0.1, ..few() }) > house);
}

#[test]
fn the_same_house_does_as_well_in_the_south() {
    let pv = |latitude_deg| {
        let scenarios = scenarios(&Params { latitude_deg, ..few() });
        let month = |month: usize| scenarios.iter().map(|scenario| scenario.months[month].pv).sum::<f64>();
        (scenarios.iter().map(|scenario| scenario.total.pv).sum::<f64>(), month(5) > month(11))
    };
    let ((north, north_june), (south, south_june)) = (pv(40.0), pv(-40.0));
    assert!((north / south - 1.0).abs() < 0.06);
    assert!(north_june && !south_june);
}

#[test]
fn without_a_battery_nothing_is_stored_and_without_panels_all_is_drawn() {
    for scenario in scenarios(&Params { battery_kwh: 0.0, ..few() }) {
        assert_eq!((scenario.total.charged, scenario.total.lost, scenario.cycles), (0.0, 0.0, None));
    }
    for scenario in scenarios(&Params { battery_kw: 0.0, self_discharge_per_day: 0.0, ..few() }) {
        assert_eq!((scenario.total.discharged, scenario.stored), (0.0, 0.0));
    }
    for scenario in scenarios(&Params { pv_kwp: 0.0, battery_kwh: 0.0, ..few() }) {
        assert_eq!((scenario.total.pv, scenario.total.import), (0.0, scenario.total.load));
    }
    let (report, table, svg) =
        run(Params { pv_kwp: 0.0, annual_load_kwh: 0.0, battery_kwh: 0.0, ..few() }, 1, None).unwrap();
    assert_eq!(report["quantiles"]["self_sufficiency"], Value::Null);
    assert_eq!(report["quantiles"]["import_kwh"]["p95"], 0.0);
    assert!(table.lines().nth(1).unwrap().contains(",,"));
    assert!(!svg.contains("NaN") && !svg.contains("inf"));
}

#[test]
fn steps_of_a_quarter_of_an_hour_hardly_differ_from_hours() {
    let import = |step_minutes| {
        let scenarios = scenarios(&Params { step_minutes, ..few() });
        scenarios.iter().map(|scenario| scenario.total.import).sum::<f64>()
    };
    let hourly = import(60);
    assert!((import(15) / hourly - 1.0).abs() < 0.03);
    assert!((import(30) / hourly - 1.0).abs() < 0.03);
}

#[test]
fn the_report_has_ordered_quantiles_months_that_add_up_and_a_residual_of_rounding() {
    let (report, table, svg) = run(Params { scenarios: 40, ..Params::default() }, 5, None).unwrap();
    assert_eq!(report["quantiles"].as_object().unwrap().len(), 12);
    for (name, quantiles) in report["quantiles"].as_object().unwrap() {
        let at = |name: &str| quantiles[name].as_f64().unwrap();
        assert!(at("p05") <= at("p25") && at("p25") <= at("p50") && at("p50") <= at("p75"), "{name}");
        assert!(at("p75") <= at("p95"), "{name}");
    }
    let months = report["months"].as_array().unwrap();
    let sum = |name: &str| months.iter().map(|month| month[name].as_f64().unwrap()).sum::<f64>();
    assert!((sum("load_kwh") - report["quantiles"]["load_kwh"]["mean"].as_f64().unwrap()).abs() < 1e-6);
    assert!((sum("direct_kwh") + sum("battery_kwh") + sum("import_kwh") - sum("load_kwh")).abs() < 1e-6);
    assert!(report["largest_residual_kwh"].as_f64().unwrap() < 1e-12);
    assert!(report["largest_year_residual_kwh"].as_f64().unwrap() < 1e-8);
    assert_eq!(table.lines().count(), 41);
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>") && svg.len() < 60_000);
}

#[test]
fn a_measured_load_is_used_as_it_is_in_every_scenario() {
    let load = "hour,kw\n".to_owned() + &"x,0.25\n".repeat(8_760);
    let (report, ..) = run(few(), 1, Some(load.as_bytes())).unwrap();
    assert_eq!(report["load"], "measured");
    for quantile in ["p05", "p95"] {
        assert!((report["quantiles"]["load_kwh"][quantile].as_f64().unwrap() - 2_190.0).abs() < 1e-6);
    }
}

#[test]
fn a_load_that_is_not_a_year_is_a_permanent_failure() {
    let failure = run(few(), 1, Some(b"1\n2\n")).unwrap_err();
    assert!(failure.is_permanent());
    assert!(failure.to_string().starts_with("the load has 2 rows of values, and must have 8760"), "{failure}");
    assert!(run(few(), 1, Some(&vec![b'1'; 5 << 20])).unwrap_err().to_string().contains("at most 4194304"));
    let job = Job::native(few()).with_input("a", "1").with_input("b", "2");
    assert!(storage(job).unwrap_err().to_string().contains("(a, b) is named `load`"));
}

#[test]
fn params_out_of_range_are_refused_by_name() {
    let message = refused(&json!({"battery_kwh": -1}));
    assert_eq!(message, "the param `battery_kwh` is -1, and must be within 0 to 1000000");
    assert_eq!(refused(&json!({"step_minutes": 7})), "the param `step_minutes` is 7, and must be 15, 30 or 60");
    assert!(refused(&json!({"scenarios": 0})).contains("within 1 to 10000"));
    assert!(refused(&json!({"scenarios": 10_001})).contains("10001"));
    assert!(refused(&json!({"scenarios": -1})).contains("-1"));
    assert!(refused(&json!({"azimuth_deg": 1e9})).contains("azimuth_deg"));
    assert!(refused(&json!({"round_trip_efficiency": 0})).contains("0.1 to 1"));
    assert!(refused(&json!({"batery_kwh": 1})).contains("unknown field `batery_kwh`"));
    assert!(Params { pv_kwp: f64::NAN, ..few() }.check().is_err());
    let failure = run(Params { albedo: 2.0, ..few() }, 1, None).unwrap_err();
    assert!(failure.is_permanent(), "{failure}");
}

prop_compose! {
    /// Any house within the ranges, extremes included.
    fn any_house()(
        step_minutes in prop::sample::select(vec![15, 30, 60]),
        latitude_deg in -90.0..=90.0,
        pv_kwp in prop::sample::select(vec![0.0, 0.3, 5.0, 100_000.0]),
        tilt_deg in 0.0..=90.0,
        azimuth_deg in prop::option::of(-360.0..=360.0),
        clearness in (0.15..=0.7, 0.15..=0.7, 0.0..=0.5),
        battery_kwh in prop::sample::select(vec![0.0, 1e-3, 5.0, 1e6]),
        battery_kw in prop::sample::select(vec![0.0, 0.1, 3.0, 1e6]),
        round_trip_efficiency in 0.1..=1.0,
        self_discharge_per_day in 0.0..=0.5,
        annual_load_kwh in prop::sample::select(vec![0.0, 10.0, 4_000.0, 1e8]),
        load_spread in 0.0..=1.0,
    ) -> Params {
        Params {
            scenarios: 2, step_minutes, latitude_deg, pv_kwp, tilt_deg, azimuth_deg, battery_kwh, battery_kw,
            clearness_summer: clearness.0, clearness_winter: clearness.1, clearness_spread: clearness.2,
            round_trip_efficiency, self_discharge_per_day, annual_load_kwh, load_spread, ..Params::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn energy_is_conserved_in_any_house(params in any_house()) {
        for scenario in scenarios(&params) {
            let total = scenario.total;
            let scale = 1.0 + total.pv + total.load + params.battery_kwh;
            let into = total.pv + total.import + params.battery_kwh / 2.0;
            let out = total.load + total.export + total.lost + params.battery_kwh / 2.0 + scenario.stored;
            prop_assert!((into - out).abs() <= 1e-9 * scale, "{} kWh in, {} out", into, out);
            prop_assert!((total.pv - total.export - total.charged - (total.load - total.import - total.discharged)).abs() <= 1e-9 * scale);
            for energy in [total.pv, total.load, total.import, total.export, total.charged, total.discharged, total.lost] {
                prop_assert!(energy >= -1e-9 * scale && energy.is_finite());
            }
            let charge = params.battery_kwh / 2.0 + scenario.stored;
            prop_assert!((-1e-9 * scale..=params.battery_kwh + 1e-9 * scale).contains(&charge));
        }
    }

    #[test]
    fn any_house_is_drawn_without_numbers_that_are_none(params in any_house(), seed: u64) {
        let (_, table, svg) = run(params, seed, None).unwrap();
        for text in [&table, &svg] {
            prop_assert!(!text.contains("NaN") && !text.contains("inf"));
        }
    }

    #[test]
    fn any_load_is_answered(load in prop::collection::vec(any::<u8>(), 0..2_000)) {
        prop_assert!(run(few(), 1, Some(&load)).is_err());
    }
}
