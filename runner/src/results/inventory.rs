//! Takes stock of what an algorithm has left in its result directory.

use super::tree;
use crate::job::{Digest, FileEntry};
use cap_std::fs::{Dir, DirEntry};
use sha2::{Digest as _, Sha256};
use std::io::{self, Read as _};

/// Directories inside one another; deeper files could not be named in a URL or a path.
const MAX_DEPTH: usize = 64;
const MAX_NAME: usize = 1024;
/// So many of the things that were left out are named.
const MAX_NAMED: usize = 20;

/// What is in a result directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The files, sorted by name.
    pub files: Vec<FileEntry>,
    /// What was removed because it cannot be published, with the reason; the first few are named, the others
    /// counted.
    pub left_out: Vec<String>,
}

/// Lists all regular files and removes everything that is neither a regular file nor a directory, whose name is
/// not UTF-8, holds control characters or is longer than 1,024 bytes, or that lies more than 64 directories deep.
pub(super) fn take(files: &Dir, max_entries: usize) -> io::Result<Inventory> {
    let mut walk = Walk { inventory: Inventory::default(), left_out: 0, entries: 0, max_entries };
    let mut waiting = vec![(String::new(), 0)];
    while let Some((name, depth)) = waiting.pop() {
        let directory = if name.is_empty() { files.try_clone()? } else { files.open_dir(&name)? };
        for entry in directory.entries()? {
            walk.visit(&entry?, &name, depth, &mut waiting)?;
        }
    }
    let Walk { mut inventory, left_out, .. } = walk;
    if let Some(unnamed) = left_out.checked_sub(MAX_NAMED).filter(|unnamed| *unnamed > 0) {
        inventory.left_out.push(format!("and {unnamed} more"));
    }
    inventory.files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(inventory)
}

struct Walk {
    inventory: Inventory,
    left_out: usize,
    entries: usize,
    max_entries: usize,
}

impl Walk {
    fn visit(
        &mut self,
        entry: &DirEntry,
        parent: &str,
        depth: usize,
        waiting: &mut Vec<(String, usize)>,
    ) -> io::Result<()> {
        self.entries += 1;
        if self.entries > self.max_entries {
            return Err(io::Error::other(format!("the result directory has more than {} entries", self.max_entries)));
        }
        let own = entry.file_name();
        let full = if parent.is_empty() { String::new() } else { format!("{parent}/") };
        let metadata = entry.metadata()?;
        let reason = match own.to_str() {
            _ if !metadata.is_dir() && !metadata.is_file() => "neither a file nor a directory",
            None => "its name is not UTF-8",
            Some(own) if own.chars().any(char::is_control) => "its name holds control characters",
            Some(own) if full.len() + own.len() > MAX_NAME => "its name is too long",
            Some(_) if metadata.is_dir() && depth == MAX_DEPTH => "it is too deep",
            Some(own) if metadata.is_dir() => {
                waiting.push((full + own, depth + 1));
                return Ok(());
            }
            Some(own) => {
                let (size, sha256) = hash(entry)?;
                self.inventory.files.push(FileEntry { name: full + own, size, sha256 });
                return Ok(());
            }
        };
        self.left_out += 1;
        if self.left_out <= MAX_NAMED {
            self.inventory.left_out.push(format!("{:.200?}: {reason}", full + &own.to_string_lossy()));
        }
        if metadata.is_dir() {
            tree::empty(&entry.open_dir()?)?;
            entry.remove_dir()
        } else {
            entry.remove_file()
        }
    }
}

fn hash(entry: &DirEntry) -> io::Result<(u64, String)> {
    let mut file = entry.open()?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    let mut size = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((size, Digest::from_hasher(hasher).hex())),
            Ok(length) => {
                hasher.update(&buffer[..length]);
                size += length as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
