//! Rolling-origin evaluation: what each candidate would have forecast for the ends of the series that are known.

use super::accuracy::{Accuracy, Held};
use super::model::{Model, fitted_values};
use super::scale::Scale;
use super::{Task, intervals, refuse};
use crate::refusal::Refusal;
use serde::Serialize;

/// The most folds.
const MAX_FOLDS: usize = 14;
/// The most values times seasons that a model is fitted to over all folds, which bounds the time; two folds are made
/// anyway.
const MAX_FITTED: usize = 120_000;
/// The least values to fit to; half of the series and two longest seasons are needed too.
const MIN_TRAINING: usize = 15;
/// The fewest folds that are worth letting them overlap for.
const MIN_FOLDS: usize = 4;

/// How the candidates did on held-out ends of the series.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Backtest {
    /// How many folds there were.
    pub folds: usize,
    /// How many steps each fold forecast.
    pub horizon: usize,
    /// How many steps the origins of the folds are apart.
    pub stride: usize,
    /// The candidate with the least mean absolute error.
    pub winner: Model,
    /// The second best candidate, if there was one.
    pub runner_up: Option<Model>,
    /// How far the winner's mean absolute error lies below the second best's, in per cent of that.
    pub margin_percent: Option<f64>,
    /// Every candidate, the simplest first.
    pub candidates: Vec<Candidate>,
}

/// One candidate of a backtest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    /// The model.
    pub method: Model,
    /// What came of it.
    #[serde(flatten)]
    pub trial: Trial,
}

/// What came of a candidate.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Trial {
    /// It forecast every fold.
    Tested {
        /// Its errors.
        #[serde(flatten)]
        accuracy: Accuracy,
        /// The share of held-out values within intervals that were calibrated on the other folds.
        coverage: Option<f64>,
    },
    /// It cannot be used on this series.
    Unusable {
        /// Why not.
        reason: String,
    },
}

impl Trial {
    fn mae(&self) -> Option<f64> {
        match self {
            Self::Tested { accuracy, .. } => Some(accuracy.mae),
            Self::Unusable { .. } => None,
        }
    }
}

/// Where the series is cut: each origin is the number of values before the cut.
#[derive(Debug, PartialEq)]
struct Plan {
    horizon: usize,
    stride: usize,
    /// The earliest first.
    origins: Vec<usize>,
}

impl Plan {
    /// Folds of the task's horizon, or of a quarter of the series if that is shorter.
    ///
    /// The origins lie whole shortest seasons before the end, so that the folds forecast the same hours of the day
    /// as the job does. Where that leaves too few folds, they end with the series and overlap.
    fn new(task: &Task) -> Self {
        let length = task.values.len();
        let least = MIN_TRAINING.max(length / 2).max(2 * task.seasons.last().copied().unwrap_or(1));
        let room = length - least;
        let horizon = task.horizon.min(length / 4).min(room);
        let aligned = horizon.next_multiple_of(task.seasons.first().copied().unwrap_or(1));
        let (nearest, stride) = if room / aligned >= MIN_FOLDS {
            (aligned, aligned)
        } else {
            (horizon, ((room - horizon) / (MIN_FOLDS - 1)).max(1))
        };
        let fitted = fitted_values(length, task.seasons) * task.seasons.len().max(1);
        let most = (MAX_FITTED / fitted).clamp(2, MAX_FOLDS);
        let folds = ((room - nearest) / stride + 1).min(most);
        Self { horizon, stride, origins: (0..folds).rev().map(|fold| length - nearest - fold * stride).collect() }
    }
}

/// Tries the task's candidates; also gives how many deviations the winner's intervals must reach.
pub(super) fn run(
    task: &Task,
    values: &[f64],
    scale: Scale,
    progress: &mut dyn FnMut(f64, &str),
) -> Result<(Backtest, f64), Refusal> {
    let plan = Plan::new(task);
    let models = task.method.candidates();
    let mut candidates = Vec::with_capacity(models.len());
    let mut best: Option<(Model, f64, Vec<Vec<f64>>)> = None;
    for (index, &model) in models.iter().enumerate() {
        progress(0.9 * index as f64 / models.len() as f64, &format!("backtesting {model}"));
        let (trial, scores) = match hold_out(&plan, model, task, values) {
            Ok(held) => judge(&held, task, scale, &values[..plan.origins[0]]),
            Err(reason) => (Trial::Unusable { reason }, Vec::new()),
        };
        // Only a smaller error displaces a candidate that came before it, since the simplest come first.
        if let Some(mae) = trial.mae()
            && best.as_ref().is_none_or(|&(_, least, _)| mae < least)
        {
            best = Some((model, mae, scores));
        }
        candidates.push(Candidate { method: model, trial });
    }
    let Some((winner, mae, scores)) = best else { return Err(all_failed(&candidates)) };
    let runner_up = second(&candidates, winner);
    let backtest = Backtest {
        folds: plan.origins.len(),
        horizon: plan.horizon,
        stride: plan.stride,
        winner,
        runner_up: runner_up.map(|(model, _)| model),
        margin_percent: runner_up.map(|(_, next)| if next > 0.0 { 100.0 * (1.0 - mae / next) } else { 0.0 }),
        candidates,
    };
    Ok((backtest, intervals::factor(scores.concat(), task.level)))
}

fn hold_out(plan: &Plan, model: Model, task: &Task, values: &[f64]) -> Result<Vec<Vec<Held>>, String> {
    let fold = |&origin: &usize| {
        let (history, future) = values.split_at(origin);
        let prediction = model.predict(history, task.seasons, plan.horizon)?;
        let held = future.iter().zip(prediction.steps());
        Ok(held.map(|(&actual, (mean, deviation))| Held { actual, mean, deviation }).collect())
    };
    plan.origins.iter().map(fold).collect()
}

fn judge(folds: &[Vec<Held>], task: &Task, scale: Scale, training: &[f64]) -> (Trial, Vec<Vec<f64>>) {
    let scores: Vec<Vec<f64>> = folds.iter().map(|fold| fold.iter().map(|held| held.score()).collect()).collect();
    let season = task.seasons.last().copied().unwrap_or(1);
    let accuracy = Accuracy::of(&folds.concat(), scale, training, season);
    let coverage = intervals::coverage(&scores, task.level);
    (Trial::Tested { accuracy, coverage }, scores)
}

fn second(candidates: &[Candidate], winner: Model) -> Option<(Model, f64)> {
    let others = candidates.iter().filter(|candidate| candidate.method != winner);
    let tested = others.filter_map(|candidate| Some((candidate.method, candidate.trial.mae()?)));
    tested.min_by(|(_, a), (_, b)| a.total_cmp(b))
}

fn all_failed(candidates: &[Candidate]) -> Refusal {
    let reasons = candidates.iter().find_map(|candidate| match &candidate.trial {
        Trial::Unusable { reason } => Some(refuse(candidate.method, reason)),
        Trial::Tested { .. } => None,
    });
    reasons.unwrap_or_else(|| Refusal::new("there was no method to try"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Method;

    fn plan(length: usize, seasons: &[usize], horizon: usize) -> Plan {
        let values = vec![0.0; length];
        Plan::new(&Task { values: &values, seasons, horizon, level: 0.95, method: Method::Auto })
    }

    #[test]
    fn half_hourly_data_are_backtested_on_the_last_fourteen_days() {
        let plan = plan(3_696, &[48, 336], 48);
        assert_eq!((plan.horizon, plan.stride, plan.origins.len()), (48, 48, 14));
        assert_eq!(plan.origins.last(), Some(&3_648));
    }

    #[test]
    fn a_short_horizon_is_tried_at_the_same_hour_of_the_day_as_it_is_asked_for() {
        let plan = plan(3_696, &[48, 336], 6);
        assert_eq!((plan.horizon, plan.origins.len()), (6, 14));
        assert!(plan.origins.iter().all(|origin| (3_696 - origin) % 48 == 0), "{plan:?}");
    }

    #[test]
    fn a_short_series_is_backtested_on_overlapping_folds() {
        let plan = plan(60, &[7], 14);
        assert_eq!((plan.horizon, plan.stride, plan.origins), (14, 5, vec![31, 36, 41, 46]));
    }

    #[test]
    fn every_fold_has_two_longest_seasons_to_fit_to_and_its_horizon_to_forecast() {
        for length in (20..400).chain([100_000]) {
            for season in [1, 2, 7, length / 3] {
                for horizon in [1, 7, 100, 10_000] {
                    let seasons = if season > 1 { vec![season] } else { Vec::new() };
                    let plan = plan(length, &seasons, horizon);
                    assert!(!plan.origins.is_empty() && plan.horizon >= 1);
                    assert!(plan.origins.iter().all(|&origin| origin >= MIN_TRAINING.max(2 * season)));
                    assert!(plan.origins.iter().all(|&origin| origin + plan.horizon <= length));
                }
            }
        }
    }
}
