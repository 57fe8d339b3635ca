//! What the house consumes: a synthetic year, or a measured one.

pub mod profile;
mod table;

use crate::calendar::DAYS;
use longboat_sdk::{Failure, Job};
use std::io::Read;

/// The longest table in bytes: a year of quarters of an hour with time stamps takes a third of it.
pub const MAX_BYTES: u64 = 4 << 20;

/// The measured load in kW, if the job has an input: the one named `load`, or the only one.
///
/// # Errors
/// A permanent failure if it is not a year's table; a transient one if reading fails.
pub fn measured<P>(job: &Job<P>) -> Result<Option<Vec<f64>>, Failure> {
    let names: Vec<_> = job.input_names().collect();
    let name = match names.as_slice() {
        [] => return Ok(None),
        [only] => only,
        names if names.contains(&"load") => "load",
        names => {
            let names = names.join(", ");
            return Err(Failure::permanent(format!("none of the job's inputs ({names}) is named `load`")));
        }
    };
    let input = job.input_named(name)?;
    if input.size() > MAX_BYTES {
        return Err(Failure::permanent(format!(
            "the load has {} bytes, and at most {MAX_BYTES} are accepted: give a year of values",
            input.size()
        )));
    }
    let mut bytes = Vec::new();
    input.take(MAX_BYTES).read_to_end(&mut bytes)?;
    table::parse(&bytes).map(Some).map_err(Failure::permanent)
}

/// A year's powers in kW as energies in kWh of `per_day` steps a day: longer intervals are divided evenly, shorter
/// ones added up.
pub fn energies(powers: &[f64], per_day: usize) -> Vec<f64> {
    let had_per_day = powers.len() / DAYS;
    let hours = 24.0 / per_day as f64;
    if had_per_day <= per_day {
        let repeat = per_day / had_per_day.max(1);
        powers.iter().flat_map(|power| std::iter::repeat_n(power * hours, repeat)).collect()
    } else {
        let together = had_per_day / per_day;
        powers.chunks(together).map(|powers| powers.iter().sum::<f64>() / powers.len() as f64 * hours).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn energy_is_the_same_at_any_resolution() {
        let hourly: Vec<f64> = (0..DAYS * 24).map(|hour| (hour % 5) as f64).collect();
        let total: f64 = hourly.iter().sum();
        for per_day in [24, 48, 96] {
            let finer = energies(&hourly, per_day);
            assert_eq!(finer.len(), DAYS * per_day);
            assert!((finer.iter().sum::<f64>() - total).abs() < 1e-6);
            let powers: Vec<f64> = finer.iter().map(|energy| energy * per_day as f64 / 24.0).collect();
            assert!((energies(&powers, 24).iter().sum::<f64>() - total).abs() < 1e-6);
        }
    }
}
