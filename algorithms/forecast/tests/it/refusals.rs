//! Inputs that are refused, each with the place and the reason.

use crate::{csv, daily_rows, params, refusal, wave};
use forecast::input::{MAX_INPUT, MAX_ROWS};
use longboat_sdk::Job;

fn assert_names(reason: &str, needles: &[&str]) {
    for needle in needles {
        assert!(reason.contains(needle), "`{needle}` is not in: {reason}");
    }
}

/// A good series whose line 12 is another one.
fn with_line_12(line: &str) -> String {
    let mut rows = daily_rows(60, wave);
    line.clone_into(&mut rows[10]);
    csv(&rows)
}

#[test]
fn inputs_that_are_no_table_are_refused() {
    let table: [(&[u8], &[&str]); 12] = [
        (b"", &["empty"]),
        (b" \r\n\n", &["empty"]),
        (b"timestamp,value\n", &["no data rows"]),
        (b"[]", &["no data rows"]),
        (b"\x89PNG\r\n\x1a\n\0\0\0", &["UTF-8", "line 1"]),
        (b"timestamp,value\n2000-01-01,\xff", &["UTF-8", "line 2"]),
        (b"hello", &["one column", "hello"]),
        (b"2000-01-01,1\n2000-01-02,2\n", &["line 1", "header"]),
        (b"timestamp,a,b\n2000-01-01,1,2\n", &["`a`", "`b`", "value_column"]),
        (b"{\"a\": 1}", &["`timestamps` and `values`"]),
        (b"[{\"timestamp\": \"2000-01-01\"", &["JSON", "line 1"]),
        (b"[1, 2]", &["JSON"]),
    ];
    for (input, needles) in table {
        assert_names(&refusal(input, "{}"), needles);
    }
}

#[test]
fn rows_that_are_no_observations_are_refused_by_line_and_reason() {
    for (line, needles) in [
        ("2000-01-11,", &["line 12", "empty"][..]),
        ("2000-01-11,n/a", &["line 12", "`n/a`", "not a number"]),
        ("2000-01-11,NaN", &["line 12", "NaN"]),
        ("2000-01-11,inf", &["line 12", "inf"]),
        ("2000-01-11,1e101", &["line 12", "1e101"]),
        ("yesterday,1", &["line 12", "`yesterday`", "timestamp"]),
        (",1", &["line 12", "timestamp"]),
        ("2000-01-11,1,2", &["line 12", "3 cells", "2"]),
        ("2000-01-11", &["line 12", "1 cells"]),
        ("2000-01-11T07:00:00Z,1", &["line 12", "2000-01-11T07:00:00Z", "equally spaced"]),
        ("2000-01-10,1", &["lines 11 and 12", "2000-01-10"]),
    ] {
        assert_names(&refusal(with_line_12(line), "{}"), needles);
    }
}

#[test]
fn json_elements_are_refused_by_their_number() {
    for (element, needles) in [
        (r#"{"timestamp": "2000-01-01"}"#, &["element 1", "no value"][..]),
        (r#"{"value": 1}"#, &["element 1", "no timestamp"]),
        (r#"{"timestamp": 946684800, "value": 1}"#, &["element 1", "946684800"]),
        (r#"{"timestamp": "2000-01-01", "value": null}"#, &["element 1", "null"]),
        (r#"{"timestamp": "2000-01-01", "value": [1]}"#, &["element 1", "a list"]),
    ] {
        assert_names(&refusal(format!("[{element}]"), "{}"), needles);
    }
    let uneven = r#"{"timestamps": ["2000-01-01"], "values": [1, 2]}"#;
    assert_names(&refusal(uneven, "{}"), &["1 timestamps but 2 values"]);
}

#[test]
fn a_long_gap_is_refused_with_its_place() {
    let mut rows = daily_rows(200, wave);
    rows.drain(40..48);
    assert_names(&refusal(csv(&rows), "{}"), &["8 values", "2000-02-09T00:00:00Z", "at most 7"]);
}

#[test]
fn a_series_of_which_much_is_missing_is_refused() {
    let mut rows = daily_rows(60, wave);
    rows.push("9999-12-30,1".to_owned());
    assert_names(&refusal(csv(&rows), "{}"), &["line 62", "100000"]);
    rows.pop();
    rows.push("2001-01-01,1".to_owned());
    assert_names(&refusal(csv(&rows), "{}"), &["missing", "2000-02-29T00:00:00Z"]);
}

#[test]
fn a_series_that_is_too_short_is_refused() {
    assert_names(&refusal(csv(&daily_rows(19, wave)), "{}"), &["19", "at least 20"]);
    let reason = refusal(csv(&daily_rows(60, wave)), r#"{"season_lengths": [21]}"#);
    assert_names(&reason, &["season_lengths", "60 values", "21"]);
}

#[test]
fn params_that_do_not_fit_the_input_are_refused() {
    let input = csv(&daily_rows(60, wave));
    for (json, needles) in [
        (r#"{"value_column": "load"}"#, &["value_column", "`load`", "`value`"][..]),
        (r#"{"value_column": "timestamp"}"#, &["cannot hold both"]),
        (r#"{"horizon": 0}"#, &["horizon"]),
        (r#"{"season_lengths": [1]}"#, &["season_lengths"]),
        (r#"{"season_lengths": [12001]}"#, &["season_lengths", "12000"]),
        (r#"{"season_lengths": [], "method": "mstl"}"#, &["mstl", "no season"]),
    ] {
        assert_names(&refusal(&input, json), needles);
    }
}

#[test]
fn a_forecast_beyond_the_last_year_is_refused() {
    let rows: Vec<String> = (9_970..=9_999).map(|year| format!("{year}-01-01,{}", year % 3)).collect();
    assert_names(&refusal(csv(&rows), "{}"), &["9999", "horizon"]);
}

#[test]
fn inputs_beyond_the_limits_are_refused_without_being_kept() {
    let row = "2000-01-01,1\n";
    let many = format!("timestamp,value\n{}", row.repeat(MAX_ROWS + 1));
    assert_names(&refusal(many, "{}"), &["line 100002", "100000 rows"]);
    assert_names(&refusal(format!("[{}{{}}]", "{},".repeat(MAX_ROWS)), "{}"), &["element 100001", "100000 rows"]);
    let long_line = format!("timestamp,value\n2000-01-01,{}\n", "1".repeat(70_000));
    assert_names(&refusal(long_line, "{}"), &["line 2", "64 KiB"]);
    let nested = "[".repeat(100_000);
    assert_names(&refusal(nested, "{}"), &["JSON"]);
}

#[test]
fn every_refusal_of_a_job_is_permanent() {
    let scratch = tempfile::tempdir().unwrap();
    let too_long = vec![b' '; usize::try_from(MAX_INPUT).unwrap() + 1];
    for input in [Vec::new(), b"\xff".to_vec(), with_line_12("2000-01-11,x").into_bytes(), too_long] {
        let job = Job::native(params("{}")).with_input("input", input).with_result_dir(scratch.path());
        let failure = forecast::forecast(job).unwrap_err();
        assert!(failure.is_permanent(), "{failure}");
    }
    assert!(forecast::forecast(Job::native(params("{}"))).unwrap_err().is_permanent());
}
