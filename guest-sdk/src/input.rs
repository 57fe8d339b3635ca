//! Inputs as readers.

use std::io::{self, Read};

/// One input of the job, read from its beginning.
///
/// The runner has fetched it before the algorithm started, so reading never waits and never fails halfway.
/// Reads are not buffered: wrap it in a [`std::io::BufReader`] for lines and small records.
#[derive(Debug)]
pub struct Input {
    size: u64,
    stream: Stream,
}

#[derive(Debug)]
enum Stream {
    #[cfg(target_family = "wasm")]
    Host(crate::bindings::wasi::io::streams::InputStream),
    Native(io::Cursor<Vec<u8>>),
}

impl Input {
    /// Length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    #[cfg(target_family = "wasm")]
    pub(crate) fn host(input: &crate::bindings::longboat::algorithm::inputs::Input) -> Self {
        Self { size: input.size(), stream: Stream::Host(input.open()) }
    }

    pub(crate) fn native(bytes: Vec<u8>) -> Self {
        Self { size: bytes.len() as u64, stream: Stream::Native(io::Cursor::new(bytes)) }
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.stream {
            #[cfg(target_family = "wasm")]
            Stream::Host(stream) => {
                use crate::bindings::wasi::io::streams::StreamError;
                match stream.blocking_read(buffer.len() as u64) {
                    Ok(bytes) => {
                        buffer[..bytes.len()].copy_from_slice(&bytes);
                        Ok(bytes.len())
                    }
                    Err(StreamError::Closed) => Ok(0),
                    Err(StreamError::LastOperationFailed(error)) => Err(io::Error::other(error.to_debug_string())),
                }
            }
            Stream::Native(bytes) => bytes.read(buffer),
        }
    }
}
