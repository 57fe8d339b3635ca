//! What a submitter can choose.

use crate::Error;
use serde::{Deserialize, Serialize};

/// How the equations are solved; every field has a default.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// The largest power mismatch, in p.u. of `base_mva`, that counts as solved; 10⁻¹² to 10⁻².
    pub tolerance: f64,
    /// Newton steps from one start before it is given up; 1 to 100.
    pub max_iterations: usize,
    /// The voltages to start from.
    pub start: StartParam,
}

/// The voltages that the iteration may start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StartParam {
    /// Angles of the DC load flow; should that diverge a flat start, and then DC angles with damped steps.
    Auto,
    /// All angles 0, magnitudes 1 p.u. or the set point; no second try.
    Flat,
    /// Angles of the DC load flow; no second try.
    Dc,
}

/// The start that led to the solution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// All angles 0.
    Flat,
    /// Angles of the DC load flow.
    Dc,
}

impl Default for Params {
    fn default() -> Self {
        Self { tolerance: 1e-10, max_iterations: 30, start: StartParam::Auto }
    }
}

impl Params {
    const TOLERANCE: (f64, f64) = (1e-12, 1e-2);
    const MAX_ITERATIONS: usize = 100;

    /// Checks that the values are ones the method can work with.
    ///
    /// # Errors
    /// [`Error::Param`] with the name, the value and what is allowed.
    pub fn check(&self) -> Result<(), Error> {
        let (low, high) = Self::TOLERANCE;
        if !(low..=high).contains(&self.tolerance) {
            return Err(Error::Param {
                name: "tolerance",
                value: self.tolerance.to_string(),
                allowed: format!("{low:e} to {high} p.u."),
            });
        }
        if !(1..=Self::MAX_ITERATIONS).contains(&self.max_iterations) {
            return Err(Error::Param {
                name: "max_iterations",
                value: self.max_iterations.to_string(),
                allowed: format!("1 to {}", Self::MAX_ITERATIONS),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Params, String> {
        let params: Params = serde_json::from_str(text).map_err(|error| error.to_string())?;
        params.check().map_err(|error| error.to_string())?;
        Ok(params)
    }

    #[test]
    fn no_params_are_the_defaults() {
        assert_eq!(parse("{}").unwrap(), Params::default());
    }

    #[test]
    fn a_value_out_of_range_is_refused_with_the_range() {
        let message = parse(r#"{"tolerance": 0.5}"#).unwrap_err();
        assert_eq!(message, "the param `tolerance` is 0.5, and must be within 1e-12 to 0.01 p.u.");
        assert!(parse(r#"{"tolerance": 0}"#).is_err());
        assert!(parse(r#"{"max_iterations": 0}"#).unwrap_err().contains("within 1 to 100"));
        assert!(parse(r#"{"max_iterations": 101}"#).is_err());
    }

    #[test]
    fn an_unknown_param_or_start_is_refused_with_those_that_exist() {
        assert!(parse(r#"{"tolerence": 1e-8}"#).unwrap_err().contains("expected one of `tolerance`"));
        assert!(parse(r#"{"start": "warm"}"#).unwrap_err().contains("expected one of `auto`, `flat`, `dc`"));
    }
}
