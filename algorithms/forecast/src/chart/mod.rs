//! The forecast as a drawing in SVG.

mod axis;
mod time_axis;

use crate::report::Report;
use crate::series::Series;
use axis::Axis;
use std::fmt::Write;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 936.0;
const TOP: f64 = 72.0;
const BOTTOM: f64 = 376.0;

const INK: &str = "#1f2937";
const FAINT: &str = "#6b7280";
const GRID: &str = "#e5e7eb";
const HISTORY: &str = "#475569";
const FORECAST: &str = "#2563eb";

/// Steps of history and forecast that are drawn at most; longer ones are thinned to their extremes.
const MAX_DRAWN: usize = 1_400;
/// The longest name of a series in the title, in characters.
const MAX_NAME: usize = 48;

/// Where slots and values lie on the drawing.
struct Frame {
    first: usize,
    last: usize,
    values: Axis,
}

impl Frame {
    fn x(&self, slot: f64) -> f64 {
        let span = (self.last - self.first).max(1) as f64;
        LEFT + (slot - self.first as f64) / span * (RIGHT - LEFT)
    }

    fn y(&self, value: f64) -> f64 {
        BOTTOM - self.values.share(value) * (BOTTOM - TOP)
    }

    /// The points `(slot, value)` as the `d` of a path, appended to `path`.
    fn line(&self, path: &mut String, start: char, points: impl Iterator<Item = (usize, f64)>) {
        let mut command = start;
        for (slot, value) in points {
            let _ = write!(path, "{command}{:.1} {:.1}", self.x(slot as f64), self.y(value));
            command = 'L';
        }
    }
}

/// Draws the last stretch of the history, the forecast and its intervals.
///
/// The stretch is three horizons or one longest season, whichever is longer, but not more than ten horizons.
pub fn svg(series: &Series, report: &Report) -> String {
    let (length, horizon) = (series.values.len(), report.forecast.len());
    let longest_season = series.seasons.last().copied().unwrap_or(1);
    let shown = (3 * horizon).max(longest_season.min(10 * horizon)).max(12).min(length);
    let first = length - shown;
    let history: Vec<(usize, f64)> = (first..length).map(|slot| (slot, series.values[slot])).collect();
    let steps = || (length..).zip(&report.forecast);
    let ends = steps().flat_map(|(_, step)| [step.lower, step.upper, step.mean]);
    let values = Axis::spanning(history.iter().map(|&(_, value)| value).chain(ends));
    let frame = Frame { first, last: length + horizon - 1, values };

    let mut svg = String::new();
    open(&mut svg, report);
    grid_lines(&mut svg, &frame, series);
    let x = frame.x(length as f64 - 0.5);
    let _ = writeln!(svg, r#"<path d="M{x:.1} {TOP}V{BOTTOM}" stroke="{FAINT}" stroke-dasharray="3 4"/>"#);

    let mut band = String::new();
    frame.line(&mut band, 'M', thin(steps().map(|(slot, step)| (slot, step.upper)).collect()).into_iter());
    let lower = thin(steps().map(|(slot, step)| (slot, step.lower)).collect());
    frame.line(&mut band, 'L', lower.into_iter().rev());
    let _ = writeln!(svg, r#"<path d="{band}Z" fill="{FORECAST}" fill-opacity=".18"/>"#);

    let last = history.last().copied();
    let mut past = String::new();
    frame.line(&mut past, 'M', thin(history).into_iter());
    stroke(&mut svg, &past, HISTORY, 1.5);
    let mut ahead = String::new();
    let mean = thin(steps().map(|(slot, step)| (slot, step.mean)).collect());
    frame.line(&mut ahead, 'M', last.into_iter().chain(mean));
    stroke(&mut svg, &ahead, FORECAST, 2.0);
    svg.push_str("</svg>\n");
    svg
}

fn stroke(svg: &mut String, path: &str, colour: &str, width: f64) {
    let _ = writeln!(
        svg,
        r#"<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width}" stroke-linejoin="round"/>"#
    );
}

fn open(svg: &mut String, report: &Report) {
    let name = escape(&report.series.name);
    let (from, steps) = (&report.forecast.first().map_or("", |step| &step.timestamp), report.forecast.len());
    let _ = write!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" font-family="system-ui,'Segoe UI','DejaVu Sans',sans-serif" font-size="12">
<title>Forecast of {name}</title>
<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>
<text x="{LEFT}" y="30" font-size="17" font-weight="600" fill="{INK}">{name}</text>
<text x="{LEFT}" y="50" fill="{FAINT}">{steps} steps of {step} from {from} by {method}</text>
"#,
        step = report.series.step,
        method = report.method,
    );
    let legend = [
        (RIGHT - 330.0, HISTORY, 2.0, 1.0, "history".to_owned()),
        (RIGHT - 230.0, FORECAST, 2.0, 1.0, "forecast".to_owned()),
        (RIGHT - 125.0, FORECAST, 12.0, 0.18, format!("{} % interval", (report.level * 1000.0).round() / 10.0)),
    ];
    for (x, colour, width, opacity, label) in legend {
        let (end, text) = (x + 22.0, x + 28.0);
        let _ = writeln!(
            svg,
            r#"<path d="M{x} 46H{end}" stroke="{colour}" stroke-width="{width}" stroke-opacity="{opacity}"/><text x="{text}" y="50" fill="{INK}">{label}</text>"#
        );
    }
}

fn grid_lines(svg: &mut String, frame: &Frame, series: &Series) {
    for (value, label) in frame.values.ticks() {
        let (y, text) = (frame.y(value), LEFT - 8.0);
        let _ = writeln!(
            svg,
            r#"<path d="M{LEFT} {y:.1}H{RIGHT}" stroke="{GRID}"/><text x="{text}" y="{:.1}" text-anchor="end" fill="{FAINT}">{label}</text>"#,
            y + 4.0
        );
    }
    for (slot, label) in time_axis::ticks(&series.grid, frame.first, frame.last) {
        let x = frame.x(slot);
        let _ = writeln!(
            svg,
            r#"<path d="M{x:.1} {TOP}V{BOTTOM}" stroke="{GRID}"/><text x="{x:.1}" y="{:.1}" text-anchor="middle" fill="{FAINT}">{label}</text>"#,
            BOTTOM + 20.0
        );
    }
}

/// At most [`MAX_DRAWN`] points: each run of points that would share a pixel becomes its least and its greatest.
fn thin(points: Vec<(usize, f64)>) -> Vec<(usize, f64)> {
    if points.len() <= MAX_DRAWN {
        return points;
    }
    let run = points.len().div_ceil(MAX_DRAWN / 2);
    let extremes = |run: &[(usize, f64)]| {
        let least = run.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
        let greatest = run.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
        let mut pair: Vec<(usize, f64)> = least.into_iter().chain(greatest).collect();
        pair.sort_unstable_by_key(|&(slot, _)| slot);
        pair
    };
    points.chunks(run).flat_map(extremes).collect()
}

/// The text for XML, without control characters and not longer than [`MAX_NAME`].
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars().filter(|letter| !letter.is_control()).take(MAX_NAME) {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\u{fffe}' | '\u{ffff}' => {}
            letter => escaped.push(letter),
        }
    }
    escaped
}
