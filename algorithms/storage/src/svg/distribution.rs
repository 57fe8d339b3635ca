//! A figure's distribution over the scenarios as a histogram with its quantiles.

use super::axis::{label, ticks};
use super::{Frame, colour};
use crate::statistics::{Quantiles, histogram};
use std::fmt::{self, Write};

/// A histogram.
pub(super) struct Distribution<'a> {
    pub(super) title: &'a str,
    pub(super) unit: &'a str,
    pub(super) values: &'a [f64],
    pub(super) fill: &'a str,
}

impl Distribution<'_> {
    /// Draws it with title and scale around `frame`.
    pub(super) fn draw(&self, svg: &mut String, frame: Frame) -> fmt::Result {
        let (title, muted) = (self.title, colour::MUTED);
        let quantiles = Quantiles::of(self.values.iter().copied());
        let (low, high) = self.bounds();
        let digits = |value: f64| label(value, (high - low) / 100.0);
        let summary = quantiles.map_or_else(
            || "no scenario has a value".to_owned(),
            |Quantiles { p05, p50, p95, .. }| {
                let [p05, p50, p95] = [p05, p50, p95].map(digits);
                format!("median {p50} {unit} · 90 % within {p05} to {p95} {unit}", unit = self.unit)
            },
        );
        writeln!(
            svg,
            r#"<text x="{x}" y="{}" font-size="14" font-weight="600">{title}</text><text x="{x}" y="{}" fill="{muted}">{summary}</text>"#,
            frame.y - 36.0,
            frame.y - 18.0,
            x = frame.x
        )?;
        let Some(quantiles) = quantiles else { return Ok(()) };
        let at = |value: f64| frame.x + (value - low) / (high - low) * frame.width;
        self.bars(svg, frame, low, high, &quantiles)?;
        let bottom = frame.y + frame.height;
        let (x, text) = (at(quantiles.p50), colour::MEDIAN);
        writeln!(
            svg,
            r#"<line x1="{x:.1}" x2="{x:.1}" y1="{:.1}" y2="{bottom:.1}" stroke="{text}" stroke-width="2"/>"#,
            frame.y - 4.0
        )?;
        let marks = ticks(low, high, 6);
        let step = marks.get(1).map_or(1.0, |second| second - marks[0]);
        for mark in marks {
            let (x, mark) = (at(mark), label(mark, step));
            writeln!(
                svg,
                r#"<text x="{x:.1}" y="{:.1}" fill="{muted}" text-anchor="middle">{mark}</text>"#,
                bottom + 18.0
            )?;
        }
        writeln!(
            svg,
            r#"<line x1="{:.1}" x2="{:.1}" y1="{bottom:.1}" y2="{bottom:.1}" stroke="{muted}"/>"#,
            frame.x,
            frame.x + frame.width
        )
    }

    /// The bars; those outside the middle 90 % are pale.
    fn bars(&self, svg: &mut String, frame: Frame, low: f64, high: f64, quantiles: &Quantiles) -> fmt::Result {
        let bins = ((self.values.len() as f64).sqrt() * 1.6).clamp(8.0, 48.0) as usize;
        let counts = histogram(self.values, low, high, bins);
        let tallest = counts.iter().copied().max().unwrap_or(1).max(1) as f64;
        let width = frame.width / bins as f64;
        for (bin, &count) in counts.iter().enumerate().filter(|&(_, &count)| count > 0) {
            let middle = low + (bin as f64 + 0.5) / bins as f64 * (high - low);
            let opacity = if (quantiles.p05..=quantiles.p95).contains(&middle) { 0.9 } else { 0.4 };
            let height = count as f64 / tallest * frame.height;
            writeln!(
                svg,
                r#"<rect x="{:.1}" y="{:.1}" width="{:.1}" height="{height:.1}" fill="{}" fill-opacity="{opacity}"/>"#,
                frame.x + bin as f64 * width + 0.5,
                frame.y + frame.height - height,
                width - 1.0,
                self.fill
            )?;
        }
        Ok(())
    }

    /// The range of the values with a margin, wide enough to be divided.
    fn bounds(&self) -> (f64, f64) {
        let low = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let margin = (0.05 * (high - low)).max(1e-3 * high.abs()).max(0.5);
        (low - margin, high + margin)
    }
}
