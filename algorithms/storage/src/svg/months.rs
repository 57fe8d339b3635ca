//! The mean year: what meets the consumption of each month, and what the panels give.

use super::axis::{label, ticks};
use super::{Frame, colour};
use crate::report::Month;
use std::fmt::{self, Write};

/// Draws stacked bars of the consumption and a line of the panels' energy.
pub(super) fn draw(svg: &mut String, months: &[Month], frame: Frame) -> fmt::Result {
    let largest = months.iter().map(|month| month.load_kwh.max(month.pv_kwh).max(month.import_p95_kwh));
    let top = 1.08 * largest.fold(1.0, f64::max);
    let bottom = frame.y + frame.height;
    let at = |energy: f64| bottom - energy / top * frame.height;
    legend(svg, frame)?;
    scale(svg, frame, top)?;
    let slot = frame.width / months.len().max(1) as f64;
    for (position, month) in months.iter().enumerate() {
        let left = frame.x + position as f64 * slot + 0.2 * slot;
        let mut base = 0.0;
        let parts =
            [(month.import_kwh, colour::IMPORT), (month.battery_kwh, colour::BATTERY), (month.direct_kwh, colour::SUN)];
        for (energy, fill) in parts {
            let (y, height) = (at(base + energy), at(base) - at(base + energy));
            writeln!(
                svg,
                r#"<rect x="{left:.1}" y="{y:.1}" width="{:.1}" height="{:.1}" fill="{fill}"/>"#,
                0.6 * slot,
                height.max(0.0)
            )?;
            base += energy;
        }
        let (middle, muted, text) = (left + 0.3 * slot, colour::MUTED, colour::TEXT);
        writeln!(
            svg,
            r#"<path d="M{middle:.1} {low:.1}V{high:.1}M{a:.1} {low:.1}h8M{a:.1} {high:.1}h8" stroke="{text}" stroke-width="1.3" fill="none"/><text x="{middle:.1}" y="{:.1}" fill="{muted}" text-anchor="middle">{}</text>"#,
            bottom + 18.0,
            month.month,
            low = at(month.import_p05_kwh),
            high = at(month.import_p95_kwh),
            a = middle - 4.0
        )?;
    }
    panels(svg, months, |position| frame.x + (position as f64 + 0.5) * slot, at)
}

fn panels(svg: &mut String, months: &[Month], x: impl Fn(usize) -> f64, y: impl Fn(f64) -> f64) -> fmt::Result {
    let stroke = colour::MEDIAN;
    write!(svg, r#"<polyline fill="none" stroke="{stroke}" stroke-width="2" points=""#)?;
    for (position, month) in months.iter().enumerate() {
        write!(svg, "{:.1},{:.1} ", x(position), y(month.pv_kwh))?;
    }
    writeln!(svg, r#""/>"#)?;
    for (position, month) in months.iter().enumerate() {
        let (x, y) = (x(position), y(month.pv_kwh));
        writeln!(
            svg,
            r##"<circle cx="{x:.1}" cy="{y:.1}" r="3.5" fill="#ffffff" stroke="{stroke}" stroke-width="2"/>"##
        )?;
    }
    Ok(())
}

fn scale(svg: &mut String, frame: Frame, top: f64) -> fmt::Result {
    let bottom = frame.y + frame.height;
    let marks = ticks(0.0, top, 5);
    let step = marks.get(1).map_or(1.0, |second| second - marks[0]);
    let (grid, muted) = (colour::GRID, colour::MUTED);
    for mark in marks {
        let y = bottom - mark / top * frame.height;
        writeln!(
            svg,
            r#"<line x1="{:.1}" x2="{:.1}" y1="{y:.1}" y2="{y:.1}" stroke="{grid}"/><text x="{:.1}" y="{:.1}" fill="{muted}" text-anchor="end">{}</text>"#,
            frame.x,
            frame.x + frame.width,
            frame.x - 8.0,
            y + 4.0,
            label(mark, step)
        )?;
    }
    Ok(())
}

fn legend(svg: &mut String, frame: Frame) -> fmt::Result {
    let y = frame.y - 20.0;
    writeln!(
        svg,
        r#"<text x="{:.1}" y="{:.1}" font-size="14" font-weight="600">What meets the load, in kWh a month (mean of the scenarios)</text>"#,
        frame.x,
        y - 20.0
    )?;
    let entries = [
        (colour::SUN, "panels, at once", 130.0),
        (colour::BATTERY, "battery", 92.0),
        (colour::IMPORT, "grid (line: 5 to 95 % of the scenarios)", 270.0),
        (colour::MEDIAN, "all that the panels give", 170.0),
    ];
    let mut x = frame.x;
    for (fill, text, width) in entries {
        writeln!(
            svg,
            r#"<rect x="{x:.1}" y="{:.1}" width="11" height="11" rx="2" fill="{fill}"/><text x="{:.1}" y="{y:.1}">{text}</text>"#,
            y - 10.0,
            x + 17.0
        )?;
        x += width;
    }
    Ok(())
}
