//! The way to the worker.

use longboat_sdk::bindings::longboat::algorithm::attempt::{Error, Job};

/// What `algorithm!` would make here, except that a result which is one text is said as it is: whatever an algorithm
/// returns through the SDK is JSON, and this one has to return something else.
struct Sailor;

impl longboat_sdk::bindings::Guest for Sailor {
    fn run(job: Job) -> Result<String, Error> {
        let function: fn(_) -> _ = crate::sail;
        let json = longboat_sdk::export::run(function, job)?;
        Ok(serde_json::from_str(&json).unwrap_or(json))
    }
}

longboat_sdk::bindings::export!(Sailor with_types_in longboat_sdk::bindings);
