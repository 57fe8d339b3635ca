//! From rows to an equally spaced series without gaps, and an account of what that took.

mod gaps;
pub(crate) mod seasons;

use crate::grid::{Grid, show};
use crate::input::{MAX_ROWS, Row, Rows};
use crate::refusal::{Refusal, refusal};
use serde::Serialize;

/// The fewest values that a series may have.
pub const MIN_VALUES: usize = 20;
/// The most slots, missing values included; twice [`MAX_ROWS`], of which a tenth may be missing.
const MAX_SLOTS: u64 = 2 * MAX_ROWS as u64;

/// An equally spaced series.
#[derive(Debug, Clone)]
pub struct Series {
    /// One value a slot.
    pub values: Vec<f64>,
    /// When the slots are.
    pub grid: Grid,
    /// Lengths of the seasons in slots, rising.
    pub seasons: Vec<usize>,
    /// What was done to the rows.
    pub cleaning: Cleaning,
}

/// What was done to the rows of the input.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Cleaning {
    /// Rows of the input.
    pub rows: usize,
    /// Rows that came before an earlier time and were sorted.
    pub out_of_order: usize,
    /// Rows that repeated another one exactly and were dropped.
    pub duplicates_dropped: usize,
    /// Values that were missing and were interpolated.
    pub interpolated: usize,
    /// The first gaps that were filled.
    pub gaps: Vec<Gap>,
    /// What else is worth knowing, in words.
    pub notes: Vec<String>,
}

/// A run of missing values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The timestamp of the last value before the gap.
    pub after: String,
    /// How many values are missing.
    pub missing: usize,
}

impl Series {
    /// Sorts the rows, drops exact duplicates, finds step and seasons, and fills short gaps.
    ///
    /// # Errors
    /// A refusal for conflicting duplicates, an irregular step, too long a gap, too short a series, or seasons
    /// that it is too short for.
    pub fn from_rows(rows: Rows, wanted_seasons: Option<&[usize]>) -> Result<Self, Refusal> {
        let mut cleaning = Cleaning { rows: rows.rows.len(), ..Cleaning::default() };
        let rows = Rows { rows: sort(rows.rows, &mut cleaning), ..rows };
        let rows = Rows { rows: deduplicate(rows.rows, rows.unit, &mut cleaning)?, ..rows };
        if rows.rows.len() < MIN_VALUES {
            return Err(refusal!(
                "the series has {} different timestamps; at least {MIN_VALUES} are needed",
                rows.rows.len()
            ));
        }
        let (grid, slots) = place(&rows)?;
        let length = slots.last().map_or(0, |&(slot, _)| slot + 1);
        gaps::check_share(&slots, length, &grid)?;
        let (seasons, notes) = seasons::choose(wanted_seasons, grid.step(), length)?;
        cleaning.notes.extend(notes);
        let values = gaps::fill(&slots, &seasons, &grid, &mut cleaning)?;
        Ok(Self { values, grid, seasons, cleaning })
    }
}

fn sort(mut rows: Vec<Row>, cleaning: &mut Cleaning) -> Vec<Row> {
    cleaning.out_of_order = rows.windows(2).filter(|pair| pair[1].time < pair[0].time).count();
    if cleaning.out_of_order > 0 {
        rows.sort_by_key(|row| row.time);
    }
    rows
}

fn deduplicate(rows: Vec<Row>, unit: &str, cleaning: &mut Cleaning) -> Result<Vec<Row>, Refusal> {
    let before = rows.len();
    let mut kept: Vec<Row> = Vec::with_capacity(before);
    for row in rows {
        match kept.last() {
            Some(last) if last.time == row.time && last.value != row.value => {
                return Err(refusal!(
                    "{unit}s {} and {} both give {}, but the values {} and {}; keep one of them (local times \
                     repeat when summer time ends: write them with their offset)",
                    last.place,
                    row.place,
                    show(row.time),
                    last.value,
                    row.value
                ));
            }
            Some(last) if last.time == row.time => {}
            _ => kept.push(row),
        }
    }
    cleaning.duplicates_dropped = before - kept.len();
    Ok(kept)
}

/// Puts every row into its slot.
fn place(rows: &Rows) -> Result<(Grid, Vec<(usize, f64)>), Refusal> {
    let times: Vec<i64> = rows.rows.iter().map(|row| row.time).collect();
    let grid = Grid::detect(&times).ok_or_else(|| refusal!("the series has fewer than two timestamps"))?;
    let mut slots = Vec::with_capacity(rows.rows.len());
    for row in &rows.rows {
        let slot = grid.slot(row.time).ok_or_else(|| {
            refusal!(
                "{} {}: {} is not a whole number of steps ({}, the most frequent one) after {}, the first \
                 timestamp; the series must be equally spaced: resample it",
                rows.unit,
                row.place,
                show(row.time),
                grid.step_iso(),
                show(times[0])
            )
        })?;
        if slot >= MAX_SLOTS {
            return Err(refusal!(
                "{} {}: {} is {slot} steps of {} after {}, the first timestamp; a series may have {MAX_ROWS} values: \
                 send a part of it, or a coarser one",
                rows.unit,
                row.place,
                show(row.time),
                grid.step_iso(),
                show(times[0])
            ));
        }
        slots.push((slot as usize, row.value));
    }
    Ok((grid, slots))
}
