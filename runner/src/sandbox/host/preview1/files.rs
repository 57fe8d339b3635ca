//! Descriptors of preview 1: the standard streams, and the files and directories of the result directory.

use super::{Call, Errno, Host, MAX_VECTORS, Outcome, get, put, slice};
use crate::sandbox::host::io::{InputStream, MAX_CHUNK, OutputStream};
use crate::sandbox::host::{MAX_HANDLES, RESULT};
use crate::sandbox::tree::{MAX_PATH, NodeId, Opening, ROOT, Stat};
use std::collections::BTreeSet;

/// File types, as preview 1 numbers them.
const UNKNOWN: u8 = 0;
const DIRECTORY: u8 = 3;
const REGULAR: u8 = 4;

/// Rights: to read a file and to write one.
const READ: u64 = 1 << 1;
const WRITE: u64 = 1 << 6;
/// To list a directory.
const LIST: u64 = 1 << 14;
/// What libraries expect of a directory: creating, opening, naming, listing and removing what is in it.
const IN_DIRECTORY: u64 = 0x07b7_fe00;
/// What they expect of the files in it.
const IN_FILES: u64 = 0x0840_01ff;

/// The flag of a descriptor that always writes at the end.
const APPEND: u16 = 1;
/// Flags that change nothing here: nothing ever blocks, and publication syncs everything.
const IGNORED: u16 = 0b1_1110;
/// Bytes of a directory entry before its name.
const ENTRY: usize = 24;

/// What a descriptor stands for.
#[derive(Debug)]
enum Open {
    Input(InputStream),
    Output(OutputStream),
    File(File),
    /// With how far it was listed: the next cookie, and the name that was given last.
    Directory {
        node: NodeId,
        listed: Option<(u64, String)>,
    },
}

#[derive(Debug, Clone, Copy)]
struct File {
    node: NodeId,
    position: u64,
    reads: bool,
    writes: bool,
    appends: bool,
}

/// The open descriptors of a guest, by number.
#[derive(Debug, Default)]
pub(in crate::sandbox::host) struct Descriptors {
    open: Vec<Option<Open>>,
    free: BTreeSet<u32>,
}

impl Descriptors {
    fn get(&mut self, fd: u32) -> Outcome<&mut Open> {
        Ok(self.open.get_mut(fd as usize).and_then(Option::as_mut).ok_or(Errno::Badf)?)
    }

    /// Takes the lowest number that is free.
    fn add(&mut self, open: Open) -> Outcome<u32> {
        if let Some(fd) = self.free.pop_first() {
            self.open[fd as usize] = Some(open);
            return Ok(fd);
        }
        if self.open.len() >= MAX_HANDLES {
            return Err(Errno::Mfile.into());
        }
        self.open.push(Some(open));
        Ok(self.open.len() as u32 - 1)
    }

    fn take(&mut self, fd: u32) -> Outcome<Open> {
        let open = self.open.get_mut(fd as usize).and_then(Option::take).ok_or(Errno::Badf)?;
        self.free.insert(fd);
        Ok(open)
    }
}

impl Host {
    /// Opens what a command starts with: its standard streams, and the result directory.
    pub(in crate::sandbox) fn open_standard(&mut self) {
        let (input, output) = (self.standard_input(), self.standard_output());
        let streams = [Open::Input(input), Open::Output(output), Open::Output(OutputStream::Log)];
        self.descriptors.open = streams.into_iter().map(Some).collect();
        // The root is never removed, so nobody has to hold it.
        self.descriptors.open.push(Some(Open::Directory { node: ROOT, listed: None }));
    }

    /// Refuses a descriptor that is not open.
    pub(super) fn entry(&mut self, fd: u32) -> Outcome<()> {
        self.descriptors.get(fd).map(|_| ())
    }

    pub(super) fn close(&mut self, fd: u32) -> Outcome {
        match self.descriptors.take(fd)? {
            Open::File(File { node, .. }) | Open::Directory { node, .. } if node != ROOT => self.tree.release(node),
            _ => {}
        }
        Ok(())
    }

    /// Gives a descriptor the number of another one, which is closed.
    pub(super) fn renumber(&mut self, fd: u32, to: u32) -> Outcome {
        self.entry(fd)?;
        self.entry(to)?;
        if fd != to {
            self.close(to)?;
            let open = self.descriptors.take(fd)?;
            self.descriptors.free.remove(&to);
            self.descriptors.open[to as usize] = Some(open);
        }
        Ok(())
    }

    /// How many bytes a read or write of a descriptor can move at once.
    pub(super) fn bytes_at_once(&mut self, fd: u32) -> Outcome<u64> {
        let Self { descriptors, tree, .. } = self;
        Ok(match descriptors.get(fd)? {
            Open::Input(InputStream::Body { body, offset }) => body.size().saturating_sub(*offset),
            Open::File(file) => tree.stat(file.node)?.size.saturating_sub(file.position),
            Open::Output(_) => MAX_CHUNK,
            _ => 0,
        })
    }

    fn directory_of(&mut self, fd: u32) -> Outcome<NodeId> {
        match self.descriptors.get(fd)? {
            Open::Directory { node, .. } => Ok(*node),
            _ => Err(Errno::Notdir.into()),
        }
    }

    fn file_of(&mut self, fd: u32) -> Outcome<&mut File> {
        match self.descriptors.get(fd)? {
            Open::File(file) => Ok(file),
            Open::Directory { .. } => Err(Errno::Isdir.into()),
            _ => Err(Errno::Spipe.into()),
        }
    }

    /// Reads from a descriptor, at an offset or where it is; short only at the end.
    fn read(&mut self, fd: u32, buffer: &mut [u8], offset: Option<u64>) -> Outcome<usize> {
        let Self { descriptors, tree, .. } = self;
        match descriptors.get(fd)? {
            Open::Input(stream) if offset.is_none() => Ok(stream.read(tree, buffer)?),
            Open::File(file) if file.reads => {
                let read = tree.read(file.node, buffer, offset.unwrap_or(file.position))?;
                if offset.is_none() {
                    file.position = file.position.saturating_add(read as u64);
                }
                Ok(read)
            }
            Open::Directory { .. } => Err(Errno::Isdir.into()),
            Open::Input(_) => Err(Errno::Spipe.into()),
            _ => Err(Errno::Badf.into()),
        }
    }

    /// Writes to a descriptor, at an offset or where it is: all of it, or nothing.
    fn write(&mut self, fd: u32, bytes: &[u8], offset: Option<u64>) -> Outcome<usize> {
        let Self { descriptors, tree, outputs, .. } = self;
        match descriptors.get(fd)? {
            Open::Output(stream) if offset.is_none() => stream.write(tree, outputs, bytes)?,
            Open::File(file) if file.writes => {
                let start = match offset {
                    Some(offset) => offset,
                    None if file.appends => tree.stat(file.node)?.size,
                    None => file.position,
                };
                tree.write(file.node, bytes, start)?;
                if offset.is_none() {
                    file.position = start.saturating_add(bytes.len() as u64);
                }
            }
            Open::Directory { .. } => return Err(Errno::Isdir.into()),
            Open::Output(_) => return Err(Errno::Spipe.into()),
            _ => return Err(Errno::Badf.into()),
        }
        Ok(bytes.len())
    }

    /// What there is to know of an entry, as preview 1 lays it out.
    fn file_stat(&self, node: NodeId) -> Outcome<[u8; 64]> {
        let Stat { directory, size, changed } = self.tree.stat(node)?;
        let time = self.wall_time(changed);
        let kind = if directory { DIRECTORY } else { REGULAR };
        let words = [1, node, u64::from(kind), 1, size, time, time, time];
        let mut stat = [0; 64];
        for (place, word) in stat.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        Ok(stat)
    }
}

impl Call<'_> {
    /// A path in the guest's memory.
    fn path(&mut self, (at, length): (u32, u32)) -> Outcome<String> {
        if length as usize > MAX_PATH {
            slice(self.memory(), at, length)?;
            return Err(Errno::Nametoolong.into());
        }
        self.pay(length);
        let bytes = slice(self.memory(), at, length)?.to_vec();
        String::from_utf8(bytes).map_err(|_| Errno::Ilseq.into())
    }

    /// A directory, and a path below it.
    fn place(&mut self, fd: u32, path: (u32, u32)) -> Outcome<(NodeId, String)> {
        let directory = self.host().directory_of(fd)?;
        Ok((directory, self.path(path)?))
    }

    pub(super) async fn read(&mut self, fd: u32, list: (u32, u32), offset: Option<u64>, size: u32) -> Outcome {
        let moved = self.transfer(list, offset, |host, piece, offset| host.read(fd, piece, offset)).await?;
        self.put_u32(size, moved)
    }

    pub(super) async fn write(&mut self, fd: u32, list: (u32, u32), offset: Option<u64>, size: u32) -> Outcome {
        let moved = self.transfer(list, offset, |host, piece, offset| host.write(fd, piece, offset)).await?;
        self.put_u32(size, moved)
    }

    /// Moves the bytes of a list of buffers piece by piece, until all are moved or a piece falls short. A
    /// failure after the first piece is told by the next call, as POSIX has it.
    async fn transfer(
        &mut self,
        (list, count): (u32, u32),
        offset: Option<u64>,
        piece: impl Fn(&mut Host, &mut [u8], Option<u64>) -> Outcome<usize>,
    ) -> Outcome<u32> {
        if count > MAX_VECTORS {
            return Err(Errno::Inval.into());
        }
        self.pay(count * 8);
        // A call that moves nothing still tells whether the descriptor can be used.
        piece(self.host(), &mut [], offset)?;
        let (mut moved, mut unpaid) = (0_u32, 0);
        for place in 0..count {
            let at = list.checked_add(place * 8).ok_or(Errno::Fault)?;
            let [start, length]: [u32; 2] = {
                let vector: [u8; 8] = get(self.memory(), at)?;
                [0, 4].map(|place| u32::from_le_bytes(std::array::from_fn(|byte| vector[place + byte])))
            };
            if length > i32::MAX as u32 - moved {
                return Err(Errno::Inval.into());
            }
            let mut done = 0;
            while done < length {
                let wanted = (length - done).min(MAX_CHUNK as u32);
                let (memory, host) = self.parts();
                let outcome = slice(memory, start.checked_add(done).ok_or(Errno::Fault)?, wanted)
                    .and_then(|bytes| piece(host, bytes, offset.map(|offset| offset.saturating_add(moved.into()))));
                let got = match outcome {
                    Ok(got) => got as u32,
                    Err(super::Failure::Errno(_)) if moved > 0 => return Ok(moved),
                    Err(failure) => return Err(failure),
                };
                self.pay(got);
                unpaid += got;
                if unpaid >= MAX_CHUNK as u32 {
                    self.rest().await?;
                    unpaid = 0;
                }
                (moved, done) = (moved + got, done + got);
                if got < wanted {
                    return Ok(moved);
                }
            }
        }
        Ok(moved)
    }

    pub(super) fn fd_fdstat_get(&mut self, fd: u32, at: u32) -> Outcome {
        let (kind, flags, base, inheriting) = match self.host().descriptors.get(fd)? {
            Open::Input(_) => (UNKNOWN, 0, !(WRITE | LIST), 0),
            Open::Output(_) => (UNKNOWN, 0, !(READ | LIST), 0),
            Open::File(file) => {
                let missing = if file.reads { 0 } else { READ | LIST } | if file.writes { 0 } else { WRITE };
                (REGULAR, if file.appends { APPEND } else { 0 }, !missing, !missing)
            }
            Open::Directory { .. } => (DIRECTORY, 0, IN_DIRECTORY, IN_DIRECTORY | IN_FILES),
        };
        let mut stat = [0; 24];
        stat[0] = kind;
        stat[2..4].copy_from_slice(&flags.to_le_bytes());
        stat[8..16].copy_from_slice(&base.to_le_bytes());
        stat[16..].copy_from_slice(&inheriting.to_le_bytes());
        put(self.memory(), at, &stat)
    }

    pub(super) fn fd_fdstat_set_flags(&mut self, fd: u32, flags: u32) -> Outcome {
        if flags & !u32::from(APPEND | IGNORED) != 0 {
            return Err(Errno::Inval.into());
        }
        if let Open::File(file) = self.host().descriptors.get(fd)? {
            file.appends = flags & u32::from(APPEND) != 0;
        }
        Ok(())
    }

    pub(super) fn fd_filestat_get(&mut self, fd: u32, at: u32) -> Outcome {
        let host = self.host();
        let stat = match host.descriptors.get(fd)? {
            Open::File(File { node, .. }) | Open::Directory { node, .. } => {
                let node = *node;
                host.file_stat(node)?
            }
            Open::Input(_) | Open::Output(_) => [0; 64],
        };
        put(self.memory(), at, &stat)
    }

    pub(super) fn fd_filestat_set_size(&mut self, fd: u32, size: u64) -> Outcome {
        let host = self.host();
        match *host.file_of(fd)? {
            File { node, writes: true, .. } => Ok(host.tree.set_size(node, size)?),
            _ => Err(Errno::Badf.into()),
        }
    }

    pub(super) fn fd_prestat_get(&mut self, fd: u32, at: u32) -> Outcome {
        self.is_preopened(fd)?;
        put(self.memory(), at, &(RESULT.len() as u64).wrapping_shl(32).to_le_bytes())
    }

    pub(super) fn fd_prestat_dir_name(&mut self, fd: u32, at: u32, length: u32) -> Outcome {
        self.is_preopened(fd)?;
        if (length as usize) < RESULT.len() {
            return Err(Errno::Nametoolong.into());
        }
        put(self.memory(), at, RESULT.as_bytes())
    }

    fn is_preopened(&mut self, fd: u32) -> Outcome {
        match self.host().descriptors.get(fd)? {
            Open::Directory { node: ROOT, .. } if fd == 3 => Ok(()),
            _ => Err(Errno::Badf.into()),
        }
    }

    pub(super) fn fd_seek(&mut self, fd: u32, by: i64, from: u32, place: u32) -> Outcome {
        let host = self.host();
        let file = *host.file_of(fd)?;
        let from = match from {
            0 => 0,
            1 => file.position,
            2 => host.tree.stat(file.node)?.size,
            _ => return Err(Errno::Inval.into()),
        };
        let position = from.checked_add_signed(by).ok_or(Errno::Inval)?;
        host.file_of(fd)?.position = position;
        self.put_u64(place, position)
    }

    /// Lists a directory from a cookie on: 0 is the beginning, and each entry comes with the next one's.
    pub(super) fn fd_readdir(&mut self, fd: u32, (at, length): (u32, u32), cookie: u64, used: u32) -> Outcome {
        let (memory, host) = self.parts();
        let mut rest = slice(memory, at, length)?;
        let Host { descriptors, tree, .. } = host;
        let Open::Directory { node, listed } = descriptors.get(fd)? else { return Err(Errno::Notdir.into()) };
        let (mut next, mut after) = match listed.take() {
            Some((next, name)) if next == cookie => (next, Some(name)),
            _ => (cookie, tree.nth_name(*node, cookie.saturating_sub(2))?),
        };
        let mut filled = 0;
        while !rest.is_empty() {
            let (name, id) = match next {
                0 => (".".to_owned(), *node),
                1 => ("..".to_owned(), *node),
                _ => match tree.next_entry(*node, after.as_deref())? {
                    Some(entry) => entry,
                    None => break,
                },
            };
            let kind = if tree.stat(id)?.directory { DIRECTORY } else { REGULAR };
            let mut entry = [0; ENTRY];
            entry[..8].copy_from_slice(&(next + 1).to_le_bytes());
            entry[8..16].copy_from_slice(&id.to_le_bytes());
            entry[16..20].copy_from_slice(&(name.len() as u32).to_le_bytes());
            entry[20] = kind;
            let bytes = [&entry[..], name.as_bytes()].concat();
            let fits = bytes.len().min(rest.len());
            let (place, left) = rest.split_at_mut(fits);
            place.copy_from_slice(&bytes[..fits]);
            (rest, filled) = (left, filled + fits);
            if fits < bytes.len() {
                break;
            }
            next += 1;
            if next > 2 {
                after = Some(name);
            }
        }
        *listed = after.map(|name| (next, name));
        self.pay(filled as u32);
        self.put_u32(used, filled as u32)
    }

    pub(super) fn path_open(
        &mut self,
        fd: u32,
        path: (u32, u32),
        how: u32,
        (rights, flags): (u64, u32),
        opened: u32,
    ) -> Outcome {
        let (base, path) = self.place(fd, path)?;
        // A descriptor whose number cannot be told would be lost.
        self.put_u32(opened, 0)?;
        let is = |flag: u32| how & flag != 0;
        let (reads, writes) = (rights & READ != 0, rights & WRITE != 0);
        let opening = Opening { create: is(1), directory: is(2), exclusive: is(4), truncate: is(8), write: writes };
        let host = self.host();
        let node = host.tree.open(base, &path, opening)?;
        let open = if host.tree.stat(node)?.directory {
            Open::Directory { node, listed: None }
        } else {
            let appends = flags & u32::from(APPEND) != 0;
            Open::File(File { node, position: 0, reads, writes, appends })
        };
        let fd = host.descriptors.add(open)?;
        if node != ROOT {
            host.tree.retain(node)?;
        }
        self.put_u32(opened, fd)
    }

    pub(super) fn path_create_directory(&mut self, fd: u32, path: (u32, u32)) -> Outcome {
        let (base, path) = self.place(fd, path)?;
        Ok(self.host().tree.create_directory(base, &path)?)
    }

    pub(super) fn path_filestat_get(&mut self, fd: u32, path: (u32, u32), at: u32) -> Outcome {
        let (base, path) = self.place(fd, path)?;
        let host = self.host();
        let stat = host.file_stat(host.tree.lookup(base, &path)?)?;
        put(self.memory(), at, &stat)
    }

    /// Answers what guests may do to no entry: link to it, or give it a time.
    pub(super) fn not_permitted(&mut self, fd: u32, path: (u32, u32)) -> Outcome {
        let (base, path) = self.place(fd, path)?;
        self.host().tree.lookup(base, &path)?;
        Err(Errno::Perm.into())
    }

    pub(super) fn path_readlink(&mut self, fd: u32, path: (u32, u32)) -> Outcome {
        let (base, path) = self.place(fd, path)?;
        self.host().tree.lookup(base, &path)?;
        Err(Errno::Inval.into())
    }

    pub(super) fn path_remove_directory(&mut self, fd: u32, path: (u32, u32)) -> Outcome {
        let (base, path) = self.place(fd, path)?;
        Ok(self.host().tree.remove_directory(base, &path)?)
    }

    pub(super) fn path_rename(&mut self, from: (u32, u32, u32), to: (u32, u32, u32)) -> Outcome {
        let (from, path) = self.place(from.0, (from.1, from.2))?;
        let (to, new_path) = self.place(to.0, (to.1, to.2))?;
        Ok(self.host().tree.rename((from, &path), (to, &new_path))?)
    }

    pub(super) fn path_unlink_file(&mut self, fd: u32, path: (u32, u32)) -> Outcome {
        let (base, path) = self.place(fd, path)?;
        Ok(self.host().tree.unlink(base, &path)?)
    }
}
