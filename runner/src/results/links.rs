//! The links at the top of a job's directory, which never go back to an earlier attempt.
//!
//! ```text
//! latest → attempts/2
//! result.json → latest/result.json        (and log.txt, files)
//! ```
//!
//! Only `latest` ever changes, so what a reader finds behind the others belongs together.

use super::{DOCUMENT, FILES, LATEST, LOG, tree};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Points the links in a job's directory at an attempt, unless they point at a later one. `spare` is a name in the
/// same directory that is the caller's alone.
pub(super) fn point(job: &Path, attempt: u32, spare: &Path) -> io::Result<()> {
    advance(&job.join(LATEST), attempt, spare)?;
    for name in [FILES, LOG, DOCUMENT] {
        let target = Path::new(LATEST).join(name);
        // Only files may be missing: most attempts leave none.
        if name != FILES || job.join(&target).exists() {
            make(&target, &job.join(name))?;
        }
    }
    Ok(())
}

/// Whoever comes late, after any pause, puts back what it has displaced: of all attempts that were ever exposed the
/// link keeps the last one, without a lock that a stopped process could keep.
fn advance(link: &Path, mut attempt: u32, spare: &Path) -> io::Result<()> {
    if make(&target(attempt), link)? {
        return Ok(());
    }
    while shown(link)?.is_none_or(|shown| shown < attempt) {
        tree::ignore_missing(fs::remove_file(spare))?;
        symlink(target(attempt), spare)?;
        exchange(spare, link)?;
        let displaced = shown(spare);
        tree::ignore_missing(fs::remove_file(spare))?;
        attempt = displaced?.unwrap_or(0).max(attempt);
    }
    Ok(())
}

fn target(attempt: u32) -> PathBuf {
    PathBuf::from(format!("attempts/{attempt}"))
}

/// The attempt that a link points at; none if it is not one of ours.
fn shown(link: &Path) -> io::Result<Option<u32>> {
    match fs::read_link(link) {
        Ok(target) => Ok(target.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes a link, and says whether nothing was in its place.
fn make(target: &Path, link: &Path) -> io::Result<bool> {
    match symlink(target, link) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        made => made.map(|()| true),
    }
}

/// Exchanges two names in one step. A file system that cannot, as some file servers, replaces the second one.
#[cfg(target_os = "linux")]
fn exchange(one: &Path, two: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, one, CWD, two, RenameFlags::EXCHANGE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => fs::rename(one, two),
        exchanged => Ok(exchanged?),
    }
}

/// Replaces the second name by the first.
#[cfg(not(target_os = "linux"))]
fn exchange(one: &Path, two: &Path) -> io::Result<()> {
    fs::rename(one, two)
}
