//! The same figures as tables, after RFC 4180.

use crate::case::BusId;
use crate::report::Report;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Writes `bus.csv` and `branch.csv` into `dir`.
///
/// # Errors
/// If a file cannot be written.
pub(crate) fn write(report: &Report, dir: &Path) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(dir.join("bus.csv"))?);
    writeln!(file, "id,vm_pu,va_deg")?;
    for bus in &report.bus {
        writeln!(file, "{},{},{}", cell(&bus.id), bus.vm_pu, bus.va_deg)?;
    }
    file.flush()?;
    let mut file = BufWriter::new(File::create(dir.join("branch.csv"))?);
    writeln!(file, "from,to,in_service,p_from_mw,q_from_mvar,p_to_mw,q_to_mvar,losses_mw,loading_percent")?;
    for flow in report.branch.iter().flatten() {
        write!(file, "{},{},{}", cell(&flow.from), cell(&flow.to), flow.in_service)?;
        for value in [flow.p_from_mw, flow.q_from_mvar, flow.p_to_mw, flow.q_to_mvar, flow.losses_mw] {
            write!(file, ",{value}")?;
        }
        writeln!(file, ",{}", flow.loading_percent.map(|percent| percent.to_string()).unwrap_or_default())?;
    }
    file.flush()
}

/// An id as a cell, quoted if it needs it.
fn cell(id: &BusId) -> String {
    match id {
        BusId::Number(id) => id.to_string(),
        BusId::Text(id) if id.contains([',', '"', '\n', '\r']) => format!("\"{}\"", id.replace('"', "\"\"")),
        BusId::Text(id) => id.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_would_break_the_table_is_quoted() {
        assert_eq!(cell(&BusId::Number(-3)), "-3");
        assert_eq!(cell(&BusId::Text("north".to_owned())), "north");
        assert_eq!(cell(&BusId::Text("a,\"b\"".to_owned())), "\"a,\"\"b\"\"\"");
    }
}
