//! What a submitter can choose.

use serde::Deserialize;

/// House, weather and prices; every field has a default.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Scenarios to simulate; 1 to 10,000.
    pub scenarios: u32,
    /// Length of a step in minutes; 15, 30 or 60.
    pub step_minutes: u32,
    /// Latitude in degrees, north positive.
    pub latitude_deg: f64,
    /// Peak power of the panels in kW at 1,000 W/m².
    pub pv_kwp: f64,
    /// Tilt of the panels against the horizontal in degrees.
    pub tilt_deg: f64,
    /// Where the panels face, in degrees clockwise from north; absent: towards the equator.
    pub azimuth_deg: Option<f64>,
    /// Share of the panels' power that reaches the house: inverter, cables, dirt, heat.
    pub performance_ratio: f64,
    /// Share of the light that the ground in front of the panels reflects.
    pub albedo: f64,
    /// Mean daily clearness index at midsummer: the share of the extraterrestrial light that reaches the ground.
    pub clearness_summer: f64,
    /// The same at midwinter.
    pub clearness_winter: f64,
    /// Standard deviation of a year's mean clearness from year to year, relative.
    pub clearness_spread: f64,
    /// Usable capacity of the battery in kWh.
    pub battery_kwh: f64,
    /// Power of the battery in kW, for charging and for discharging.
    pub battery_kw: f64,
    /// Energy that comes out of the battery per energy that goes in.
    pub round_trip_efficiency: f64,
    /// Share of the stored energy that is lost in a day.
    pub self_discharge_per_day: f64,
    /// Expected consumption of the house in kWh a year; without effect on a measured load.
    pub annual_load_kwh: f64,
    /// Standard deviation of the consumption from year to year, relative; without effect on a measured load.
    pub load_spread: f64,
    /// Price of a kWh from the grid.
    pub import_price: f64,
    /// Revenue of a kWh fed into the grid.
    pub export_price: f64,
}

/// The most scenarios.
pub const MAX_SCENARIOS: u32 = 10_000;

impl Default for Params {
    fn default() -> Self {
        Self {
            scenarios: 200,
            step_minutes: 60,
            latitude_deg: 51.5,
            pv_kwp: 5.0,
            tilt_deg: 35.0,
            azimuth_deg: None,
            performance_ratio: 0.85,
            albedo: 0.2,
            clearness_summer: 0.46,
            clearness_winter: 0.33,
            clearness_spread: 0.03,
            battery_kwh: 5.0,
            battery_kw: 2.5,
            round_trip_efficiency: 0.9,
            self_discharge_per_day: 0.001,
            annual_load_kwh: 4_000.0,
            load_spread: 0.1,
            import_price: 0.3,
            export_price: 0.08,
        }
    }
}

/// A param outside its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("the param `{name}` is {value}, and must be {allowed}")]
pub struct OutOfRange {
    name: &'static str,
    value: String,
    allowed: String,
}

impl Params {
    /// Checks that every value is within its range.
    ///
    /// # Errors
    /// The first that is not, with its name, its value and the range.
    pub fn check(&self) -> Result<(), OutOfRange> {
        let refuse = |name, value: &dyn ToString, allowed: &dyn ToString| {
            Err(OutOfRange { name, value: value.to_string(), allowed: allowed.to_string() })
        };
        if !(1..=MAX_SCENARIOS).contains(&self.scenarios) {
            return refuse("scenarios", &self.scenarios, &format!("within 1 to {MAX_SCENARIOS}"));
        }
        if ![15, 30, 60].contains(&self.step_minutes) {
            return refuse("step_minutes", &self.step_minutes, &"15, 30 or 60");
        }
        for (name, value, low, high) in self.ranges() {
            if !(low..=high).contains(&value) {
                return refuse(name, &value, &format!("within {low} to {high}"));
            }
        }
        Ok(())
    }

    /// Where the panels face, in degrees clockwise from north.
    pub fn facing_deg(&self) -> f64 {
        self.azimuth_deg.unwrap_or(if self.latitude_deg < 0.0 { 0.0 } else { 180.0 })
    }

    fn ranges(&self) -> [(&'static str, f64, f64, f64); 17] {
        [
            ("latitude_deg", self.latitude_deg, -90.0, 90.0),
            ("pv_kwp", self.pv_kwp, 0.0, 100_000.0),
            ("tilt_deg", self.tilt_deg, 0.0, 90.0),
            ("azimuth_deg", self.facing_deg(), -360.0, 360.0),
            ("performance_ratio", self.performance_ratio, 0.0, 1.0),
            ("albedo", self.albedo, 0.0, 1.0),
            ("clearness_summer", self.clearness_summer, 0.15, 0.7),
            ("clearness_winter", self.clearness_winter, 0.15, 0.7),
            ("clearness_spread", self.clearness_spread, 0.0, 0.5),
            ("battery_kwh", self.battery_kwh, 0.0, 1_000_000.0),
            ("battery_kw", self.battery_kw, 0.0, 1_000_000.0),
            ("round_trip_efficiency", self.round_trip_efficiency, 0.1, 1.0),
            ("self_discharge_per_day", self.self_discharge_per_day, 0.0, 0.5),
            ("annual_load_kwh", self.annual_load_kwh, 0.0, 100_000_000.0),
            ("load_spread", self.load_spread, 0.0, 1.0),
            ("import_price", self.import_price, -1_000.0, 1_000.0),
            ("export_price", self.export_price, -1_000.0, 1_000.0),
        ]
    }
}
