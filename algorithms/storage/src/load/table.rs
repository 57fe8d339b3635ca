//! A measured load as a table.

use crate::calendar::DAYS;

/// The highest mean power in kW that a row may have.
const MOST: f64 = 1e6;
/// Rows of a year: one an hour, half an hour, or quarter of an hour.
const ROWS: [usize; 3] = [DAYS * 24, DAYS * 48, DAYS * 96];

/// What is wrong with a table; rows are counted from 1, as editors do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum TableError {
    /// Bytes that are no text.
    #[error("the load is not UTF-8 text: see byte {0}")]
    NotText(usize),
    /// A cell that is not a number.
    #[error("row {row} of the load: `{cell}` is not a number of kW; the last cell of each row must be one")]
    NotNumber { row: usize, cell: String },
    /// A number that no house has.
    #[error("row {row} of the load: {power} kW is not within 0 to {MOST}")]
    Range { row: usize, power: f64 },
    /// Another number of rows than a year has.
    #[error(
        "the load has {0} rows of values, and must have {hours} (hours), {halves} (half hours) or {quarters} (quarters)",
        hours = ROWS[0],
        halves = ROWS[1],
        quarters = ROWS[2]
    )]
    Rows(usize),
}

/// Reads the last cell of each row; a first row that is no number is a header, and empty rows are skipped.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<f64>, TableError> {
    let text = std::str::from_utf8(bytes).map_err(|error| TableError::NotText(error.valid_up_to()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut powers = Vec::new();
    for (row, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let cell = line.rsplit([',', ';', '\t']).next().unwrap_or(line).trim();
        match cell.parse::<f64>() {
            Ok(power) if (0.0..=MOST).contains(&power) => powers.push(power),
            Ok(power) => return Err(TableError::Range { row, power }),
            Err(_) if row == 1 => {}
            Err(_) => return Err(TableError::NotNumber { row, cell: cell.chars().take(40).collect() }),
        }
        if powers.len() > ROWS[2] {
            break;
        }
    }
    if ROWS.contains(&powers.len()) { Ok(powers) } else { Err(TableError::Rows(powers.len())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_cell_counts_and_a_header_does_not() {
        let rows = "2026-01-01T00:00,0.5\r\n".repeat(8_760);
        let powers = parse(format!("\u{feff}time,kw\r\n{rows}\r\n").as_bytes()).unwrap();
        assert_eq!((powers.len(), powers[8_759]), (8_760, 0.5));
        assert_eq!(parse("1;2\n".repeat(35_040).as_bytes()).unwrap()[0], 2.0);
    }

    #[test]
    fn what_is_not_a_year_of_powers_is_refused_with_the_row() {
        let message = |text: &str| parse(text.as_bytes()).unwrap_err().to_string();
        assert!(message("kw\n1\nmuch\n").starts_with("row 3 of the load: `much`"));
        assert!(message("1\n-1\n").starts_with("row 2 of the load: -1 kW"));
        assert!(message("1\nNaN\n").starts_with("row 2"));
        assert!(message("1\ninf\n").starts_with("row 2"));
        assert!(message("1\n2\n").starts_with("the load has 2 rows"));
        assert!(message("").starts_with("the load has 0 rows"));
        assert!(message(&"1\n".repeat(40_000)).contains("must have 8760"));
        assert_eq!(parse(b"1\n\xff").unwrap_err(), TableError::NotText(2));
    }
}
