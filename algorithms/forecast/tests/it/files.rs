//! The files beside the result.

use crate::{DEMAND, csv, daily_rows, params, wave};
use longboat_sdk::Job;
use std::path::Path;

fn run(input: &str, json: &str, dir: &Path) -> (String, String) {
    let job = Job::native(params(json)).with_input("input", input).with_result_dir(dir);
    forecast::forecast(job).unwrap();
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    (read("forecast.csv"), read("forecast.svg"))
}

#[test]
fn the_table_holds_one_line_a_step_and_is_itself_an_input() {
    let scratch = tempfile::tempdir().unwrap();
    let (table, _) = run(DEMAND, "{}", scratch.path());
    assert_eq!(table.lines().count(), 49);
    assert!(table.starts_with("timestamp,mean,lower,upper\n2000-08-21T00:00:00Z,"));
    let (again, _) = run(&table, r#"{"value_column": "mean", "season_lengths": [], "horizon": 3}"#, scratch.path());
    assert!(again.contains("2000-08-22T01:00:00Z"), "{again}");
}

#[test]
fn the_chart_shows_history_forecast_and_interval_and_stays_small() {
    let scratch = tempfile::tempdir().unwrap();
    let (_, svg) = run(DEMAND, "{}", scratch.path());
    for needle in ["<svg ", "demand_mw", "95 % interval", "Mon 21 Aug", "35,000", "</svg>"] {
        assert!(svg.contains(needle), "{needle}");
    }
    assert!(svg.len() < 16 << 10, "{} bytes", svg.len());
    assert!(!svg.contains("NaN") && !svg.contains("inf"));
}

#[test]
fn a_long_forecast_is_drawn_with_a_bounded_number_of_points() {
    let scratch = tempfile::tempdir().unwrap();
    let (table, svg) = run(&csv(&daily_rows(2_000, wave)), r#"{"horizon": 10000}"#, scratch.path());
    assert_eq!(table.lines().count(), 10_001);
    assert!(svg.len() < 128 << 10, "{} bytes", svg.len());
}

#[test]
fn a_column_name_cannot_break_out_of_the_chart() {
    let scratch = tempfile::tempdir().unwrap();
    let input = csv(&daily_rows(60, wave)).replace("timestamp,value", "timestamp,</text><script>&");
    let (_, svg) = run(&input, "{}", scratch.path());
    assert!(svg.contains("&lt;/text&gt;&lt;script&gt;&amp;") && !svg.contains("<script"));
}
