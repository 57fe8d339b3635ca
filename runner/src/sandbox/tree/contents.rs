//! The contents of a tree's files: numbered host files, of which few are open at once.

use super::NodeId;
use crate::sandbox::scratch::Scratch;
use cap_std::fs::{Dir, File, OpenOptions};
use std::collections::VecDeque;
use std::io;

/// How many host files one tree holds open, however many handles its guest has: the host's number of open
/// files is shared by all guests.
pub(super) const MAX_OPEN: usize = 32;

/// What a system call on an open file costs, in fuel.
const TOUCH: u64 = 3_000;
/// What it costs to open, create or remove a host file.
const OPEN: u64 = 40_000;

#[derive(Debug)]
pub(super) struct Contents {
    scratch: Scratch,
    /// What was done and not yet paid for, in fuel.
    work: u64,
    /// The one that was used last is at the back.
    open: VecDeque<(NodeId, File)>,
}

impl Contents {
    /// Contents in numbered files of `scratch`.
    pub(super) fn new(scratch: Scratch) -> Self {
        Self { scratch, work: 0, open: VecDeque::new() }
    }

    /// What was done since the last call, in fuel.
    pub(super) fn take_work(&mut self) -> u64 {
        std::mem::take(&mut self.work)
    }

    /// The host file of an entry, opened if need be; whichever was not used for longest is closed for it.
    pub(super) fn open(&mut self, id: NodeId, is_new: bool) -> io::Result<&File> {
        self.work += TOUCH;
        let file = match self.close(id) {
            Some(file) => file,
            None => {
                self.work += OPEN;
                if self.open.len() >= MAX_OPEN {
                    self.open.pop_front();
                }
                let mut options = OpenOptions::new();
                options.read(true).write(true).create_new(is_new);
                self.scratch.dir()?.open_with(id.to_string(), &options)?
            }
        };
        self.open.push_back((id, file));
        Ok(&self.open[self.open.len() - 1].1)
    }

    /// Closes the host file of an entry; returns it if it was open.
    pub(super) fn close(&mut self, id: NodeId) -> Option<File> {
        let place = self.open.iter().position(|(open, _)| *open == id)?;
        self.open.remove(place).map(|(_, file)| file)
    }

    /// Removes the host file of an entry.
    pub(super) fn remove(&mut self, id: NodeId) {
        self.close(id);
        self.work += OPEN;
        if let Err(error) = self.scratch.dir().and_then(|scratch| scratch.remove_file(id.to_string())) {
            tracing::error!(%error, "a file of the staging directory could not be removed");
        }
    }

    /// Reads the host file of an entry from its beginning.
    pub(super) fn reader(&self, id: NodeId) -> io::Result<File> {
        self.scratch.dir()?.open(id.to_string())
    }

    /// Gives the host file of an entry a name in another directory.
    pub(super) fn move_to(&self, id: NodeId, target: &Dir, name: &str) -> io::Result<()> {
        self.scratch.dir()?.rename(id.to_string(), target, name)
    }
}
