//! Summaries for people.

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use std::fs::read_to_string;

/// Prints a table under a title and the conditions of the run; all columns but the first are figures.
pub fn print(title: &str, header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("\n{title}\n({})\n{table}", conditions());
}

/// Seconds in the unit that suits them.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.1} µs", s * 1e6),
        s if s < 1.0 => format!("{:.2} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

/// The machine, and what else it does: a load well above 1 means that others were at work.
fn conditions() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cpu = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, model)| model);
    let load = read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown");
    format!("{cores} cores, {}, load average {load}", model.unwrap_or("unknown processor"))
}
