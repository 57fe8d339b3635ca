//! Removing whole trees, however an algorithm has shaped them.

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

/// `Ok` also if there was nothing.
pub(super) fn ignore_missing(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// How often a directory is emptied in which others are still at work.
const TRIES: u32 = 100;

/// Removes a directory, or whatever is at `path`, with all that is in it.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => remove_directory(path),
        Ok(_) => ignore_missing(fs::remove_file(path)),
        Err(error) => ignore_missing(Err(error)),
    }
}

fn remove_directory(path: &Path) -> io::Result<()> {
    let attempt = || {
        empty(&Dir::open_ambient_dir(path, ambient_authority())?)?;
        fs::remove_dir(path)
    };
    for _ in 1..TRIES {
        match attempt() {
            // What was on its way into a job's directory, or out of it, arrives wherever that was moved to.
            Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::NotFound) => {
                if !path.exists() {
                    return Ok(());
                }
            }
            removed => return removed,
        }
    }
    attempt()
}

/// Removes all that is in a directory.
///
/// A tree may be deeper than a stack, a path or the number of open files allows. So nothing descends: what lies
/// below a directory is moved up to the top, until only empty directories are left.
fn empty(top: &Dir) -> io::Result<()> {
    let mut count = 0;
    let mut is_empty = false;
    while !is_empty {
        is_empty = true;
        for entry in top.entries()? {
            let entry = entry?;
            is_empty = false;
            if entry.metadata()?.is_dir() {
                flatten(&entry.open_dir()?, top, &mut count)?;
                // What a file system did not list while it changed is found in the next round.
                match entry.remove_dir() {
                    Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
                    removed => removed?,
                }
            } else {
                entry.remove_file()?;
            }
        }
    }
    Ok(())
}

/// Removes the files in a directory and moves its directories into `top`.
fn flatten(directory: &Dir, top: &Dir, count: &mut u64) -> io::Result<()> {
    for entry in directory.entries()? {
        let entry = entry?;
        if !entry.metadata()?.is_dir() {
            entry.remove_file()?;
            continue;
        }
        // The algorithm may have taken this name.
        while top.symlink_metadata(format!(".removed-{count}")).is_ok() {
            *count += 1;
        }
        directory.rename(entry.file_name(), top, format!(".removed-{count}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_deeper_than_any_path_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path().join("top");
        fs::create_dir_all(top.join(".removed-1/.removed-2")).unwrap();
        fs::write(top.join(".removed-3"), "x").unwrap();
        let mut inner = Dir::open_ambient_dir(&top, ambient_authority()).unwrap();
        for _ in 0..5_000 {
            inner.create_dir("a").unwrap();
            inner.write("file", "x").unwrap();
            inner.symlink_contents("/etc", "link").unwrap();
            inner = inner.open_dir("a").unwrap();
        }
        drop(inner);
        remove(&top).unwrap();
        assert!(!top.exists() && Path::new("/etc").exists());
        remove(&top).unwrap();
    }
}
