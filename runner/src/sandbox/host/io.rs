//! `wasi:io`: streams over memory and files.
//!
//! No stream ever has to wait, so a read is short only at the end, and every pollable but a clock's is
//! ready.

use super::Host;
use super::bindings::wasi::io::{error, streams};
use crate::body::Body;
use crate::job::LimitName;
use crate::sandbox::limits::Refusal;
use crate::sandbox::log::{LiveLog, Log};
use crate::sandbox::tree::{HostFault, NodeId, Tree, TreeError};
use std::sync::Arc;
use wasmtime::component::Resource;
use wasmtime::component::ResourceTableError;

/// The most bytes that one call reads, and that one check of a stream permits to write.
pub(super) const MAX_CHUNK: u64 = 64 << 10;

/// An error that a guest can have explained.
#[derive(Debug)]
pub struct IoError {
    pub(super) message: String,
    pub(super) cause: Option<TreeError>,
}

/// What a guest waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pollable {
    /// A stream.
    Ready,
    /// The monotonic clock, in nanoseconds.
    At(u64),
}

/// What a guest reads from.
#[derive(Debug)]
pub enum InputStream {
    /// Nothing.
    Empty,
    /// An input, from an offset on.
    Body {
        /// The bytes.
        body: Body,
        /// Where the next read starts.
        offset: u64,
    },
    /// A file of the result directory, from an offset on.
    File {
        /// Which.
        file: NodeId,
        /// Where the next read starts.
        offset: u64,
    },
}

impl InputStream {
    /// A stream over an input from its beginning.
    pub fn body(body: Body) -> Self {
        InputStream::Body { body, offset: 0 }
    }

    /// Reads the next bytes: nothing only at the end.
    pub(super) fn read(&mut self, tree: &mut Tree, buffer: &mut [u8]) -> Result<usize, TreeError> {
        let (read, offset) = match self {
            InputStream::Empty => return Ok(0),
            InputStream::Body { body, offset } => {
                let read = body.read_at(buffer, *offset).map_err(|error| {
                    tracing::error!(%error, "a fetched input can no longer be read");
                    TreeError::Io(error.kind())
                })?;
                (read, offset)
            }
            InputStream::File { file, offset } => (tree.read(*file, buffer, *offset)?, offset),
        };
        *offset += read as u64;
        Ok(read)
    }
}

/// What a guest writes to.
#[derive(Debug)]
pub enum OutputStream {
    /// The result document.
    Stdout,
    /// The log.
    Log,
    /// A file of the result directory; at its end if there is no offset.
    File {
        /// Which.
        file: NodeId,
        /// Where the next write starts.
        offset: Option<u64>,
    },
}

impl OutputStream {
    /// Writes all of the bytes, or nothing.
    pub(super) fn write(&mut self, tree: &mut Tree, outputs: &mut Outputs, bytes: &[u8]) -> Result<(), TreeError> {
        match self {
            OutputStream::Log => outputs.log(bytes),
            OutputStream::Stdout => {
                let stdout = outputs.stdout.get_or_insert_default();
                let (observed, allowed) = ((stdout.len() + bytes.len()) as u64, outputs.document_size);
                if observed > allowed {
                    let refusal = Refusal { limit: LimitName::DocumentSize, allowed, observed, share: "" };
                    tree.quota.remember(refusal);
                    outputs.document_refused.get_or_insert(refusal);
                    return Err(TreeError::InsufficientSpace);
                }
                stdout.extend_from_slice(bytes);
            }
            OutputStream::File { file, offset } => {
                let start = match *offset {
                    Some(offset) => offset,
                    None => tree.stat(*file)?.size,
                };
                tree.write(*file, bytes, start)?;
                if let Some(offset) = offset {
                    *offset = start.saturating_add(bytes.len() as u64);
                }
            }
        }
        Ok(())
    }
}

/// What a guest has written to its standard streams.
#[derive(Debug)]
pub(super) struct Outputs {
    pub log: Log,
    /// Where the log goes as it is written.
    pub live_log: Option<Arc<LiveLog>>,
    /// Standard output, if it is the result and no part of the log.
    pub stdout: Option<Vec<u8>>,
    /// How long that may become.
    pub document_size: u64,
    /// The first write to it that was refused.
    pub document_refused: Option<Refusal>,
}

impl Outputs {
    fn log(&mut self, bytes: &[u8]) {
        self.log.write(bytes);
        if let Some(live) = &self.live_log {
            live.write(bytes);
        }
    }
}

/// Why a stream's operation was not done.
#[derive(Debug)]
pub enum StreamError {
    /// The stream has ended.
    Closed,
    /// This operation failed; the stream goes on.
    Failed(IoError),
    /// The guest broke a rule of the interface, or the host cannot keep its side of it: the guest ends.
    Trap(wasmtime::Error),
}

impl From<ResourceTableError> for StreamError {
    fn from(error: ResourceTableError) -> Self {
        StreamError::Trap(error.into())
    }
}

impl From<TreeError> for StreamError {
    fn from(error: TreeError) -> Self {
        match error {
            TreeError::Io(kind) => StreamError::Trap(HostFault(kind).into()),
            error => StreamError::Failed(IoError { message: format!("{error:?}"), cause: Some(error) }),
        }
    }
}

impl Host {
    fn read_stream(&mut self, stream: &Resource<InputStream>, length: u64) -> Result<Vec<u8>, StreamError> {
        let mut buffer = vec![0; length.min(MAX_CHUNK) as usize];
        if buffer.is_empty() {
            return Ok(buffer);
        }
        let read = self.table.get_mut(stream)?.read(&mut self.tree, &mut buffer)?;
        if read == 0 {
            return Err(StreamError::Closed);
        }
        buffer.truncate(read);
        self.moved(read);
        Ok(buffer)
    }

    fn write_stream(&mut self, stream: &Resource<OutputStream>, bytes: &[u8]) -> Result<(), StreamError> {
        self.moved(bytes.len());
        Ok(self.table.get_mut(stream)?.write(&mut self.tree, &mut self.outputs, bytes)?)
    }

    fn permitted(bytes: u64) -> Result<(), StreamError> {
        if bytes > MAX_CHUNK {
            let message = format!("{bytes} bytes were written at once where {MAX_CHUNK} were permitted");
            return Err(StreamError::Trap(wasmtime::Error::msg(message)));
        }
        Ok(())
    }
}

impl error::Host for Host {}

impl error::HostError for Host {
    fn to_debug_string(&mut self, error: Resource<IoError>) -> wasmtime::Result<String> {
        let message = self.table.get(&error)?.message.clone();
        self.moved(message.len());
        Ok(message)
    }

    fn drop(&mut self, error: Resource<IoError>) -> wasmtime::Result<()> {
        self.table.delete(error)?;
        Ok(())
    }
}

impl streams::Host for Host {
    fn convert_stream_error(&mut self, error: StreamError) -> wasmtime::Result<streams::StreamError> {
        match error {
            StreamError::Closed => Ok(streams::StreamError::Closed),
            StreamError::Failed(error) => Ok(streams::StreamError::LastOperationFailed(self.table.push(error)?)),
            StreamError::Trap(error) => Err(error),
        }
    }
}

impl streams::HostInputStream for Host {
    fn read(&mut self, stream: Resource<InputStream>, length: u64) -> Result<Vec<u8>, StreamError> {
        self.read_stream(&stream, length)
    }

    fn blocking_read(&mut self, stream: Resource<InputStream>, length: u64) -> Result<Vec<u8>, StreamError> {
        self.read_stream(&stream, length)
    }

    fn skip(&mut self, stream: Resource<InputStream>, length: u64) -> Result<u64, StreamError> {
        Ok(self.read_stream(&stream, length)?.len() as u64)
    }

    fn blocking_skip(&mut self, stream: Resource<InputStream>, length: u64) -> Result<u64, StreamError> {
        Ok(self.read_stream(&stream, length)?.len() as u64)
    }

    fn subscribe(&mut self, _: Resource<InputStream>) -> wasmtime::Result<Resource<Pollable>> {
        Ok(self.table.push(Pollable::Ready)?)
    }

    fn drop(&mut self, stream: Resource<InputStream>) -> wasmtime::Result<()> {
        if let InputStream::File { file, .. } = self.table.delete(stream)? {
            self.tree.release(file);
        }
        Ok(())
    }
}

impl streams::HostOutputStream for Host {
    fn check_write(&mut self, stream: Resource<OutputStream>) -> Result<u64, StreamError> {
        self.table.get(&stream)?;
        Ok(MAX_CHUNK)
    }

    fn write(&mut self, stream: Resource<OutputStream>, bytes: Vec<u8>) -> Result<(), StreamError> {
        Self::permitted(bytes.len() as u64)?;
        self.write_stream(&stream, &bytes)
    }

    fn blocking_write_and_flush(&mut self, stream: Resource<OutputStream>, bytes: Vec<u8>) -> Result<(), StreamError> {
        Self::permitted(bytes.len() as u64)?;
        self.write_stream(&stream, &bytes)
    }

    fn flush(&mut self, stream: Resource<OutputStream>) -> Result<(), StreamError> {
        self.table.get(&stream)?;
        Ok(())
    }

    fn blocking_flush(&mut self, stream: Resource<OutputStream>) -> Result<(), StreamError> {
        self.table.get(&stream)?;
        Ok(())
    }

    fn subscribe(&mut self, _: Resource<OutputStream>) -> wasmtime::Result<Resource<Pollable>> {
        Ok(self.table.push(Pollable::Ready)?)
    }

    fn write_zeroes(&mut self, stream: Resource<OutputStream>, length: u64) -> Result<(), StreamError> {
        Self::permitted(length)?;
        self.write_stream(&stream, &vec![0; length as usize])
    }

    fn blocking_write_zeroes_and_flush(
        &mut self,
        stream: Resource<OutputStream>,
        length: u64,
    ) -> Result<(), StreamError> {
        Self::permitted(length)?;
        self.write_stream(&stream, &vec![0; length as usize])
    }

    fn splice(
        &mut self,
        stream: Resource<OutputStream>,
        source: Resource<InputStream>,
        length: u64,
    ) -> Result<u64, StreamError> {
        let bytes = self.read_stream(&source, length)?;
        self.write_stream(&stream, &bytes)?;
        Ok(bytes.len() as u64)
    }

    fn blocking_splice(
        &mut self,
        stream: Resource<OutputStream>,
        source: Resource<InputStream>,
        length: u64,
    ) -> Result<u64, StreamError> {
        streams::HostOutputStream::splice(self, stream, source, length)
    }

    fn drop(&mut self, stream: Resource<OutputStream>) -> wasmtime::Result<()> {
        if let OutputStream::File { file, .. } = self.table.delete(stream)? {
            self.tree.release(file);
        }
        Ok(())
    }
}
