//! What the submitter may ask for.

use crate::kernel::{MAX_HORIZON, Method};
use crate::refusal::{Refusal, refusal};
use serde::Deserialize;

/// The params of a job; all of them have defaults.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// How many steps to forecast, 1 to [`MAX_HORIZON`]; absent: one shortest season, or 12 without a season.
    pub horizon: Option<usize>,
    /// Lengths of the seasons in steps; absent: by the step of the timestamps, empty: no season.
    pub season_lengths: Option<Vec<usize>>,
    /// The probability with which an interval shall cover the value, 0.5 to 0.999.
    pub level: f64,
    /// How to forecast.
    pub method: Method,
    /// The column of the timestamps; absent: found by its name.
    pub timestamp_column: Option<String>,
    /// The column of the values; absent: found by its name, or the only other one.
    pub value_column: Option<String>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            horizon: None,
            season_lengths: None,
            level: 0.95,
            method: Method::Auto,
            timestamp_column: None,
            value_column: None,
        }
    }
}

impl Params {
    /// Checks what can be checked without the series.
    ///
    /// # Errors
    /// A refusal that names the param, what it is and what it may be.
    pub fn check(&self) -> Result<(), Refusal> {
        if let Some(horizon) = self.horizon
            && !(1..=MAX_HORIZON).contains(&horizon)
        {
            return Err(refusal!("param `horizon` is {horizon}; it must be from 1 to {MAX_HORIZON} steps"));
        }
        if !(0.5..=0.999).contains(&self.level) {
            return Err(refusal!("param `level` is {}; it must be from 0.5 to 0.999, such as 0.95", self.level));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_an_empty_object_means_them() {
        let params: Params = serde_json::from_str("{}").unwrap();
        assert_eq!(params, Params::default());
        params.check().unwrap();
    }

    #[test]
    fn an_unknown_param_is_refused_by_name() {
        let error = serde_json::from_str::<Params>(r#"{"horizont": 48}"#).unwrap_err().to_string();
        assert!(error.contains("horizont"), "{error}");
    }

    #[test]
    fn an_unknown_method_is_refused_with_those_that_exist() {
        let error = serde_json::from_str::<Params>(r#"{"method": "arima"}"#).unwrap_err().to_string();
        assert!(error.contains("arima") && error.contains("seasonal-naive"), "{error}");
    }

    #[test]
    fn params_out_of_range_are_refused_with_their_range() {
        for (params, needle) in [
            (r#"{"horizon": 0}"#, "horizon"),
            (r#"{"horizon": 10001}"#, "10000"),
            (r#"{"level": 1.0}"#, "0.999"),
            (r#"{"level": 0.0}"#, "level"),
        ] {
            let reason = serde_json::from_str::<Params>(params).unwrap().check().unwrap_err().to_string();
            assert!(reason.contains(needle), "{reason}");
        }
    }
}
