//! The result directory as the guest sees it.
//!
//! Names live in memory and contents in host files that are numbered, so that no name that a guest chose
//! reaches the host's file system before [`Tree::publish`] has checked it. Order, times and identities follow
//! from what the guest did; every entry is counted against the quota before it exists.

mod path;

pub use path::normalise;

use super::limits::Quota;
use cap_std::fs::{Dir, OpenOptions};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

/// What an entry costs at least, however small it is: the block that the host's file system gives it.
const ENTRY_COST: u64 = 4096;

/// Identifies an entry for as long as it is named or open.
pub type NodeId = u64;

/// The topmost directory.
pub const ROOT: NodeId = 0;

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
    /// The name is longer, or lies deeper, than is allowed.
    NameTooLong,
    /// The name has control characters.
    IllegalName,
    /// The quota on bytes would be passed.
    InsufficientSpace,
    /// The quota on entries would be passed.
    Quota,
    /// The host's disk failed.
    Io,
}

impl From<io::Error> for TreeError {
    fn from(error: io::Error) -> Self {
        tracing::error!(%error, "the staging directory failed");
        TreeError::Io
    }
}

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

#[derive(Debug)]
enum Kind {
    Directory {
        entries: BTreeMap<String, NodeId>,
        parent: NodeId,
    },
    File {
        size: u64,
        /// The host file, while any handle is open and anything was ever written.
        content: Option<Arc<cap_std::fs::File>>,
        has_content: bool,
    },
}

impl Kind {
    fn directory(parent: NodeId) -> Self {
        Kind::Directory { entries: BTreeMap::new(), parent }
    }
}

#[derive(Debug)]
struct Node {
    kind: Kind,
    changed: u64,
    handles: u32,
    linked: bool,
}

/// A directory tree under a quota.
#[derive(Debug)]
pub struct Tree {
    nodes: HashMap<NodeId, Node>,
    next: NodeId,
    tick: u64,
    scratch: Arc<Dir>,
    /// What is used and what was refused.
    pub quota: Quota,
}

impl Tree {
    /// An empty tree that keeps its contents in `scratch`.
    pub fn new(scratch: Arc<Dir>, quota: Quota) -> Self {
        let root = Node { kind: Kind::directory(ROOT), changed: 0, handles: 0, linked: true };
        Self { nodes: HashMap::from([(ROOT, root)]), next: ROOT + 1, tick: 0, scratch, quota }
    }

    /// The entry at `path` below `base`.
    pub fn lookup(&self, base: NodeId, path: &str) -> Result<NodeId, TreeError> {
        let mut node = base;
        for name in normalise(path)? {
            node = *self.entries(node)?.get(name).ok_or(TreeError::NoEntry)?;
        }
        Ok(node)
    }

    /// What there is to know of an entry.
    pub fn stat(&self, id: NodeId) -> Result<Stat, TreeError> {
        let node = self.node(id)?;
        Ok(match &node.kind {
            Kind::Directory { .. } => Stat { directory: true, size: 0, changed: node.changed },
            Kind::File { size, .. } => Stat { directory: false, size: *size, changed: node.changed },
        })
    }

    /// The names in a directory, in order, each with whether it is a directory.
    pub fn list(&self, id: NodeId) -> Result<Vec<(String, bool)>, TreeError> {
        let is_directory = |id: &NodeId| matches!(self.nodes[id].kind, Kind::Directory { .. });
        Ok(self.entries(id)?.iter().map(|(name, id)| (name.clone(), is_directory(id))).collect())
    }

    /// Creates an empty file, which must not exist.
    pub fn create_file(&mut self, base: NodeId, path: &str) -> Result<NodeId, TreeError> {
        self.insert(base, path, Kind::File { size: 0, content: None, has_content: false })
    }

    /// Creates an empty directory, which must not exist.
    pub fn create_directory(&mut self, base: NodeId, path: &str) -> Result<(), TreeError> {
        self.insert(base, path, Kind::directory(ROOT)).map(|_| ())
    }

    /// Takes a handle on an entry: it stays until it is released, named or not.
    pub fn retain(&mut self, id: NodeId) -> Result<(), TreeError> {
        self.node_mut(id)?.handles += 1;
        Ok(())
    }

    /// Gives a handle back.
    pub fn release(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.handles = node.handles.saturating_sub(1);
            if node.handles == 0 {
                if let Kind::File { content, .. } = &mut node.kind {
                    *content = None;
                }
                self.forget_if_unused(id);
            }
        }
    }

    /// Reads from `offset` on; shorter than the buffer only at the end.
    pub fn read(&mut self, id: NodeId, buffer: &mut [u8], offset: u64) -> Result<usize, TreeError> {
        let size = self.file_size(id)?;
        let left = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        if length == 0 {
            return Ok(0);
        }
        let content = self.content(id)?;
        cap_std::fs::FileExt::read_exact_at(&*content, &mut buffer[..length], offset)?;
        Ok(length)
    }

    /// Writes all of `bytes` at `offset`, or nothing.
    pub fn write(&mut self, id: NodeId, bytes: &[u8], offset: u64) -> Result<(), TreeError> {
        let end = offset.checked_add(bytes.len() as u64).ok_or(TreeError::InsufficientSpace)?;
        if bytes.is_empty() {
            return Ok(());
        }
        if end > self.file_size(id)? {
            self.charge_size(id, end)?;
        }
        let content = self.content(id)?;
        cap_std::fs::FileExt::write_all_at(&*content, bytes, offset)?;
        self.touch(id);
        Ok(())
    }

    /// Cuts or extends a file; what is new reads as zeroes and counts like any other bytes.
    pub fn set_size(&mut self, id: NodeId, size: u64) -> Result<(), TreeError> {
        if size != self.file_size(id)? {
            self.charge_size(id, size)?;
            self.content(id)?.set_len(size)?;
            self.touch(id);
        }
        Ok(())
    }

    /// Removes a file's name.
    pub fn unlink(&mut self, base: NodeId, path: &str) -> Result<(), TreeError> {
        let id = self.lookup(base, path)?;
        match self.node(id)?.kind {
            Kind::Directory { .. } => Err(TreeError::IsDirectory),
            Kind::File { .. } => self.detach(base, path),
        }
    }

    /// Removes an empty directory.
    pub fn remove_directory(&mut self, base: NodeId, path: &str) -> Result<(), TreeError> {
        match self.entries(self.lookup(base, path)?)?.is_empty() {
            true => self.detach(base, path),
            false => Err(TreeError::NotEmpty),
        }
    }

    /// Gives an entry another name, replacing a file or an empty directory that has it.
    pub fn rename(&mut self, from: (NodeId, &str), to: (NodeId, &str)) -> Result<(), TreeError> {
        let id = self.lookup(from.0, from.1)?;
        let (new_parent, new_name) = self.split(to.0, to.1)?;
        if id == ROOT || self.is_within(new_parent, id) {
            return Err(TreeError::Invalid);
        }
        if self.depth(new_parent) + self.height(id) >= path::MAX_DEPTH {
            return Err(TreeError::NameTooLong);
        }
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
        self.entries_mut(new_parent)?.insert(new_name, id);
        if let Kind::Directory { parent, .. } = &mut self.node_mut(id)?.kind {
            *parent = new_parent;
        }
        self.touch(old_parent);
        self.touch(new_parent);
        Ok(())
    }

    /// Puts all named entries under their names into `target`, which is empty.
    ///
    /// # Errors
    /// The disk's.
    pub fn publish(&self, target: &Dir) -> io::Result<()> {
        let mut waiting = vec![(ROOT, String::new())];
        while let Some((id, path)) = waiting.pop() {
            match &self.nodes[&id].kind {
                Kind::Directory { entries, .. } => {
                    if id != ROOT {
                        target.create_dir(&path)?;
                    }
                    let below = |name: &String| if id == ROOT { name.clone() } else { format!("{path}/{name}") };
                    waiting.extend(entries.iter().map(|(name, id)| (*id, below(name))));
                }
                Kind::File { has_content: true, .. } => self.scratch.rename(id.to_string(), target, &path)?,
                Kind::File { .. } => {
                    target.create(&path)?;
                }
            }
        }
        Ok(())
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
        if self.depth(parent) >= path::MAX_DEPTH {
            return Err(TreeError::NameTooLong);
        }
        // An unlinked directory takes no new entries: nothing would ever show or count them.
        if self.node(parent)?.linked { Ok((parent, name)) } else { Err(TreeError::NoEntry) }
    }

    fn parent(&self, id: NodeId) -> Option<NodeId> {
        match self.nodes.get(&id)?.kind {
            Kind::Directory { parent, .. } if id != ROOT => Some(parent),
            _ => None,
        }
    }

    /// How many directories lie above this one.
    fn depth(&self, id: NodeId) -> usize {
        std::iter::successors(self.parent(id), |id| self.parent(*id)).count()
    }

    /// How many levels of entries lie below this one.
    fn height(&self, id: NodeId) -> usize {
        let mut waiting = vec![(id, 0)];
        let mut height = 0;
        while let Some((id, level)) = waiting.pop() {
            height = height.max(level);
            waiting.extend(self.entries(id).into_iter().flat_map(BTreeMap::values).map(|id| (*id, level + 1)));
        }
        height
    }

    fn is_within(&self, id: NodeId, ancestor: NodeId) -> bool {
        id == ancestor || std::iter::successors(self.parent(id), |id| self.parent(*id)).any(|id| id == ancestor)
    }

    fn insert(&mut self, base: NodeId, path: &str, mut kind: Kind) -> Result<NodeId, TreeError> {
        let (parent, name) = self.split(base, path)?;
        if let Kind::Directory { parent: own, .. } = &mut kind {
            *own = parent;
        }
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
        self.entries_mut(parent)?.insert(name, id);
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
                    if has_content && let Err(error) = self.scratch.remove_file(id.to_string()) {
                        tracing::error!(%error, "a file of the staging directory could not be removed");
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

    fn content(&mut self, id: NodeId) -> Result<Arc<cap_std::fs::File>, TreeError> {
        let scratch = Arc::clone(&self.scratch);
        let node = self.node_mut(id)?;
        let Kind::File { content, has_content, .. } = &mut node.kind else {
            return Err(TreeError::IsDirectory);
        };
        if let Some(file) = content {
            return Ok(Arc::clone(file));
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(!*has_content);
        let file = Arc::new(scratch.open_with(id.to_string(), &options)?);
        *has_content = true;
        *content = Some(Arc::clone(&file));
        Ok(file)
    }

    fn touch(&mut self, id: NodeId) {
        self.tick += 1;
        let tick = self.tick;
        if let Some(node) = self.nodes.get_mut(&id) {
            node.changed = tick;
        }
    }
}

#[cfg(test)]
mod tests;
