//! `wasi:filesystem`: the result directory, and nothing else.
//!
//! Links are not permitted, neither symbolic nor hard ones; `sync` does nothing, since publication syncs
//! everything at once.

use super::bindings::wasi::filesystem::{preopens, types};
use super::clocks::datetime;
use super::io::{InputStream, IoError, MAX_CHUNK, OutputStream};
use super::{Host, RESULT};
use crate::sandbox::tree::{HostFault, NodeId, Opening, ROOT, Stat, TreeError};
use types::{
    Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, ErrorCode, MetadataHashValue,
    NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime::component::{Resource, ResourceTableError};

/// An open file or directory.
#[derive(Debug)]
pub struct Descriptor {
    node: NodeId,
    directory: bool,
    flags: DescriptorFlags,
}

/// How far a directory's entries were read. It has no names of its own, which would be memory that nothing
/// counts.
#[derive(Debug)]
pub struct Listing {
    directory: NodeId,
    after: Option<String>,
}

type FsResult<T> = Result<T, TreeError>;

/// A handle that the guest does not hold cannot reach these functions; answered like any other nonsense.
impl From<ResourceTableError> for TreeError {
    fn from(error: ResourceTableError) -> Self {
        match error {
            ResourceTableError::Full => TreeError::Quota,
            _ => TreeError::Invalid,
        }
    }
}

/// The guest's word for an error; the host's own faults end the guest instead.
fn code(error: TreeError) -> wasmtime::Result<ErrorCode> {
    Ok(match error {
        TreeError::NoEntry => ErrorCode::NoEntry,
        TreeError::Exist => ErrorCode::Exist,
        TreeError::NotDirectory => ErrorCode::NotDirectory,
        TreeError::IsDirectory => ErrorCode::IsDirectory,
        TreeError::NotEmpty => ErrorCode::NotEmpty,
        TreeError::Invalid => ErrorCode::Invalid,
        TreeError::NotPermitted => ErrorCode::NotPermitted,
        TreeError::NameTooLong => ErrorCode::NameTooLong,
        TreeError::IllegalName => ErrorCode::IllegalByteSequence,
        TreeError::InsufficientSpace => ErrorCode::InsufficientSpace,
        TreeError::Quota => ErrorCode::Quota,
        TreeError::Io(kind) => return Err(HostFault(kind).into()),
    })
}

fn kind(directory: bool) -> DescriptorType {
    if directory { DescriptorType::Directory } else { DescriptorType::RegularFile }
}

impl Host {
    fn descriptor(&self, descriptor: &Resource<Descriptor>) -> FsResult<&Descriptor> {
        Ok(self.table.get(descriptor)?)
    }

    fn directory(&self, descriptor: &Resource<Descriptor>) -> FsResult<NodeId> {
        let descriptor = self.descriptor(descriptor)?;
        if descriptor.directory { Ok(descriptor.node) } else { Err(TreeError::NotDirectory) }
    }

    /// The directory that a call gives a path below, which is paid for.
    fn base(&mut self, descriptor: &Resource<Descriptor>, path: &str) -> FsResult<NodeId> {
        self.moved(path.len());
        self.directory(descriptor)
    }

    fn file(&self, descriptor: &Resource<Descriptor>, access: DescriptorFlags) -> FsResult<NodeId> {
        let descriptor = self.descriptor(descriptor)?;
        if descriptor.directory {
            Err(TreeError::IsDirectory)
        } else if descriptor.flags.contains(access) {
            Ok(descriptor.node)
        } else {
            Err(TreeError::NotPermitted)
        }
    }

    fn open(&mut self, node: NodeId, flags: DescriptorFlags) -> FsResult<Resource<Descriptor>> {
        let directory = self.tree.stat(node)?.directory;
        let descriptor = self.table.push(Descriptor { node, directory, flags })?;
        self.tree.retain(node)?;
        Ok(descriptor)
    }

    fn describe(&self, node: NodeId) -> FsResult<DescriptorStat> {
        let Stat { directory, size, changed } = self.tree.stat(node)?;
        let time = datetime(self.wall_time(changed));
        Ok(DescriptorStat {
            type_: kind(directory),
            link_count: 1,
            size,
            data_access_timestamp: Some(time),
            data_modification_timestamp: Some(time),
            status_change_timestamp: Some(time),
        })
    }
}

impl types::Host for Host {
    fn convert_error_code(&mut self, error: TreeError) -> wasmtime::Result<ErrorCode> {
        code(error)
    }

    fn filesystem_error_code(&mut self, error: Resource<IoError>) -> wasmtime::Result<Option<ErrorCode>> {
        self.table.get(&error)?.cause.map(code).transpose()
    }
}

impl types::HostDescriptor for Host {
    fn read_via_stream(&mut self, file: Resource<Descriptor>, offset: u64) -> FsResult<Resource<InputStream>> {
        let file = self.file(&file, DescriptorFlags::READ)?;
        let stream = self.table.push(InputStream::File { file, offset })?;
        self.tree.retain(file)?;
        Ok(stream)
    }

    fn write_via_stream(&mut self, file: Resource<Descriptor>, offset: u64) -> FsResult<Resource<OutputStream>> {
        let file = self.file(&file, DescriptorFlags::WRITE)?;
        let stream = self.table.push(OutputStream::File { file, offset: Some(offset) })?;
        self.tree.retain(file)?;
        Ok(stream)
    }

    fn append_via_stream(&mut self, file: Resource<Descriptor>) -> FsResult<Resource<OutputStream>> {
        let file = self.file(&file, DescriptorFlags::WRITE)?;
        let stream = self.table.push(OutputStream::File { file, offset: None })?;
        self.tree.retain(file)?;
        Ok(stream)
    }

    fn advise(&mut self, file: Resource<Descriptor>, _: u64, _: u64, _: Advice) -> FsResult<()> {
        self.descriptor(&file).map(|_| ())
    }

    fn sync_data(&mut self, file: Resource<Descriptor>) -> FsResult<()> {
        self.descriptor(&file).map(|_| ())
    }

    fn sync(&mut self, file: Resource<Descriptor>) -> FsResult<()> {
        self.descriptor(&file).map(|_| ())
    }

    fn get_flags(&mut self, file: Resource<Descriptor>) -> FsResult<DescriptorFlags> {
        Ok(self.descriptor(&file)?.flags)
    }

    fn get_type(&mut self, file: Resource<Descriptor>) -> FsResult<DescriptorType> {
        Ok(kind(self.descriptor(&file)?.directory))
    }

    fn set_size(&mut self, file: Resource<Descriptor>, size: u64) -> FsResult<()> {
        let file = self.file(&file, DescriptorFlags::WRITE)?;
        self.tree.set_size(file, size)
    }

    fn set_times(&mut self, file: Resource<Descriptor>, _: NewTimestamp, _: NewTimestamp) -> FsResult<()> {
        self.descriptor(&file)?;
        Err(TreeError::NotPermitted)
    }

    fn read(&mut self, file: Resource<Descriptor>, length: u64, offset: u64) -> FsResult<(Vec<u8>, bool)> {
        let file = self.file(&file, DescriptorFlags::READ)?;
        let mut buffer = vec![0; length.min(MAX_CHUNK) as usize];
        let read = self.tree.read(file, &mut buffer, offset)?;
        buffer.truncate(read);
        self.moved(read);
        let at_end = offset.saturating_add(read as u64) >= self.tree.stat(file)?.size;
        Ok((buffer, at_end))
    }

    fn write(&mut self, file: Resource<Descriptor>, bytes: Vec<u8>, offset: u64) -> FsResult<u64> {
        self.moved(bytes.len());
        let file = self.file(&file, DescriptorFlags::WRITE)?;
        let chunk = &bytes[..bytes.len().min(MAX_CHUNK as usize)];
        self.tree.write(file, chunk, offset)?;
        Ok(chunk.len() as u64)
    }

    fn read_directory(&mut self, directory: Resource<Descriptor>) -> FsResult<Resource<Listing>> {
        let directory = self.directory(&directory)?;
        let listing = self.table.push(Listing { directory, after: None })?;
        self.tree.retain(directory)?;
        Ok(listing)
    }

    fn create_directory_at(&mut self, base: Resource<Descriptor>, path: String) -> FsResult<()> {
        let base = self.base(&base, &path)?;
        self.tree.create_directory(base, &path)
    }

    fn stat(&mut self, file: Resource<Descriptor>) -> FsResult<DescriptorStat> {
        self.describe(self.descriptor(&file)?.node)
    }

    fn stat_at(&mut self, base: Resource<Descriptor>, _: PathFlags, path: String) -> FsResult<DescriptorStat> {
        let base = self.base(&base, &path)?;
        self.describe(self.tree.lookup(base, &path)?)
    }

    fn set_times_at(
        &mut self,
        base: Resource<Descriptor>,
        _: PathFlags,
        path: String,
        _: NewTimestamp,
        _: NewTimestamp,
    ) -> FsResult<()> {
        let base = self.base(&base, &path)?;
        self.tree.lookup(base, &path)?;
        Err(TreeError::NotPermitted)
    }

    fn link_at(
        &mut self,
        base: Resource<Descriptor>,
        _: PathFlags,
        path: String,
        _: Resource<Descriptor>,
        _: String,
    ) -> FsResult<()> {
        let base = self.base(&base, &path)?;
        self.tree.lookup(base, &path)?;
        Err(TreeError::NotPermitted)
    }

    fn open_at(
        &mut self,
        base: Resource<Descriptor>,
        _: PathFlags,
        path: String,
        open: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Resource<Descriptor>> {
        let base = self.base(&base, &path)?;
        let opening = Opening {
            create: open.contains(OpenFlags::CREATE),
            exclusive: open.contains(OpenFlags::EXCLUSIVE),
            directory: open.contains(OpenFlags::DIRECTORY),
            truncate: open.contains(OpenFlags::TRUNCATE),
            write: flags.contains(DescriptorFlags::WRITE),
        };
        let node = self.tree.open(base, &path, opening)?;
        self.open(node, flags)
    }

    fn readlink_at(&mut self, base: Resource<Descriptor>, path: String) -> FsResult<String> {
        let base = self.base(&base, &path)?;
        self.tree.lookup(base, &path)?;
        Err(TreeError::Invalid)
    }

    fn remove_directory_at(&mut self, base: Resource<Descriptor>, path: String) -> FsResult<()> {
        let base = self.base(&base, &path)?;
        self.tree.remove_directory(base, &path)
    }

    fn rename_at(
        &mut self,
        from: Resource<Descriptor>,
        path: String,
        to: Resource<Descriptor>,
        new_path: String,
    ) -> FsResult<()> {
        let (from, to) = (self.base(&from, &path)?, self.base(&to, &new_path)?);
        self.tree.rename((from, &path), (to, &new_path))
    }

    fn symlink_at(&mut self, base: Resource<Descriptor>, path: String, _: String) -> FsResult<()> {
        self.base(&base, &path)?;
        Err(TreeError::NotPermitted)
    }

    fn unlink_file_at(&mut self, base: Resource<Descriptor>, path: String) -> FsResult<()> {
        let base = self.base(&base, &path)?;
        self.tree.unlink(base, &path)
    }

    fn is_same_object(&mut self, one: Resource<Descriptor>, two: Resource<Descriptor>) -> wasmtime::Result<bool> {
        Ok(self.table.get(&one)?.node == self.table.get(&two)?.node)
    }

    fn metadata_hash(&mut self, file: Resource<Descriptor>) -> FsResult<MetadataHashValue> {
        Ok(MetadataHashValue { lower: self.descriptor(&file)?.node, upper: 0 })
    }

    fn metadata_hash_at(
        &mut self,
        base: Resource<Descriptor>,
        _: PathFlags,
        path: String,
    ) -> FsResult<MetadataHashValue> {
        let base = self.base(&base, &path)?;
        Ok(MetadataHashValue { lower: self.tree.lookup(base, &path)?, upper: 0 })
    }

    fn drop(&mut self, file: Resource<Descriptor>) -> wasmtime::Result<()> {
        let descriptor = self.table.delete(file)?;
        self.tree.release(descriptor.node);
        Ok(())
    }
}

impl types::HostDirectoryEntryStream for Host {
    fn read_directory_entry(&mut self, listing: Resource<Listing>) -> FsResult<Option<DirectoryEntry>> {
        let Listing { directory, after } = self.table.get_mut(&listing)?;
        let Some((name, node)) = self.tree.next_entry(*directory, after.as_deref())? else { return Ok(None) };
        *after = Some(name.clone());
        self.moved(name.len());
        Ok(Some(DirectoryEntry { type_: kind(self.tree.stat(node)?.directory), name }))
    }

    fn drop(&mut self, listing: Resource<Listing>) -> wasmtime::Result<()> {
        let listing = self.table.delete(listing)?;
        self.tree.release(listing.directory);
        Ok(())
    }
}

impl preopens::Host for Host {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        let flags = DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY;
        self.tree.retain(ROOT).map_err(|error| wasmtime::Error::msg(format!("{error:?}")))?;
        let root = self.table.push(Descriptor { node: ROOT, directory: true, flags })?;
        Ok(vec![(root, RESULT.to_owned())])
    }
}
