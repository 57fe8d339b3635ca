//! The picture: two distributions over the scenarios, and the mean year by months.

mod axis;
mod distribution;
mod months;

use crate::params::Params;
use crate::report::{LoadSource, Report, self_sufficiency};
use crate::year::Scenario;
use distribution::Distribution;
use std::fmt::{self, Write};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 680.0;

/// Colours that remain apart for colour-blind readers: M. Okabe and K. Ito, *Color Universal Design* (2008), toned
/// down.
mod colour {
    pub(super) const TEXT: &str = "#22303c";
    pub(super) const MUTED: &str = "#6b7a88";
    pub(super) const GRID: &str = "#e4e9ee";
    pub(super) const SUN: &str = "#e9a820";
    pub(super) const BATTERY: &str = "#1f9e77";
    pub(super) const IMPORT: &str = "#56789a";
    pub(super) const MEDIAN: &str = "#c8442b";
}

/// A rectangle of the picture.
#[derive(Debug, Clone, Copy)]
struct Frame {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

/// Draws the picture.
pub(crate) fn draw(params: &Params, report: &Report, scenarios: &[Scenario]) -> Result<String, fmt::Error> {
    let mut svg = String::new();
    let ground = colour::TEXT;
    writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" font-family="Inter, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="12" fill="{ground}">"#
    )?;
    writeln!(svg, r##"<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>"##)?;
    title(&mut svg, params, report)?;
    let top = Frame { x: 76.0, y: 152.0, width: 376.0, height: 168.0 };
    let shares: Vec<f64> = scenarios.iter().filter_map(self_sufficiency).map(|share| 100.0 * share).collect();
    let imports: Vec<f64> = scenarios.iter().map(|scenario| scenario.total.import).collect();
    Distribution { title: "Self-sufficiency", unit: "%", values: &shares, fill: colour::BATTERY }
        .draw(&mut svg, top)?;
    Distribution { title: "Energy from the grid in the year", unit: "kWh", values: &imports, fill: colour::IMPORT }
        .draw(&mut svg, Frame { x: 536.0, ..top })?;
    months::draw(&mut svg, &report.months, Frame { x: 76.0, y: 432.0, width: 836.0, height: 204.0 })?;
    writeln!(svg, "</svg>")?;
    Ok(svg)
}

fn title(svg: &mut String, params: &Params, report: &Report) -> fmt::Result {
    let load = match report.load {
        LoadSource::Synthetic => format!("{} kWh a year", params.annual_load_kwh),
        LoadSource::Measured => "a measured load".to_owned(),
    };
    let muted = colour::MUTED;
    writeln!(
        svg,
        r#"<text x="76" y="44" font-size="20" font-weight="600">A house with {} kWp of panels and a battery of {} kWh</text>"#,
        params.pv_kwp, params.battery_kwh
    )?;
    writeln!(
        svg,
        r#"<text x="76" y="66" fill="{muted}">{load} · latitude {}° · {} scenarios in steps of {} min · seed {}</text>"#,
        params.latitude_deg, report.scenarios, report.step_minutes, report.seed
    )
}
