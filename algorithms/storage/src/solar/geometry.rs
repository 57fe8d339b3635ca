//! Where the sun stands.

use std::f64::consts::{PI, TAU};

/// Irradiance in W/m² outside the atmosphere at the mean distance: G. Kopp and J. L. Lean, Geophysical Research
/// Letters 38 (2011), L01706.
const SOLAR_CONSTANT: f64 = 1361.0;

/// The sun in the middle of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sun {
    /// Irradiance in W/m² outside the atmosphere, on a plane that faces the sun.
    pub normal: f64,
    /// Sine of the altitude; 0 below the horizon.
    pub up: f64,
    /// Cosine of the angle between the sun and the panels' normal; 0 if it stands behind them.
    pub facing: f64,
    /// Ratio of this moment's mean clearness to the day's: the sky is clearer at noon.
    pub trend: f64,
}

/// A plane at a place on Earth; angles in radians.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plane {
    /// North positive.
    pub latitude: f64,
    /// Against the horizontal.
    pub tilt: f64,
    /// Clockwise from north.
    pub azimuth: f64,
}

/// Declination in radians and squared ratio of the mean to the actual distance on a day counted from 0:
/// J. W. Spencer, "Fourier series representation of the position of the sun", Search 2 (1971), 172 (DB 1.6.1b, 1.4.1b).
pub fn spencer(day: usize) -> (f64, f64) {
    let b = TAU * day as f64 / 365.0;
    let declination = 0.006_918 - 0.399_912 * b.cos() + 0.070_257 * b.sin() - 0.006_758 * (2.0 * b).cos()
        + 0.000_907 * (2.0 * b).sin()
        - 0.002_697 * (3.0 * b).cos()
        + 0.001_48 * (3.0 * b).sin();
    let distance = 1.000_110
        + 0.034_221 * b.cos()
        + 0.001_280 * b.sin()
        + 0.000_719 * (2.0 * b).cos()
        + 0.000_077 * (2.0 * b).sin();
    (declination, distance)
}

/// Hour angle of sunset in radians, from 0 in the polar night to π in the polar day (DB 1.6.10).
pub fn sunset(latitude: f64, declination: f64) -> f64 {
    (-latitude.tan() * declination.tan()).clamp(-1.0, 1.0).acos()
}

impl Sun {
    /// The sun on a day counted from 0 at an hour of solar time, as a vector towards east, north and up.
    ///
    /// The trend over the day is that of M. Collares-Pereira and A. Rabl, Solar Energy 22 (1979), 155–164 (DB 2.13.2).
    pub fn new(plane: &Plane, day: usize, hour: f64) -> Self {
        let (declination, distance) = spencer(day);
        let angle = (hour - 12.0) * PI / 12.0;
        let (latitude, tilt, azimuth) = (plane.latitude, plane.tilt, plane.azimuth);
        let up = latitude.sin() * declination.sin() + latitude.cos() * declination.cos() * angle.cos();
        let north = latitude.cos() * declination.sin() - latitude.sin() * declination.cos() * angle.cos();
        let east = -declination.cos() * angle.sin();
        let facing = tilt.sin() * (azimuth.sin() * east + azimuth.cos() * north) + tilt.cos() * up;
        let late = (sunset(latitude, declination) - PI / 3.0).sin();
        let trend = 0.409 + 0.5016 * late + (0.6609 - 0.4767 * late) * angle.cos();
        Self { normal: SOLAR_CONSTANT * distance, up: up.max(0.0), facing: facing.max(0.0), trend: trend.max(0.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NORTH: Plane = Plane { latitude: 0.9, tilt: 0.0, azimuth: PI };

    #[test]
    fn declination_peaks_at_the_solstices_and_the_earth_is_nearest_in_january() {
        let declination = |day| spencer(day).0.to_degrees();
        assert!((declination(171) - 23.45).abs() < 0.05);
        assert!((declination(354) + 23.45).abs() < 0.05);
        assert!(declination(79).abs() < 0.7);
        assert!(spencer(2).1 > 1.03 && spencer(184).1 < 0.97);
    }

    #[test]
    fn the_noon_sun_stands_as_high_as_latitude_and_declination_say() {
        let sun = Sun::new(&NORTH, 171, 12.0);
        let altitude = PI / 2.0 - NORTH.latitude + spencer(171).0;
        assert!((sun.up - altitude.sin()).abs() < 1e-12);
        assert!((sun.facing - sun.up).abs() < 1e-12, "a flat plane sees what the ground sees");
        assert_eq!(Sun::new(&NORTH, 171, 0.0).up, 0.0);
    }

    #[test]
    fn a_plane_turned_to_the_noon_sun_faces_it_and_an_eastern_one_sees_the_morning() {
        let tilt = NORTH.latitude - spencer(100).0;
        assert!((Sun::new(&Plane { tilt, ..NORTH }, 100, 12.0).facing - 1.0).abs() < 1e-12);
        let east = Plane { tilt: 1.0, azimuth: PI / 2.0, ..NORTH };
        assert!(Sun::new(&east, 171, 8.0).facing > 0.8 && Sun::new(&east, 171, 18.0).facing == 0.0);
    }

    #[test]
    fn the_poles_have_half_a_year_of_day() {
        assert_eq!(sunset(PI / 2.0, 0.4), PI);
        assert_eq!(sunset(PI / 2.0, -0.4), 0.0);
    }
}
