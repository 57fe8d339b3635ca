//! How an algorithm says that it could not do its work.

use std::fmt::{self, Display};

/// Why an algorithm has no result, and whether another attempt could have one.
///
/// Any error becomes a transient failure through `?`; [`Failure::permanent`] marks what no attempt can mend,
/// such as an input that makes no sense:
///
/// ```
/// use longboat_sdk::Failure;
///
/// fn read(text: &str) -> Result<f64, Failure> {
///     let value: f64 = text.trim().parse().map_err(Failure::permanent)?;
///     if value < 0.0 {
///         return Err(Failure::permanent(format!("{value} is below zero")));
///     }
///     Ok(value)
/// }
///
/// assert!(read("-1").unwrap_err().is_permanent());
/// assert_eq!(read("x").unwrap_err().to_string(), "invalid float literal");
/// ```
pub struct Failure {
    message: String,
    permanent: bool,
}

impl Failure {
    /// A failure that another attempt may not meet.
    pub fn transient(reason: impl Display) -> Self {
        Self { message: reason.to_string(), permanent: false }
    }

    /// A failure that every attempt would meet: the job is not tried again.
    pub fn permanent(reason: impl Display) -> Self {
        Self { message: reason.to_string(), permanent: true }
    }

    /// Whether every attempt would meet this failure.
    pub fn is_permanent(&self) -> bool {
        self.permanent
    }
}

/// The error and its sources, each after a colon; transient.
///
/// `Failure` itself is not a `std::error::Error`, since this conversion would then overlap with `From<Self>`.
impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self { message, permanent: false }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = if self.permanent { "permanent" } else { "transient" };
        write!(f, "{class} failure: {}", self.message)
    }
}
