//! One scenario: a year of weather and habits, step by step.

use crate::battery::{Battery, Flows};
use crate::calendar::DAYS;
use crate::model::Model;
use crate::solar::clearness::{self, Sky};
use crate::solar::plane::irradiance;
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg32;

/// Standard deviation of the logarithm of a day's consumption, and of an hour's within it.
const DAY_SIGMA: f64 = 0.12;
const HOUR_SIGMA: f64 = 0.35;
/// The clearness that the distribution of days was fitted for.
const CLEARNESS: (f64, f64) = (0.15, 0.7);
/// Rounding error per kWh handled that is no sign of energy lost or made.
const RELATIVE_ROUNDING: f64 = 1e-9;

/// Energies of some time in kWh.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Energies {
    /// From the panels.
    pub pv: f64,
    /// Consumed.
    pub load: f64,
    /// Drawn from the grid.
    pub import: f64,
    /// Fed into the grid.
    pub export: f64,
    /// Into the battery.
    pub charged: f64,
    /// Out of the battery.
    pub discharged: f64,
    /// Lost in the battery.
    pub lost: f64,
}

/// What a year came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// The whole year.
    pub total: Energies,
    /// Each month.
    pub months: [Energies; 12],
    /// What is in the battery at the end less what was in it at the beginning, in kWh.
    pub stored: f64,
    /// Full charges of the battery; `None` without a battery.
    pub cycles: Option<f64>,
    /// Price of what was drawn less revenue of what was fed in.
    pub cost: f64,
    /// The largest energy in kWh that a step made or lost: rounding.
    pub step_residual: f64,
    /// The same of the year's sums.
    pub year_residual: f64,
}

/// Energy was made or lost: a fault of the model that no result may come out of.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("energy is not conserved in scenario {scenario}, step {step}: {residual:e} kWh too much; please report this")]
pub struct NotConserved {
    /// The scenario, counted from 0.
    pub scenario: u32,
    /// The step of the year, counted from 0; the number of steps for the year's sums.
    pub step: usize,
    /// Energy in kWh that came out of nothing.
    pub residual: f64,
}

/// The randomness of one scenario. Weather and habits have a stream each, so that another load or other panels meet
/// the same weather, and no scenario depends on another.
struct Chance {
    weather: Pcg32,
    habits: Pcg32,
}

impl Chance {
    fn new(seed: u64, number: u32) -> Self {
        let stream = 2 * u64::from(number);
        let state = |stream: u64| mixed(seed ^ mixed(stream));
        Self { weather: Pcg32::new(state(stream), stream), habits: Pcg32::new(state(stream + 1), stream + 1) }
    }

    /// A factor with mean 1 whose logarithm has this standard deviation.
    fn factor(rng: &mut Pcg32, sigma: f64) -> f64 {
        let z: f64 = StandardNormal.sample(rng);
        (sigma * z - sigma * sigma / 2.0).exp()
    }
}

/// The finalizer of splitmix64, so that neighbouring seeds and scenarios begin far from each other: G. L. Steele,
/// D. Lea and C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
fn mixed(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Simulates scenario `number`, counted from 0.
///
/// # Errors
/// [`NotConserved`] if a step or the year makes or loses energy beyond rounding.
pub fn simulate(model: &Model, seed: u64, number: u32) -> Result<Scenario, NotConserved> {
    let mut chance = Chance::new(seed, number);
    let mut year = Year::begin(model, &mut chance, number);
    for day in 0..DAYS {
        year.day(day, &mut chance)?;
    }
    year.end()
}

/// A year under way.
struct Year<'a> {
    model: &'a Model,
    number: u32,
    battery: Battery,
    sky: Sky,
    clearness: f64,
    load: f64,
    months: [Energies; 12],
    step_residual: f64,
}

impl<'a> Year<'a> {
    fn begin(model: &'a Model, chance: &mut Chance, number: u32) -> Self {
        Self {
            model,
            number,
            battery: model.battery,
            sky: Sky::new(&mut chance.weather),
            clearness: Chance::factor(&mut chance.weather, model.clearness_spread),
            load: model.load_spread.map_or(1.0, |spread| Chance::factor(&mut chance.habits, spread)),
            months: Default::default(),
            step_residual: 0.0,
        }
    }

    fn day(&mut self, day: usize, chance: &mut Chance) -> Result<(), NotConserved> {
        let model = self.model;
        let mean = (model.clearness[day] * self.clearness).clamp(CLEARNESS.0, CLEARNESS.1);
        let clearness = self.sky.next_day(mean, &mut chance.weather);
        let habits = model.load_spread.map(|_| self.load * Chance::factor(&mut chance.habits, DAY_SIGMA));
        for hour in 24 * day..24 * (day + 1) {
            let clouds = self.sky.next_hour(clearness, &mut chance.weather);
            let factor = habits.map_or(1.0, |day| day * Chance::factor(&mut chance.habits, HOUR_SIGMA));
            for step in hour * model.per_hour..(hour + 1) * model.per_hour {
                let sun = &model.suns[step];
                let clearness = clearness::of_moment(clearness, sun.trend, sun.up, clouds);
                let light = if sun.up > 0.0 { irradiance(sun, clearness, &model.view) } else { 0.0 };
                self.step(step, model.months[day], light * model.pv_kwh_per_irradiance, model.load[step] * factor)?;
            }
        }
        Ok(())
    }

    fn step(&mut self, step: usize, month: usize, pv: f64, load: f64) -> Result<(), NotConserved> {
        let before = self.battery.charge;
        let flows = self.battery.dispatch(pv, load);
        let residual = flows.residual(pv, load, self.battery.charge - before);
        self.check(step, residual, pv + load + before)?;
        self.step_residual = self.step_residual.max(residual.abs());
        let Flows { import, export, charged, discharged, lost } = flows;
        self.months[month].add(&Energies { pv, load, import, export, charged, discharged, lost });
        Ok(())
    }

    fn end(self) -> Result<Scenario, NotConserved> {
        let model = self.model;
        let mut total = Energies::default();
        self.months.iter().for_each(|month| total.add(month));
        let stored = self.battery.charge - model.battery.charge;
        let year_residual = (total.pv + total.import) - (total.load + total.export + total.lost + stored);
        self.check(model.suns.len(), year_residual, total.pv + total.load + self.battery.capacity)?;
        let capacity = self.battery.capacity;
        Ok(Scenario {
            cycles: (capacity > 0.0).then(|| total.discharged / self.battery.one_way / capacity),
            cost: total.import * model.import_price - total.export * model.export_price,
            total,
            months: self.months,
            stored,
            step_residual: self.step_residual,
            year_residual: year_residual.abs(),
        })
    }

    fn check(&self, step: usize, residual: f64, handled: f64) -> Result<(), NotConserved> {
        // Written so that what is not a number is refused too.
        if residual.abs() <= RELATIVE_ROUNDING * (1.0 + handled) {
            return Ok(());
        }
        Err(NotConserved { scenario: self.number, step, residual })
    }
}

impl Energies {
    fn add(&mut self, other: &Self) {
        self.pv += other.pv;
        self.load += other.load;
        self.import += other.import;
        self.export += other.export;
        self.charged += other.charged;
        self.discharged += other.discharged;
        self.lost += other.lost;
    }
}
