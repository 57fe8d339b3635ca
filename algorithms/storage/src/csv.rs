//! The scenarios as a table, written one by one.

use crate::report::FIGURES;
use crate::year::Scenario;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// A table under way.
pub(crate) struct Table(BufWriter<File>);

impl Table {
    /// Begins the table with its header.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        write!(file, "scenario")?;
        for figure in &FIGURES {
            write!(file, ",{}", figure.name)?;
        }
        writeln!(file)?;
        Ok(Self(file))
    }

    /// Appends a scenario; a figure without a meaning leaves its cell empty.
    pub(crate) fn row(&mut self, number: u32, scenario: &Scenario) -> io::Result<()> {
        write!(self.0, "{number}")?;
        for figure in &FIGURES {
            match (figure.of)(scenario) {
                Some(value) => write!(self.0, ",{value:.6}")?,
                None => write!(self.0, ",")?,
            }
        }
        writeln!(self.0)
    }

    /// Ends the table.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.0.flush()
    }
}
