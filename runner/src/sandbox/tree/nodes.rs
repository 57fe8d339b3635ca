//! Which entry lies where.

use super::path::{MAX_DEPTH, MAX_LENGTH, normalise};
use super::{NodeId, ROOT, Tree, TreeError};
use std::collections::BTreeMap;

#[derive(Debug)]
pub(super) enum Kind {
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
    pub(super) fn directory() -> Self {
        Kind::Directory { entries: BTreeMap::new(), parent: ROOT, name_length: 0 }
    }
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) changed: u64,
    pub(super) handles: u32,
    pub(super) linked: bool,
}

/// How far a part of the tree reaches.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Extent {
    levels: usize,
    /// Bytes of names, each with its `/`.
    bytes: usize,
}

impl Tree {
    pub(super) fn node(&self, id: NodeId) -> Result<&Node, TreeError> {
        self.nodes.get(&id).ok_or(TreeError::NoEntry)
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> Result<&mut Node, TreeError> {
        self.nodes.get_mut(&id).ok_or(TreeError::NoEntry)
    }

    pub(super) fn entries(&self, id: NodeId) -> Result<&BTreeMap<String, NodeId>, TreeError> {
        match &self.node(id)?.kind {
            Kind::Directory { entries, .. } => Ok(entries),
            Kind::File { .. } => Err(TreeError::NotDirectory),
        }
    }

    pub(super) fn entries_mut(&mut self, id: NodeId) -> Result<&mut BTreeMap<String, NodeId>, TreeError> {
        match &mut self.node_mut(id)?.kind {
            Kind::Directory { entries, .. } => Ok(entries),
            Kind::File { .. } => Err(TreeError::NotDirectory),
        }
    }

    pub(super) fn file_size(&self, id: NodeId) -> Result<u64, TreeError> {
        match self.node(id)?.kind {
            Kind::File { size, .. } => Ok(size),
            Kind::Directory { .. } => Err(TreeError::IsDirectory),
        }
    }

    /// The directory that holds, or would hold, the entry at `path`, and the entry's name in it.
    pub(super) fn split(&self, base: NodeId, path: &str) -> Result<(NodeId, String), TreeError> {
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
    pub(super) fn place(&mut self, id: NodeId, directory: NodeId, name: String) -> Result<(), TreeError> {
        if let Kind::Directory { parent, name_length, .. } = &mut self.node_mut(id)?.kind {
            (*parent, *name_length) = (directory, name.len());
        }
        self.entries_mut(directory)?.insert(name, id);
        Ok(())
    }

    /// Refuses what would lie too deep, or have too long a path, in this directory under this name.
    pub(super) fn check_fits(&self, directory: NodeId, name: &str, below: Extent) -> Result<(), TreeError> {
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

    /// The most levels, and the most bytes, of the paths below an entry; and how many entries were looked at.
    pub(super) fn below(&self, id: NodeId) -> (Extent, u64) {
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

    pub(super) fn is_within(&self, id: NodeId, ancestor: NodeId) -> bool {
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
