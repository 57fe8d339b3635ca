//! The result directory as the guest sees it.
//!
//! Names live in memory and contents in host files that are numbered, so that no name that a guest chose
//! reaches the host's file system before [`Tree::publish`], and none that could not be published ever
//! exists. Order, times and identities follow from what the guest did. Every entry is counted against the
//! quota before it exists.

mod contents;
mod path;
mod publish;
mod quota;

pub(super) use path::MAX_PATH;

pub(super) use quota::Quota;

use super::scratch::Scratch;
use contents::Contents;
use path::{MAX_DEPTH, MAX_LENGTH, normalise};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::Bound;

/// What an entry costs at least, however small it is: the block that the host's file system gives it.
const ENTRY_COST: u64 = 4096;

/// What it costs, in fuel, to look at an entry in memory.
const VISIT: u64 = 50;

/// Identifies an entry for as long as it is named or open.
pub type NodeId = u64;

/// The topmost directory.
pub const ROOT: NodeId = 0;

/// What there is to know of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Whether it is a directory.
    pub directory: bool,
    /// Bytes.
    pub size: u64,
    /// The tick of its last change.
    pub changed: u64,
}

/// How an entry is opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening {
    /// Make a file if there is nothing.
    pub create: bool,
    /// It must be made.
    pub exclusive: bool,
    /// It must be a directory.
    pub directory: bool,
    /// Cut it to nothing.
    pub truncate: bool,
    /// It will be written.
    pub write: bool,
}

#[derive(Debug)]
enum Kind {
    Directory {
        entries: BTreeMap<String, NodeId>,
        parent: NodeId,
        /// Bytes of its own name.
        name_length: usize,
    },
    File {
        size: u64,
        /// Whether anything was ever written, so that there is a host file.
        has_content: bool,
    },
}

impl Kind {
    /// An empty directory, which has no place yet.
    fn directory() -> Self {
        Kind::Directory { entries: BTreeMap::new(), parent: ROOT, name_length: 0 }
    }
}

#[derive(Debug)]
struct Node {
    kind: Kind,
    changed: u64,
    handles: u32,
    linked: bool,
}

/// How far a part of the tree reaches.
#[derive(Debug, Clone, Copy, Default)]
struct Extent {
    levels: usize,
    /// Bytes of names, each with its `/`.
    bytes: usize,
}

/// A directory tree under a quota.
#[derive(Debug)]
pub struct Tree {
    nodes: HashMap<NodeId, Node>,
    next: NodeId,
    tick: u64,
    contents: Contents,
    /// What was done in memory and not yet paid for, in fuel.
    visited: u64,
    /// What is used and what was refused.
    pub(super) quota: Quota,
}

impl Tree {
    /// An empty tree that keeps its contents in `scratch`.
    pub(super) fn new(scratch: Scratch, quota: Quota) -> Self {
        let root = Node { kind: Kind::directory(), changed: 0, handles: 0, linked: true };
        let contents = Contents::new(scratch);
        Self { nodes: HashMap::from([(ROOT, root)]), next: ROOT + 1, tick: 0, contents, visited: 0, quota }
    }

    /// Whether nothing has a name.
    pub fn is_empty(&self) -> bool {
        self.entries(ROOT).is_ok_and(BTreeMap::is_empty)
    }

    /// What was done since the last call, in fuel: few of the guest's calls cost the host's file system
    /// anything, and those that do cost it much.
    pub(super) fn take_work(&mut self) -> u64 {
        self.contents.take_work() + VISIT * std::mem::take(&mut self.visited)
    }

    /// The entry at `path` below `base`.
    pub(super) fn lookup(&self, base: NodeId, path: &str) -> Result<NodeId, TreeError> {
        let mut node = base;
        for name in normalise(path)? {
            node = *self.entries(node)?.get(name).ok_or(TreeError::NoEntry)?;
        }
        Ok(node)
    }

    /// What there is to know of an entry.
    pub(super) fn stat(&self, id: NodeId) -> Result<Stat, TreeError> {
        let node = self.node(id)?;
        Ok(match &node.kind {
            Kind::Directory { .. } => Stat { directory: true, size: 0, changed: node.changed },
            Kind::File { size, .. } => Stat { directory: false, size: *size, changed: node.changed },
        })
    }

    /// The first name in a directory that comes after this one in the order of bytes.
    pub(super) fn next_entry(&self, id: NodeId, after: Option<&str>) -> Result<Option<(String, NodeId)>, TreeError> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.entries(id)?.range::<str, _>((start, Bound::Unbounded)).next();
        Ok(next.map(|(name, id)| (name.clone(), *id)))
    }

    /// The last one of the first `count` names in a directory, in the order of bytes.
    pub(super) fn nth_name(&mut self, id: NodeId, count: u64) -> Result<Option<String>, TreeError> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let mut names = self.entries(id)?.keys();
        let visited = count.min(names.len());
        let name = visited.checked_sub(1).and_then(|last| names.nth(last)).cloned();
        self.visited += visited as u64;
        Ok(name)
    }

    /// The entry at `path` below `base`, made if that is asked for.
    pub(super) fn open(&mut self, base: NodeId, path: &str, opening: Opening) -> Result<NodeId, TreeError> {
        let node = match self.lookup(base, path) {
            Ok(_) if opening.create && opening.exclusive => return Err(TreeError::Exist),
            Ok(node) => node,
            Err(TreeError::NoEntry) if opening.create && opening.directory => return Err(TreeError::Invalid),
            Err(TreeError::NoEntry) if opening.create => self.create_file(base, path)?,
            Err(error) => return Err(error),
        };
        let is_directory = self.stat(node)?.directory;
        if opening.directory && !is_directory {
            return Err(TreeError::NotDirectory);
        }
        if is_directory && (opening.write || opening.truncate) {
            return Err(TreeError::IsDirectory);
        }
        if opening.truncate {
            self.set_size(node, 0)?;
        }
        Ok(node)
    }

    /// Creates an empty file, which must not exist.
    pub(super) fn create_file(&mut self, base: NodeId, path: &str) -> Result<NodeId, TreeError> {
        self.insert(base, path, Kind::File { size: 0, has_content: false })
    }

    /// Creates an empty directory, which must not exist.
    pub(super) fn create_directory(&mut self, base: NodeId, path: &str) -> Result<(), TreeError> {
        self.insert(base, path, Kind::directory()).map(|_| ())
    }

    /// Takes a handle on an entry: it stays until it is released, named or not.
    pub(super) fn retain(&mut self, id: NodeId) -> Result<(), TreeError> {
        self.node_mut(id)?.handles += 1;
        Ok(())
    }

    /// Gives a handle back.
    pub(super) fn release(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.handles = node.handles.saturating_sub(1);
            if node.handles == 0 {
                self.contents.close(id);
                self.forget_if_unused(id);
            }
        }
    }

    /// Reads from `offset` on; shorter than the buffer only at the end.
    pub(super) fn read(&mut self, id: NodeId, buffer: &mut [u8], offset: u64) -> Result<usize, TreeError> {
        let size = self.file_size(id)?;
        let left = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        if length == 0 {
            return Ok(0);
        }
        let content = self.content(id)?;
        cap_std::fs::FileExt::read_exact_at(content, &mut buffer[..length], offset)?;
        Ok(length)
    }

    /// Writes all of `bytes` at `offset`, or nothing.
    pub(super) fn write(&mut self, id: NodeId, bytes: &[u8], offset: u64) -> Result<(), TreeError> {
        let end = offset.checked_add(bytes.len() as u64).ok_or(TreeError::InsufficientSpace)?;
        if bytes.is_empty() {
            return Ok(());
        }
        if end > self.file_size(id)? {
            self.charge_size(id, end)?;
        }
        let content = self.content(id)?;
        cap_std::fs::FileExt::write_all_at(content, bytes, offset)?;
        self.touch(id);
        Ok(())
    }

    /// Cuts or extends a file; what is new reads as zeroes and counts like any other bytes.
    pub(super) fn set_size(&mut self, id: NodeId, size: u64) -> Result<(), TreeError> {
        if size != self.file_size(id)? {
            self.charge_size(id, size)?;
            self.content(id)?.set_len(size)?;
            self.touch(id);
        }
        Ok(())
    }

    /// Removes a file's name.
    pub(super) fn unlink(&mut self, base: NodeId, path: &str) -> Result<(), TreeError> {
        let id = self.lookup(base, path)?;
        match self.node(id)?.kind {
            Kind::Directory { .. } => Err(TreeError::IsDirectory),
            Kind::File { .. } => self.detach(base, path),
        }
    }

    /// Removes an empty directory.
    pub(super) fn remove_directory(&mut self, base: NodeId, path: &str) -> Result<(), TreeError> {
        match self.entries(self.lookup(base, path)?)?.is_empty() {
            true => self.detach(base, path),
            false => Err(TreeError::NotEmpty),
        }
    }

    /// Gives an entry another name, replacing a file or an empty directory that has it.
    pub(super) fn rename(&mut self, from: (NodeId, &str), to: (NodeId, &str)) -> Result<(), TreeError> {
        let id = self.lookup(from.0, from.1)?;
        let (new_parent, new_name) = self.split(to.0, to.1)?;
        if id == ROOT || self.is_within(new_parent, id) {
            return Err(TreeError::Invalid);
        }
        let (below, visited) = self.below(id);
        self.visited += visited;
        self.check_fits(new_parent, &new_name, below)?;
        if let Some(&replaced) = self.entries(new_parent)?.get(&new_name) {
            if replaced == id {
                return Ok(());
            }
            match (&self.node(id)?.kind, &self.node(replaced)?.kind) {
                (Kind::Directory { .. }, Kind::File { .. }) => return Err(TreeError::NotDirectory),
                (Kind::File { .. }, Kind::Directory { .. }) => return Err(TreeError::IsDirectory),
                (_, Kind::Directory { entries, .. }) if !entries.is_empty() => return Err(TreeError::NotEmpty),
                _ => self.detach(to.0, to.1)?,
            }
        }
        let (old_parent, old_name) = self.split(from.0, from.1)?;
        self.entries_mut(old_parent)?.remove(&old_name);
        self.place(id, new_parent, new_name)?;
        self.touch(old_parent);
        self.touch(new_parent);
        Ok(())
    }

    fn insert(&mut self, base: NodeId, path: &str, kind: Kind) -> Result<NodeId, TreeError> {
        let (parent, name) = self.split(base, path)?;
        self.check_fits(parent, &name, Extent::default())?;
        if self.entries(parent)?.contains_key(&name) {
            return Err(TreeError::Exist);
        }
        self.quota.add_entry()?;
        if let Err(error) = self.quota.resize(0, ENTRY_COST) {
            self.quota.remove_entry();
            return Err(error);
        }
        let id = self.next;
        self.next += 1;
        self.nodes.insert(id, Node { kind, changed: self.tick, handles: 0, linked: true });
        self.place(id, parent, name)?;
        self.touch(id);
        self.touch(parent);
        Ok(id)
    }

    fn detach(&mut self, base: NodeId, path: &str) -> Result<(), TreeError> {
        let (parent, name) = self.split(base, path)?;
        let id = self.entries_mut(parent)?.remove(&name).ok_or(TreeError::NoEntry)?;
        self.node_mut(id)?.linked = false;
        self.touch(parent);
        self.forget_if_unused(id);
        Ok(())
    }

    fn forget_if_unused(&mut self, id: NodeId) {
        if !self.nodes.get(&id).is_some_and(|node| node.handles == 0 && !node.linked) {
            return;
        }
        if let Some(node) = self.nodes.remove(&id) {
            let size = match node.kind {
                Kind::File { size, has_content, .. } => {
                    if has_content {
                        self.contents.remove(id);
                    }
                    size
                }
                Kind::Directory { .. } => 0,
            };
            self.quota.remove_entry();
            self.quota.give_back(size.max(ENTRY_COST));
        }
    }

    fn charge_size(&mut self, id: NodeId, new: u64) -> Result<(), TreeError> {
        let old = self.file_size(id)?;
        self.quota.resize(old.max(ENTRY_COST), new.max(ENTRY_COST))?;
        if let Kind::File { size, .. } = &mut self.node_mut(id)?.kind {
            *size = new;
        }
        Ok(())
    }

    fn content(&mut self, id: NodeId) -> Result<&cap_std::fs::File, TreeError> {
        let node = self.nodes.get_mut(&id).ok_or(TreeError::NoEntry)?;
        let Kind::File { has_content, .. } = &mut node.kind else {
            return Err(TreeError::IsDirectory);
        };
        let file = self.contents.open(id, !*has_content)?;
        *has_content = true;
        Ok(file)
    }

    fn touch(&mut self, id: NodeId) {
        self.tick += 1;
        let tick = self.tick;
        if let Some(node) = self.nodes.get_mut(&id) {
            node.changed = tick;
        }
    }

    fn node(&self, id: NodeId) -> Result<&Node, TreeError> {
        self.nodes.get(&id).ok_or(TreeError::NoEntry)
    }

    fn node_mut(&mut self, id: NodeId) -> Result<&mut Node, TreeError> {
        self.nodes.get_mut(&id).ok_or(TreeError::NoEntry)
    }

    fn entries(&self, id: NodeId) -> Result<&BTreeMap<String, NodeId>, TreeError> {
        match &self.node(id)?.kind {
            Kind::Directory { entries, .. } => Ok(entries),
            Kind::File { .. } => Err(TreeError::NotDirectory),
        }
    }

    fn entries_mut(&mut self, id: NodeId) -> Result<&mut BTreeMap<String, NodeId>, TreeError> {
        match &mut self.node_mut(id)?.kind {
            Kind::Directory { entries, .. } => Ok(entries),
            Kind::File { .. } => Err(TreeError::NotDirectory),
        }
    }

    fn file_size(&self, id: NodeId) -> Result<u64, TreeError> {
        match self.node(id)?.kind {
            Kind::File { size, .. } => Ok(size),
            Kind::Directory { .. } => Err(TreeError::IsDirectory),
        }
    }

    /// The directory that holds, or would hold, the entry at `path`, and the entry's name in it.
    fn split(&self, base: NodeId, path: &str) -> Result<(NodeId, String), TreeError> {
        let mut names = normalise(path)?;
        let name = names.pop().ok_or(TreeError::Invalid)?.to_owned();
        let mut parent = base;
        for name in names {
            parent = *self.entries(parent)?.get(name).ok_or(TreeError::NoEntry)?;
        }
        self.entries(parent)?;
        // An unlinked directory takes no new entries: nothing would ever show or count them.
        if self.node(parent)?.linked { Ok((parent, name)) } else { Err(TreeError::NoEntry) }
    }

    /// Gives an entry, which has none, a place in a directory.
    fn place(&mut self, id: NodeId, directory: NodeId, name: String) -> Result<(), TreeError> {
        if let Kind::Directory { parent, name_length, .. } = &mut self.node_mut(id)?.kind {
            (*parent, *name_length) = (directory, name.len());
        }
        self.entries_mut(directory)?.insert(name, id);
        Ok(())
    }

    /// Refuses what would lie too deep, or have too long a path, in this directory under this name.
    fn check_fits(&self, directory: NodeId, name: &str, below: Extent) -> Result<(), TreeError> {
        let above = self.above(directory);
        let fits = above.levels + 1 + below.levels <= MAX_DEPTH && above.bytes + name.len() + below.bytes <= MAX_LENGTH;
        if fits { Ok(()) } else { Err(TreeError::NameTooLong) }
    }

    /// From the root down to a directory's entries.
    fn above(&self, id: NodeId) -> Extent {
        let mut above = Extent::default();
        let mut next = Some(id);
        while let Some((parent, name_length)) = next.and_then(|id| self.parent(id)) {
            above = Extent { levels: above.levels + 1, bytes: above.bytes + name_length + 1 };
            next = Some(parent);
        }
        above
    }

    /// The most levels, and the most bytes, of the paths below an entry; and how many entries were looked
    /// at.
    fn below(&self, id: NodeId) -> (Extent, u64) {
        let (mut below, mut visited) = (Extent::default(), 0);
        let mut waiting = vec![(id, Extent::default())];
        while let Some((id, Extent { levels, bytes })) = waiting.pop() {
            visited += 1;
            below = Extent { levels: below.levels.max(levels), bytes: below.bytes.max(bytes) };
            let entries = self.entries(id).into_iter().flatten();
            waiting
                .extend(entries.map(|(name, id)| (*id, Extent { levels: levels + 1, bytes: bytes + 1 + name.len() })));
        }
        (below, visited)
    }

    fn is_within(&self, id: NodeId, ancestor: NodeId) -> bool {
        std::iter::successors(Some(id), |id| Some(self.parent(*id)?.0)).any(|id| id == ancestor)
    }

    /// What a directory lies in, and the bytes of its own name.
    fn parent(&self, id: NodeId) -> Option<(NodeId, usize)> {
        match self.nodes.get(&id)?.kind {
            Kind::Directory { parent, name_length, .. } if id != ROOT => Some((parent, name_length)),
            _ => None,
        }
    }
}

/// Why an operation was not done; the names are those of `wasi:filesystem`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeError {
    /// Nothing has that name.
    NoEntry,
    /// Something has that name already.
    Exist,
    /// A directory is needed.
    NotDirectory,
    /// A file is needed.
    IsDirectory,
    /// The directory has entries.
    NotEmpty,
    /// The request makes no sense.
    Invalid,
    /// The name leads out of the directory, or the operation is never allowed.
    NotPermitted,
    /// The name or the whole path is longer, or lies deeper, than is allowed.
    NameTooLong,
    /// The name has control characters.
    IllegalName,
    /// The quota on bytes would be passed.
    InsufficientSpace,
    /// The quota on entries would be passed.
    Quota,
    /// The host's disk failed, which no guest is told: the attempt ends.
    Io(io::ErrorKind),
}

impl From<io::Error> for TreeError {
    fn from(error: io::Error) -> Self {
        tracing::error!(%error, "the staging directory failed");
        TreeError::Io(error.kind())
    }
}

/// The host's disk failed its guest, which cannot go on; travels as an error, since the call never returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the host's disk failed the algorithm: {0}")]
pub struct HostFault(pub io::ErrorKind);

#[cfg(test)]
mod tests;
