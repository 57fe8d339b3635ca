//! The result of a job, and its table.

use crate::grid::show;
use crate::kernel::{Backtest, Method, Model, Outcome};
use crate::params::Params;
use crate::refusal::{Refusal, refusal};
use crate::series::{Cleaning, Series};
use serde::Serialize;
use std::fmt::Write;

/// What the algorithm returns.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The model that made the forecast.
    pub method: Model,
    /// The method that was asked for.
    pub requested_method: Method,
    /// The probability with which an interval shall cover the value.
    pub level: f64,
    /// Lengths of the seasons in steps that were used.
    pub season_lengths: Vec<usize>,
    /// The series that was forecast.
    pub series: Span,
    /// One entry a step, beginning one step after the last timestamp.
    pub forecast: Vec<Step>,
    /// How the candidates did on held-out ends of the series.
    pub backtest: Backtest,
    /// What was done to the rows of the input.
    pub cleaning: Cleaning,
}

/// Which series it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Span {
    /// The name of its column.
    pub name: String,
    /// How many values it has, interpolated ones included.
    pub values: usize,
    /// Its first timestamp.
    pub first: String,
    /// Its last timestamp.
    pub last: String,
    /// What lies between two timestamps, as an ISO 8601 duration.
    pub step: String,
}

/// One step of the forecast; values have nine significant digits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// When, in RFC 3339 with `Z`.
    pub timestamp: String,
    /// The expected value.
    pub mean: f64,
    /// The lower end of the interval.
    pub lower: f64,
    /// The upper end of the interval.
    pub upper: f64,
}

impl Report {
    pub(crate) fn new(name: String, series: &Series, params: &Params, outcome: Outcome) -> Result<Self, Refusal> {
        let length = series.values.len();
        let timestamp =
            |slot: usize| {
                series.grid.time(slot as u64).map(show).ok_or_else(|| {
                    refusal!("the forecast would reach beyond the year 9999; ask for a shorter `horizon`")
                })
            };
        let steps = outcome.points.iter().enumerate().map(|(step, point)| {
            Ok(Step {
                timestamp: timestamp(length + step)?,
                mean: round(point.mean),
                lower: round(point.lower),
                upper: round(point.upper),
            })
        });
        Ok(Self {
            method: outcome.model,
            requested_method: params.method,
            level: params.level,
            season_lengths: series.seasons.clone(),
            forecast: steps.collect::<Result<_, Refusal>>()?,
            series: Span {
                name,
                values: length,
                first: timestamp(0)?,
                last: timestamp(length - 1)?,
                step: series.grid.step_iso(),
            },
            backtest: outcome.backtest,
            cleaning: series.cleaning.clone(),
        })
    }

    /// The forecast as CSV: `timestamp,mean,lower,upper`.
    pub fn csv(&self) -> String {
        let mut table = String::from("timestamp,mean,lower,upper\n");
        for Step { timestamp, mean, lower, upper } in &self.forecast {
            // Writing to a string cannot fail.
            let _ = writeln!(table, "{timestamp},{mean},{lower},{upper}");
        }
        table
    }
}

/// Nine significant digits, more than any forecast is worth.
fn round(value: f64) -> f64 {
    format!("{value:.8e}").parse().unwrap_or(value)
}
