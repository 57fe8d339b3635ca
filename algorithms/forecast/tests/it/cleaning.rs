//! Inputs that are not tidy and yet work, and what the report says about them.

use crate::{DEMAND, csv, daily_rows, report, wave};
use forecast::Report;

fn values(report: &Report) -> Vec<(String, f64)> {
    report.forecast.iter().map(|step| (step.timestamp.clone(), step.mean)).collect()
}

#[test]
fn line_ends_byte_order_mark_delimiter_and_decimal_comma_do_not_matter() {
    let plain = csv(&daily_rows(100, wave));
    let expected = values(&report(&plain, "{}"));
    let semicolons = plain.replace(',', ";").replace('.', ",");
    for variant in [
        plain.replace('\n', "\r\n"),
        format!("\u{feff}{plain}"),
        semicolons,
        plain.replace(',', "\t"),
        plain.trim_end().to_owned(),
        plain.replace("\n2000", "\n\n2000"),
    ] {
        assert_eq!(values(&report(&variant, "{}")), expected, "{}", &variant[..60]);
    }
}

#[test]
fn both_shapes_of_json_mean_what_the_csv_means() {
    let rows = daily_rows(60, wave);
    let pairs: Vec<(&str, &str)> = rows.iter().map(|row| row.split_once(',').unwrap()).collect();
    let objects: Vec<String> = pairs
        .iter()
        .map(|(time, value)| format!(r#"{{"timestamp": "{time}", "other": [{{}}], "value": {value}}}"#))
        .collect();
    let times: Vec<String> = pairs.iter().map(|(time, _)| format!("{time:?}")).collect();
    let numbers: Vec<&str> = pairs.iter().map(|&(_, value)| value).collect();
    let expected = values(&report(csv(&rows), "{}"));
    assert_eq!(values(&report(format!("[{}]", objects.join(",")), "{}")), expected);
    let lists = format!(r#"{{"timestamps": [{}], "values": [{}]}}"#, times.join(","), numbers.join(","));
    assert_eq!(values(&report(lists, "{}")), expected);
}

#[test]
fn columns_are_found_by_name_or_named() {
    let rows = daily_rows(60, wave);
    let wide: Vec<String> = rows.iter().map(|row| row.replacen(',', ",x,", 1)).collect();
    let expected = values(&report(csv(&rows), "{}"));
    let guessed = format!("Date,note,VALUE\n{}", wide.join("\n"));
    assert_eq!(values(&report(guessed, "{}")), expected);
    let named = format!("day,note,load\n{}", wide.join("\n"));
    assert_eq!(values(&report(named, r#"{"timestamp_column": "day", "value_column": "load"}"#)), expected);
}

#[test]
fn rows_out_of_order_are_sorted_and_exact_duplicates_dropped_and_both_reported() {
    let mut rows = daily_rows(60, wave);
    let expected = values(&report(csv(&rows), "{}"));
    rows.swap(10, 11);
    rows.push(rows[5].clone());
    let report = report(csv(&rows), "{}");
    assert_eq!(values(&report), expected);
    assert_eq!((report.cleaning.out_of_order, report.cleaning.duplicates_dropped), (2, 1));
    assert_eq!((report.cleaning.rows, report.series.values), (61, 60));
}

#[test]
fn a_short_gap_is_interpolated_in_the_shape_of_the_season_and_reported() {
    let mut rows = daily_rows(80, wave);
    rows.drain(40..43);
    let report = report(csv(&rows), "{}");
    assert_eq!((report.cleaning.interpolated, report.series.values), (3, 80));
    assert_eq!((report.cleaning.gaps[0].after.as_str(), report.cleaning.gaps[0].missing), ("2000-02-09T00:00:00Z", 3));
    let (_, series) = forecast::run(csv(&rows).as_bytes(), &crate::params("{}"), &mut |_, _| {}).unwrap();
    for day in 40..43 {
        assert!((series.values[day as usize] - wave(day)).abs() < 1e-9, "day {day}");
    }
}

#[test]
fn a_constant_series_is_forecast_as_itself_with_intervals_of_no_width() {
    for json in ["{}", r#"{"method": "mstl"}"#, r#"{"method": "ets"}"#, r#"{"method": "seasonal-naive"}"#] {
        let report = report(csv(&daily_rows(60, |_| 5.5)), json);
        for step in report.forecast {
            assert_eq!((step.mean, step.lower, step.upper), (5.5, 5.5, 5.5), "{json}");
        }
    }
}

#[test]
fn percentages_are_absent_where_a_value_is_zero_and_the_rest_is_there() {
    let report = report(csv(&daily_rows(60, |day| f64::from(day % 7) - 3.0)), "{}");
    let json = serde_json::to_value(&report.backtest).unwrap();
    for candidate in json["candidates"].as_array().unwrap() {
        assert!(candidate["mape_percent"].is_null() && candidate["mae"].is_f64(), "{candidate}");
    }
}

#[test]
fn the_size_of_the_values_does_not_matter() {
    let rows = |scale: f64| csv(&daily_rows(90, |day| scale * (wave(day) + (f64::from(day) * 1.7).sin())));
    let plain = report(rows(1.0), "{}");
    for scale in [1e-90, 1e90] {
        let scaled = report(rows(scale), "{}");
        assert_eq!(scaled.method, plain.method);
        for (scaled, plain) in scaled.forecast.iter().zip(&plain.forecast) {
            assert!((scaled.mean / scale / plain.mean - 1.0).abs() < 1e-6, "{scale}: {scaled:?} {plain:?}");
        }
    }
}

#[test]
fn small_changes_of_large_values_are_not_lost() {
    let report = report(csv(&daily_rows(90, |day| 1e9 + wave(day))), "{}");
    let expected = 1e9 + wave(90);
    assert!((report.forecast[0].mean - expected).abs() < 2.0, "{} for {expected}", report.forecast[0].mean);
}

#[test]
fn a_series_shorter_than_its_week_is_forecast_by_its_day_alone() {
    let input: Vec<&str> = DEMAND.lines().take(1 + 480).collect();
    let report = report(input.join("\n"), "{}");
    assert_eq!(report.season_lengths, [48]);
    assert!(report.cleaning.notes[0].contains("336"), "{:?}", report.cleaning.notes);
}

#[test]
fn monthly_series_go_on_by_the_calendar() {
    let rows: Vec<String> =
        (0..60).map(|month| format!("{}-{:02}-01,{}", 2000 + month / 12, month % 12 + 1, month % 12)).collect();
    let report = report(csv(&rows), "{}");
    assert_eq!((report.series.step.as_str(), report.season_lengths.as_slice()), ("P1M", &[12][..]));
    assert_eq!(report.forecast[1].timestamp, "2005-02-01T00:00:00Z");
}
