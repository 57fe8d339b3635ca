//! A synthetic household.

use crate::calendar::{DAYS, DayType, day_type};

/// Mean power of each hour relative to the year's, by type of day: a morning, a noon and an evening peak, later and
/// flatter at weekends. The shape is like that of a standard load profile for households, but not a copy of one.
const HOURS: [[f64; 24]; 3] = [
    [
        0.55, 0.42, 0.36, 0.34, 0.34, 0.40, 0.70, 1.00, 1.05, 0.98, 0.95, 1.00, 1.12, 1.05, 0.92, 0.88, 0.95, 1.20,
        1.50, 1.65, 1.55, 1.35, 1.10, 0.80,
    ],
    [
        0.65, 0.50, 0.42, 0.38, 0.36, 0.38, 0.48, 0.75, 1.05, 1.25, 1.30, 1.32, 1.35, 1.22, 1.08, 1.02, 1.08, 1.28,
        1.48, 1.50, 1.38, 1.22, 1.05, 0.85,
    ],
    [
        0.68, 0.52, 0.44, 0.38, 0.36, 0.36, 0.42, 0.60, 0.92, 1.22, 1.40, 1.55, 1.60, 1.30, 1.05, 0.95, 0.98, 1.15,
        1.38, 1.45, 1.36, 1.20, 0.98, 0.72,
    ],
];

/// Consumption of a day relative to the year's mean: the polynomial by which the standard load profile H0 is made
/// dynamic (VDEW, *Repräsentative VDEW-Lastprofile*, 1999); half a year later in the south.
fn season(day: usize, latitude_deg: f64) -> f64 {
    let shifted = if latitude_deg < 0.0 { (day + 182) % DAYS } else { day };
    let t = shifted as f64 + 1.0;
    1.24 + t * (2.1e-3 + t * (-7.02e-5 + t * (3.2e-7 - 3.92e-10 * t)))
}

/// Expected consumption in kWh of each hour of the year, `annual_kwh` together.
pub fn hours(annual_kwh: f64, latitude_deg: f64) -> Vec<f64> {
    let relative: Vec<f64> = (0..DAYS)
        .flat_map(|day| {
            let shape = match day_type(day) {
                DayType::Workday => &HOURS[0],
                DayType::Saturday => &HOURS[1],
                DayType::Sunday => &HOURS[2],
            };
            let season = season(day, latitude_deg);
            shape.iter().map(move |hour| hour * season)
        })
        .collect();
    let total: f64 = relative.iter().sum();
    relative.into_iter().map(|hour| hour / total * annual_kwh).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hours_add_up_to_the_year_and_winter_takes_more() {
        let hours = hours(4_000.0, 51.5);
        assert_eq!(hours.len(), 8_760);
        assert!((hours.iter().sum::<f64>() - 4_000.0).abs() < 1e-9);
        let days = |from: usize| hours[from * 24..(from + 28) * 24].iter().sum::<f64>();
        assert!(days(0) > 1.3 * days(182));
        assert!((season(0, -30.0) - season(182, 30.0)).abs() < 1e-12);
    }
}
