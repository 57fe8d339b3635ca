//! What [`algorithm!`](crate::algorithm) expands to.

use crate::{Failure, Job};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Makes a function the algorithm that this crate is.
///
/// The function takes a [`Job`] with its own params type and returns its own result type:
///
/// ```
/// use longboat_sdk::{Failure, Job, algorithm};
///
/// #[derive(serde::Deserialize)]
/// struct Params {
///     name: String,
/// }
///
/// fn greet(job: Job<Params>) -> Result<String, Failure> {
///     Ok(format!("Hello, {}!", job.params.name))
/// }
///
/// algorithm!(greet);
/// ```
///
/// A function of another shape is refused with the shape that is needed:
///
/// ```compile_fail,E0277
/// fn greet(name: String) -> String {
///     name
/// }
///
/// longboat_sdk::algorithm!(greet);
/// ```
#[macro_export]
macro_rules! algorithm {
    ($function:path) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Exported;

            impl $crate::bindings::Guest for Exported {
                fn run(
                    job: $crate::bindings::longboat::algorithm::attempt::Job,
                ) -> ::std::result::Result<::std::string::String, $crate::bindings::longboat::algorithm::attempt::Error>
                {
                    let function: fn(_) -> _ = $function;
                    $crate::export::run(function, job)
                }
            }

    $crate::bindings::export!(Exported with_types_in $crate::bindings);
        };

        #[cfg(not(target_family = "wasm"))]
        const _: fn() = || {
            let function: fn(_) -> _ = $function;
            $crate::export::check(function);
        };
    };
    () => {
        ::std::compile_error!("name the function that is the algorithm: `longboat_sdk::algorithm!(my_function);`");
    };
    ($($other:tt)+) => {
        ::std::compile_error!(
            "`algorithm!` takes the name of one function, as in `longboat_sdk::algorithm!(my_function);`"
        );
    };
}

/// A function that can be an algorithm: `fn(Job<P>) -> Result<R, Failure>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not have the shape of an algorithm",
    label = "not an algorithm",
    note = "an algorithm is a function `fn(longboat_sdk::Job<P>) -> Result<R, longboat_sdk::Failure>`",
    note = "`P`, its params, implements `serde::Deserialize`; `R`, its result, implements `serde::Serialize`"
)]
pub trait Algorithm<P, R> {
    /// Calls the function.
    #[allow(clippy::missing_errors_doc)]
    fn call(self, job: Job<P>) -> Result<R, Failure>;
}

// For function pointers and not for whatever can be called, because the compiler then explains a function of another
// shape in the words above.
impl<P: DeserializeOwned, R: Serialize> Algorithm<P, R> for fn(Job<P>) -> Result<R, Failure> {
    fn call(self, job: Job<P>) -> Result<R, Failure> {
        self(job)
    }
}

/// Reads params, and names the one that does not fit.
///
/// # Errors
/// A permanent failure: other params are another job.
pub fn params<P: DeserializeOwned>(json: &str) -> Result<P, Failure> {
    let refuse = |reason: String| Failure::permanent(format!("the params do not fit this algorithm: {reason}"));
    // By way of a value, because the author of the params has never seen the text that a line and column count in.
    let value: serde_json::Value = serde_json::from_str(json).map_err(|error| refuse(error.to_string()))?;
    serde_path_to_error::deserialize(value).map_err(|error| match error.path().to_string().as_str() {
        "." => refuse(error.inner().to_string()),
        path => refuse(format!("{path}: {}", error.inner())),
    })
}

/// Does nothing but ask the compiler whether `function` is an algorithm, so that native builds tell too.
#[expect(clippy::needless_pass_by_value, reason = "it is called as `run` is, so that the same functions pass")]
pub fn check<P, R>(function: impl Algorithm<P, R>) {
    let _ = function;
}

#[cfg(target_family = "wasm")]
use crate::bindings::longboat::algorithm as wit;

/// Runs the function on a job from the host.
#[cfg(target_family = "wasm")]
pub fn run<P: DeserializeOwned, R: Serialize>(
    function: impl Algorithm<P, R>,
    job: wit::attempt::Job,
) -> Result<String, wit::attempt::Error> {
    read(job)
        .and_then(|job| function.call(job))
        .and_then(|result| serde_json::to_string(&result).map_err(Failure::permanent))
        .map_err(|failure| wit::attempt::Error { permanent: failure.is_permanent(), message: failure.to_string() })
}

#[cfg(target_family = "wasm")]
fn read<P: DeserializeOwned>(job: wit::attempt::Job) -> Result<Job<P>, Failure> {
    let params = params(&job.params)?;
    let inputs = wit::inputs::all().into_iter().map(|input| (input.name(), input)).collect();
    let limits = crate::Limits {
        fuel: job.limits.fuel,
        memory: job.limits.memory,
        result_size: job.limits.result_size,
        result_files: job.limits.result_files,
        document_size: job.limits.document_size,
        log_size: job.limits.log_size,
        input_size: job.limits.input_size,
        ttr_ms: job.limits.ttr_ms,
    };
    Ok(Job { id: job.id, attempt: job.attempt, params, seed: job.seed, limits, world: crate::job::World::Host(inputs) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Params {
        #[serde(rename = "house")]
        _house: House,
    }

    #[derive(Debug, serde::Deserialize)]
    struct House {
        #[serde(rename = "panels")]
        _panels: u32,
    }

    #[test]
    fn params_that_do_not_fit_are_named() {
        let said = |json: &str| params::<Params>(json).expect_err("this does not fit").to_string();
        assert!(
            said(r#"{"house": {"panels": "many"}}"#)
                .ends_with(": house.panels: invalid type: string \"many\", expected u32")
        );
        assert!(said("{}").ends_with(": missing field `house`"));
        assert!(said("[]").contains("the params do not fit this algorithm"));
    }
}
