//! The bytes of an input: in memory while they are few, else in a file that no directory names.

use crate::job::Digest;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Up to this many bytes of a job's inputs are kept in memory.
const IN_MEMORY: u64 = 1 << 20;

/// Bytes that any number of readers read at any place.
#[derive(Debug, Clone)]
pub struct Body {
    bytes: Bytes,
    size: u64,
    digest: Digest,
}

#[derive(Debug, Clone)]
enum Bytes {
    Memory(Arc<[u8]>),
    File(Arc<File>),
}

impl Body {
    /// A body of these bytes.
    pub fn from_bytes(bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        Self { size: bytes.len() as u64, digest: Digest::of(&bytes), bytes: Bytes::Memory(bytes) }
    }

    /// Length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The digest of all bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Fills `buffer` from `offset` on; what comes back is shorter than the buffer only at the end.
    ///
    /// # Errors
    /// The disk's.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        if length == 0 {
            return Ok(0);
        }
        let buffer = &mut buffer[..length];
        match &self.bytes {
            Bytes::Memory(bytes) => {
                let start = usize::try_from(offset).map_err(io::Error::other)?;
                buffer.copy_from_slice(&bytes[start..start + length]);
            }
            Bytes::File(file) => file.read_exact_at(buffer, offset)?,
        }
        Ok(length)
    }
}

/// Takes a body as it arrives.
#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
    room: u64,
    memory: Vec<u8>,
    file: Option<File>,
    size: u64,
    hasher: Sha256,
}

impl Spool {
    /// A spool that puts a large body into an unlinked file of `directory`.
    pub fn new(directory: &Path) -> Self {
        Self::beside(0, directory)
    }

    /// The same for one body beside others that have so many bytes: together they take no more memory than one alone.
    pub fn beside(others: u64, directory: &Path) -> Self {
        let (directory, room) = (directory.to_owned(), IN_MEMORY.saturating_sub(others));
        Self { directory, room, memory: Vec::new(), file: None, size: 0, hasher: Sha256::new() }
    }

    /// How many bytes have arrived.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The whole body.
    ///
    /// # Errors
    /// The disk's.
    pub fn finish(mut self) -> io::Result<Body> {
        let bytes = match self.file.take() {
            Some(file) => Bytes::File(Arc::new(file)),
            None => Bytes::Memory(std::mem::take(&mut self.memory).into()),
        };
        Ok(Body { bytes, size: self.size, digest: Digest::from_hasher(self.hasher) })
    }
}

impl Write for Spool {
    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        if self.file.is_none() && self.size + chunk.len() as u64 > self.room {
            let mut file = tempfile::tempfile_in(&self.directory)?;
            file.write_all(&self.memory)?;
            self.memory = Vec::new();
            self.file = Some(file);
        }
        match &mut self.file {
            Some(file) => file.write_all(chunk)?,
            None => self.memory.extend_from_slice(chunk),
        }
        self.hasher.update(chunk);
        self.size += chunk.len() as u64;
        Ok(chunk.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spooled(chunks: &[Vec<u8>]) -> Body {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(directory.path());
        for chunk in chunks {
            spool.write_all(chunk).unwrap();
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is named");
        spool.finish().unwrap()
    }

    #[test]
    fn a_large_body_is_read_from_its_file_as_it_came() {
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
        let body = spooled(&bytes.chunks(70_001).map(<[u8]>::to_vec).collect::<Vec<_>>());
        assert!(matches!(body.bytes, Bytes::File(_)));
        assert_eq!((body.size(), body.digest()), (3_000_000, Digest::of(&bytes)));
        let mut tail = vec![0; 100];
        assert_eq!(body.read_at(&mut tail, 2_999_950).unwrap(), 50);
        assert_eq!(tail[..50], bytes[2_999_950..]);
        assert_eq!(body.read_at(&mut tail, 9_000_000).unwrap(), 0);
    }

    #[test]
    fn bodies_beside_each_other_share_the_memory_of_one() {
        let directory = tempfile::tempdir().unwrap();
        for (others, length, in_memory) in [
            (0, 1 << 20, true),
            (0, (1 << 20) + 1, false),
            (1_000_000, 48_576, true),
            (1_000_000, 48_577, false),
            (9 << 20, 1, false),
        ] {
            let mut spool = Spool::beside(others, directory.path());
            spool.write_all(&vec![7; length]).unwrap();
            let body = spool.finish().unwrap();
            assert_eq!(matches!(body.bytes, Bytes::Memory(_)), in_memory, "{length} beside {others}");
        }
    }

    proptest! {
        #[test]
        fn a_body_does_not_depend_on_its_chunks(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..9), offset in 0u64..500,
        ) {
            let body = spooled(&chunks);
            let whole = chunks.concat();
            prop_assert_eq!(body.digest(), Digest::of(&whole));
            let mut read = vec![0; 40];
            let length = body.read_at(&mut read, offset).unwrap();
            let start = whole.len().min(usize::try_from(offset).unwrap());
            prop_assert_eq!(&read[..length], &whole[start..(start + 40).min(whole.len())]);
        }
    }
}
