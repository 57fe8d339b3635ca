//! All that the scenarios have in common, computed once.

use crate::battery::Battery;
use crate::calendar::{DAYS, months};
use crate::load::{energies, profile};
use crate::params::Params;
use crate::solar::clearness;
use crate::solar::geometry::{Plane, Sun};
use crate::solar::plane::View;

/// House, sun and calendar by step.
#[derive(Debug, Clone)]
pub struct Model {
    /// Steps in an hour.
    pub per_hour: usize,
    /// The sun in the middle of each step of the year.
    pub suns: Vec<Sun>,
    /// How the panels see sky and ground.
    pub view: View,
    /// Energy in kWh that the panels give in a step per W/m² on them.
    pub pv_kwh_per_irradiance: f64,
    /// Expected clearness index of each day.
    pub clearness: Vec<f64>,
    /// Relative standard deviation of the clearness from year to year.
    pub clearness_spread: f64,
    /// Consumption in kWh in each step.
    pub load: Vec<f64>,
    /// How the consumption of the scenarios differs; `None` if it was measured.
    pub load_spread: Option<f64>,
    /// The battery as the year begins: half full.
    pub battery: Battery,
    /// The month of each day.
    pub months: [usize; DAYS],
    /// Price of a kWh from the grid.
    pub import_price: f64,
    /// Revenue of a kWh fed into it.
    pub export_price: f64,
}

impl Model {
    /// Prepares the scenarios for params that were checked and, if there is one, a measured load of 8,760, 17,520 or
    /// 35,040 powers in kW.
    pub fn new(params: &Params, measured: Option<&[f64]>) -> Self {
        let per_hour = (60 / params.step_minutes.clamp(1, 60)) as usize;
        let per_day = 24 * per_hour;
        let hours = 1.0 / per_hour as f64;
        let plane = Plane {
            latitude: params.latitude_deg.to_radians(),
            tilt: params.tilt_deg.to_radians(),
            azimuth: params.facing_deg().to_radians(),
        };
        let middle = |step: usize| (step as f64 + 0.5) * hours;
        let expected = || profile::hours(params.annual_load_kwh, params.latitude_deg);
        let mean = |day| clearness::mean(day, params.latitude_deg, params.clearness_summer, params.clearness_winter);
        Self {
            per_hour,
            suns: (0..DAYS * per_day).map(|step| Sun::new(&plane, step / per_day, middle(step % per_day))).collect(),
            view: View::new(plane.tilt, params.albedo),
            pv_kwh_per_irradiance: params.pv_kwp * params.performance_ratio / 1_000.0 * hours,
            clearness: (0..DAYS).map(mean).collect(),
            clearness_spread: params.clearness_spread,
            load: measured.map_or_else(|| energies(&expected(), per_day), |powers| energies(powers, per_day)),
            load_spread: measured.is_none().then_some(params.load_spread),
            battery: Battery {
                capacity: params.battery_kwh,
                per_step: params.battery_kw * hours,
                one_way: params.round_trip_efficiency.sqrt(),
                leak: 1.0 - (1.0 - params.self_discharge_per_day).powf(hours / 24.0),
                charge: params.battery_kwh / 2.0,
            },
            months: months(),
            import_price: params.import_price,
            export_price: params.export_price,
        }
    }
}
