//! Accuracy on the series of Taylor (2003): what the last days would have been forecast as.

use crate::{DEMAND, params, report};
use forecast::Report;
use forecast::kernel::{Model, Trial};

const DAY: usize = 48;
const WEEK: usize = 7 * DAY;

fn rows() -> Vec<&'static str> {
    DEMAND.lines().skip(1).collect()
}

fn value(row: &str) -> f64 {
    row.split_once(',').unwrap().1.parse().unwrap()
}

/// The forecast of the day that lies `days` before the end, made from all before it.
fn day_before_end(days: usize, json: &str) -> (Report, Vec<f64>) {
    let rows = rows();
    let known = rows.len() - days * DAY;
    let input = format!("timestamp,demand_mw\n{}\n", rows[..known].join("\n"));
    (report(input, json), rows[known..known + DAY].iter().map(|row| value(row)).collect())
}

fn mape_percent(forecast: impl Iterator<Item = f64>, actual: &[f64]) -> f64 {
    let errors = forecast.zip(actual).map(|(forecast, actual)| ((forecast - actual) / actual).abs());
    100.0 * errors.sum::<f64>() / actual.len() as f64
}

#[test]
fn the_last_day_is_forecast_within_0_6_per_cent() {
    for json in [r#"{"horizon": 48}"#, r#"{"horizon": 48, "season_lengths": [48, 336]}"#] {
        let (report, actual) = day_before_end(1, json);
        let error = mape_percent(report.forecast.iter().map(|step| step.mean), &actual);
        assert_eq!(report.method, Model::Mstl);
        assert!(error <= 0.6, "{json}: {error} %");
    }
}

#[test]
fn the_last_week_is_forecast_day_by_day_better_than_by_the_week_before() {
    let (mut total, mut covered) = (0.0, 0);
    for days in 1..=7 {
        let (report, actual) = day_before_end(days, r#"{"horizon": 48}"#);
        let error = mape_percent(report.forecast.iter().map(|step| step.mean), &actual);
        let known = rows().len() - days * DAY;
        let week_before = rows()[known - WEEK..known - WEEK + DAY].iter().map(|row| value(row)).collect::<Vec<_>>();
        let naive = mape_percent(week_before.into_iter(), &actual);
        assert!(error < 0.7 * naive, "{days} days before the end: {error} %, weekly naive {naive} %");
        total += error;
        let inside =
            report.forecast.iter().zip(&actual).filter(|(step, actual)| (step.lower..=step.upper).contains(actual));
        covered += inside.count();
    }
    assert!(total / 7.0 <= 0.9, "{} % on average", total / 7.0);
    let coverage = covered as f64 / (7 * DAY) as f64;
    assert!((0.88..=1.0).contains(&coverage), "95 % intervals covered {coverage}");
}

#[test]
fn the_forecast_begins_one_step_after_the_series_in_utc() {
    let report = report(DEMAND, r#"{"horizon": 48}"#);
    assert_eq!(report.forecast.len(), 48);
    assert_eq!(report.forecast[0].timestamp, "2000-08-21T00:00:00Z");
    assert_eq!(report.forecast[47].timestamp, "2000-08-21T23:30:00Z");
    assert_eq!((report.series.step.as_str(), report.series.name.as_str()), ("PT30M", "demand_mw"));
}

#[test]
fn the_default_horizon_is_a_day_and_the_default_seasons_are_day_and_week() {
    let report = report(DEMAND, "{}");
    assert_eq!(report.forecast.len(), 48);
    assert_eq!(report.season_lengths, [48, 336]);
}

#[test]
fn auto_names_every_candidate_the_winner_and_its_margin() {
    let backtest = report(DEMAND, "{}").backtest;
    assert_eq!((backtest.folds, backtest.horizon, backtest.stride), (14, 48, 48));
    assert_eq!((backtest.winner, backtest.runner_up), (Model::Mstl, Some(Model::SeasonalNaive)));
    let margin = backtest.margin_percent.unwrap();
    assert!((50.0..100.0).contains(&margin), "{margin} %");
    for candidate in backtest.candidates {
        let Trial::Tested { accuracy, coverage } = candidate.trial else { panic!("{} failed", candidate.method) };
        assert!(accuracy.mae > 0.0 && accuracy.mae <= accuracy.rmse);
        let coverage = coverage.unwrap();
        assert!((0.90..=0.99).contains(&coverage), "{}: {coverage}", candidate.method);
    }
}

#[test]
fn a_method_that_is_asked_for_is_used_and_backtested_alone() {
    for (name, model) in [("seasonal-naive", Model::SeasonalNaive), ("ets", Model::Ets), ("mstl", Model::Mstl)] {
        let report = report(DEMAND, &format!(r#"{{"method": "{name}"}}"#));
        assert_eq!((report.method, report.backtest.candidates.len()), (model, 1));
        assert_eq!((report.backtest.runner_up, report.backtest.margin_percent), (None, None));
    }
}

#[test]
fn a_higher_level_gives_wider_intervals() {
    let narrow = report(DEMAND, r#"{"method": "mstl", "level": 0.8}"#);
    let wide = report(DEMAND, r#"{"method": "mstl", "level": 0.99}"#);
    for (narrow, wide) in narrow.forecast.iter().zip(&wide.forecast) {
        assert!(wide.lower < narrow.lower && narrow.lower < narrow.mean);
        assert!(wide.upper > narrow.upper && narrow.upper > narrow.mean);
    }
}

#[test]
fn the_same_job_gives_the_same_bytes() {
    let json = || serde_json::to_string(&report(DEMAND, "{}")).unwrap();
    assert_eq!(json(), json());
}

#[test]
fn progress_rises_from_nothing_to_almost_all() {
    let mut fractions = Vec::new();
    forecast::run(DEMAND.as_bytes(), &params("{}"), &mut |done, _| fractions.push(done)).unwrap();
    assert!(fractions.is_sorted() && fractions[0] == 0.0 && *fractions.last().unwrap() <= 1.0, "{fractions:?}");
}
