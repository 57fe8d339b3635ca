//! The result: each figure's quantiles over the scenarios, and the mean year by months.

use crate::calendar::MONTHS;
use crate::params::Params;
use crate::statistics::Quantiles;
use crate::year::{Energies, Scenario};
use serde::Serialize;
use std::collections::BTreeMap;

/// A figure of a scenario.
pub struct Figure {
    /// Its name in result and table.
    pub name: &'static str,
    /// Its value; `None` where it has no meaning, such as the share of a consumption of 0.
    pub of: fn(&Scenario) -> Option<f64>,
}

/// All figures, in the order of the table.
pub const FIGURES: [Figure; 12] = [
    Figure { name: "load_kwh", of: |scenario| Some(scenario.total.load) },
    Figure { name: "pv_kwh", of: |scenario| Some(scenario.total.pv) },
    Figure { name: "import_kwh", of: |scenario| Some(scenario.total.import) },
    Figure { name: "export_kwh", of: |scenario| Some(scenario.total.export) },
    Figure { name: "battery_in_kwh", of: |scenario| Some(scenario.total.charged) },
    Figure { name: "battery_out_kwh", of: |scenario| Some(scenario.total.discharged) },
    Figure { name: "battery_loss_kwh", of: |scenario| Some(scenario.total.lost) },
    Figure { name: "stored_kwh", of: |scenario| Some(scenario.stored) },
    Figure { name: "self_sufficiency", of: self_sufficiency },
    Figure { name: "self_consumption", of: self_consumption },
    Figure { name: "battery_cycles", of: |scenario| scenario.cycles },
    Figure { name: "cost", of: |scenario| Some(scenario.cost) },
];

/// Share of the consumption that did not come from the grid.
pub(crate) fn self_sufficiency(scenario: &Scenario) -> Option<f64> {
    let Energies { load, import, .. } = scenario.total;
    (load > 0.0).then(|| 1.0 - import / load)
}

/// Share of the panels' energy that was not fed into the grid.
fn self_consumption(scenario: &Scenario) -> Option<f64> {
    let Energies { pv, export, .. } = scenario.total;
    (pv > 0.0).then(|| 1.0 - export / pv)
}

/// What the algorithm returns.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Scenarios simulated.
    pub scenarios: u32,
    /// Length of a step in minutes.
    pub step_minutes: u32,
    /// The seed that the scenarios come from.
    pub seed: u64,
    /// Where the consumption comes from.
    pub load: LoadSource,
    /// Each figure's quantiles; `null` where no scenario has a value.
    pub quantiles: BTreeMap<&'static str, Option<Quantiles>>,
    /// The mean of the scenarios by month.
    pub months: Vec<Month>,
    /// The largest energy in kWh that any step of any scenario made or lost by rounding.
    pub largest_residual_kwh: f64,
    /// The same of the sums of any year.
    pub largest_year_residual_kwh: f64,
}

/// Where the consumption comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LoadSource {
    /// A synthetic household.
    Synthetic,
    /// The job's input.
    Measured,
}

/// A month's means over the scenarios, in kWh.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Month {
    /// Its short name.
    pub month: &'static str,
    /// Consumption.
    pub load_kwh: f64,
    /// Consumption met by the panels at once.
    pub direct_kwh: f64,
    /// Consumption met from the battery.
    pub battery_kwh: f64,
    /// Consumption met from the grid.
    pub import_kwh: f64,
    /// What 5 % of the scenarios fall short of there.
    pub import_p05_kwh: f64,
    /// What 95 % of the scenarios fall short of there.
    pub import_p95_kwh: f64,
    /// Energy from the panels.
    pub pv_kwh: f64,
    /// Energy fed into the grid.
    pub export_kwh: f64,
}

impl Report {
    /// Condenses the scenarios, of which there must be one at least.
    pub fn new(params: &Params, seed: u64, measured: bool, scenarios: &[Scenario]) -> Self {
        let quantiles =
            FIGURES.iter().map(|figure| (figure.name, Quantiles::of(scenarios.iter().filter_map(figure.of)))).collect();
        let largest = |of: fn(&Scenario) -> f64| scenarios.iter().map(of).fold(0.0, f64::max);
        Self {
            scenarios: params.scenarios,
            step_minutes: params.step_minutes,
            seed,
            load: if measured { LoadSource::Measured } else { LoadSource::Synthetic },
            quantiles,
            months: (0..MONTHS.len()).map(|month| Month::of(month, scenarios)).collect(),
            largest_residual_kwh: largest(|scenario| scenario.step_residual),
            largest_year_residual_kwh: largest(|scenario| scenario.year_residual),
        }
    }
}

impl Month {
    fn of(month: usize, scenarios: &[Scenario]) -> Self {
        let mean = |of: fn(&Energies) -> f64| {
            scenarios.iter().map(|scenario| of(&scenario.months[month])).sum::<f64>() / scenarios.len().max(1) as f64
        };
        let import = Quantiles::of(scenarios.iter().map(|scenario| scenario.months[month].import));
        Self {
            month: MONTHS[month].0,
            load_kwh: mean(|energies| energies.load),
            direct_kwh: mean(|energies| energies.load - energies.import - energies.discharged),
            battery_kwh: mean(|energies| energies.discharged),
            import_kwh: mean(|energies| energies.import),
            import_p05_kwh: import.map_or(0.0, |quantiles| quantiles.p05),
            import_p95_kwh: import.map_or(0.0, |quantiles| quantiles.p95),
            pv_kwh: mean(|energies| energies.pv),
            export_kwh: mean(|energies| energies.export),
        }
    }
}
