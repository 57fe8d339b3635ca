//! Giving the guest's files their names.

use super::{Kind, ROOT, Tree};
use crate::job::{Digest, FileEntry};
use cap_std::fs::{Dir, File};
use sha2::{Digest as _, Sha256};
use std::io::{self, Read as _};

impl Tree {
    /// Puts all named entries under their names into `target`, which is empty, and lists the files by name.
    ///
    /// It reads every file for its digest, so it blocks.
    ///
    /// # Errors
    /// The disk's.
    pub fn publish(&self, target: &Dir) -> io::Result<Vec<FileEntry>> {
        let mut files = Vec::new();
        let mut waiting = vec![(ROOT, String::new())];
        while let Some((id, name)) = waiting.pop() {
            let (size, digest) = match &self.nodes[&id].kind {
                Kind::Directory { entries, .. } => {
                    if id != ROOT {
                        target.create_dir(&name)?;
                    }
                    let below = |own: &String| if id == ROOT { own.clone() } else { format!("{name}/{own}") };
                    waiting.extend(entries.iter().map(|(own, id)| (*id, below(own))));
                    continue;
                }
                Kind::File { has_content: true, .. } => {
                    let hashed = hash(self.contents.reader(id)?)?;
                    self.contents.move_to(id, target, &name)?;
                    hashed
                }
                Kind::File { .. } => {
                    target.create(&name)?;
                    (0, Digest::of(b""))
                }
            };
            files.push(FileEntry { name, size, sha256: digest.hex() });
        }
        files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }
}

/// The length and the digest of a file.
fn hash(mut file: File) -> io::Result<(u64, Digest)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    let mut size = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((size, Digest::from_hasher(hasher))),
            Ok(length) => {
                hasher.update(&buffer[..length]);
                size += length as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
