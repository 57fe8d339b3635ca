//! What reaches a tilted plane.

use super::geometry::Sun;

/// How a tilted plane sees sky and ground.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    /// Share of the sky's diffuse light.
    pub sky: f64,
    /// Share of the light on the ground that reaches the plane by reflection.
    pub ground: f64,
}

impl View {
    /// The view of a plane, sky and ground shining evenly: B. Y. H. Liu and R. C. Jordan, Solar Energy 7 (1963), 53–74
    /// (DB 2.15.1).
    pub fn new(tilt: f64, albedo: f64) -> Self {
        Self { sky: f64::midpoint(1.0, tilt.cos()), ground: albedo * (1.0 - tilt.cos()) / 2.0 }
    }
}

/// Share of the light that comes from the whole sky at a clearness index: D. G. Erbs, S. A. Klein and J. A. Duffie,
/// Solar Energy 28 (1982), 293–302 (DB 2.10.1).
pub fn diffuse_share(clearness: f64) -> f64 {
    let k = clearness;
    if k <= 0.22 {
        1.0 - 0.09 * k
    } else if k <= 0.8 {
        0.9511 + k * (-0.1604 + k * (4.388 + k * (-16.638 + k * 12.336)))
    } else {
        0.165
    }
}

/// Irradiance on the plane in W/m² under a sky of that clearness.
pub fn irradiance(sun: &Sun, clearness: f64, view: &View) -> f64 {
    let horizontal = clearness * sun.normal * sun.up;
    let diffuse = horizontal * diffuse_share(clearness);
    let beam = clearness * sun.normal * (1.0 - diffuse_share(clearness)) * sun.facing;
    beam + diffuse * view.sky + horizontal * view.ground
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_plane_gets_all_of_the_light_and_no_reflection() {
        let sun = Sun { normal: 1_361.0, up: 0.6, facing: 0.6, trend: 1.0 };
        let irradiance = irradiance(&sun, 0.5, &View::new(0.0, 0.2));
        assert!((irradiance - 0.5 * 1_361.0 * 0.6).abs() < 1e-9);
    }

    #[test]
    fn an_overcast_sky_is_diffuse_and_a_clear_one_is_not() {
        assert!(diffuse_share(0.1) > 0.99);
        assert!(diffuse_share(0.75) < 0.25);
        for edge in [0.22, 0.8] {
            assert!((diffuse_share(edge - 1e-9) - diffuse_share(edge + 1e-9)).abs() < 0.01);
        }
    }
}
