//! From what a function of the host returns to what its guest is told.

use super::Moved;
use crate::sandbox::host::Host;
use crate::sandbox::host::bindings::wasi::filesystem::types::{self, ErrorCode};
use crate::sandbox::host::bindings::wasi::io::streams;
use crate::sandbox::host::io::StreamError;
use crate::sandbox::tree::TreeError;
use wasmtime::component::{ComponentNamedList, Lower};

/// What a function of the host returns.
pub trait Reply {
    /// The same in the component model's terms.
    type Values: ComponentNamedList + Lower + Moved + Send + 'static;

    /// The guest's answer, or the error that ends it.
    ///
    /// # Errors
    /// What no guest can be told.
    fn reply(self, host: &mut Host) -> wasmtime::Result<Self::Values>;
}

impl<T> Reply for wasmtime::Result<T>
where
    (T,): ComponentNamedList + Lower + Moved + Send + 'static,
{
    type Values = (T,);

    fn reply(self, _: &mut Host) -> wasmtime::Result<(T,)> {
        Ok((self?,))
    }
}

impl<T> Reply for Result<T, TreeError>
where
    (Result<T, ErrorCode>,): ComponentNamedList + Lower + Moved + Send + 'static,
{
    type Values = (Result<T, ErrorCode>,);

    fn reply(self, host: &mut Host) -> wasmtime::Result<Self::Values> {
        Ok((match self {
            Ok(value) => Ok(value),
            Err(error) => Err(types::Host::convert_error_code(host, error)?),
        },))
    }
}

impl<T> Reply for Result<T, StreamError>
where
    (Result<T, streams::StreamError>,): ComponentNamedList + Lower + Moved + Send + 'static,
{
    type Values = (Result<T, streams::StreamError>,);

    fn reply(self, host: &mut Host) -> wasmtime::Result<Self::Values> {
        Ok((match self {
            Ok(value) => Ok(value),
            Err(error) => Err(streams::Host::convert_stream_error(host, error)?),
        },))
    }
}
