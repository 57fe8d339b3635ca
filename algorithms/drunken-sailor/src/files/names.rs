//! Ways to name what should not be named.

use crate::{Params, Seen};
use longboat_sdk::{Failure, Job};
use std::fs::{self, File};
use std::path::PathBuf;

/// How deep it tries to go.
const LEVELS: u64 = 10_000;
/// Lengths of names, in bytes.
const LENGTHS: [usize; 4] = [200, 255, 256, 4_096];
/// The length of the longest name, in bytes.
const LONGEST: u64 = 70_000;
/// Names that something might misread.
const ODD: [&str; 21] = [
    "a\nb",
    "a\tb",
    "\u{1}",
    "\u{7f}",
    "\u{85}",
    "\u{1b}]0;owned\u{7}",
    "\u{202e}cod.exe",
    "\u{feff}",
    "e\u{301}",
    "é",
    "..\\..\\outside",
    "C:\\outside",
    "con",
    "...",
    " ",
    "%2e%2e%2foutside",
    "-rf",
    "$(reboot)",
    "<script>",
    "\"'",
    "result.json",
];
/// Paths that lead out of the result directory. The last ones go by way of what is in it.
const OUTSIDE: [&str; 12] = [
    "/",
    "..",
    "/outside",
    "../outside",
    "/result/..",
    "/result/../outside",
    "/result//..//outside",
    "/result/./../outside",
    "/etc/passwd",
    "/proc/self/environ",
    "/result/directory/../../outside",
    "/result/file/../../outside",
];

/// Makes directories in directories until one is refused.
pub fn deep_directories(job: &Job<Params>) -> Seen {
    let mut seen = Seen::default();
    let mut path = job.result_dir().to_owned();
    while seen.refused == 0 && seen.made < job.params.count.unwrap_or(LEVELS) {
        path.push("d");
        seen.count(fs::create_dir(&path));
    }
    seen
}

/// Makes files with ever longer names, in characters of one byte and of three.
pub fn long_names(job: &Job<Params>) -> Seen {
    let mut seen = Seen::default();
    let longest = usize::try_from(job.params.size.unwrap_or(LONGEST)).unwrap_or(usize::MAX);
    for length in LENGTHS.into_iter().chain([longest]) {
        seen.count(File::create(job.result_dir().join("a".repeat(length))));
        seen.count(File::create(job.result_dir().join("界".repeat(length / 3))));
    }
    seen
}

/// Makes files with names that something might misread.
pub fn odd_names(job: &Job<Params>) -> Seen {
    let mut seen = Seen::default();
    for name in ODD {
        seen.count(fs::write(job.result_dir().join(name), name));
    }
    seen
}

/// Tries paths that lead out.
///
/// # Errors
/// A permanent failure if one of them does.
pub fn escape(job: &Job<Params>) -> Result<Seen, Failure> {
    let mut seen = Seen::default();
    let (file, directory) = (job.result_dir().join("file"), job.result_dir().join("directory"));
    fs::write(&file, "x")?;
    fs::create_dir(&directory)?;
    for path in OUTSIDE.map(PathBuf::from) {
        let named = |what: &str| format!("{what} {}", path.display());
        seen.must_refuse(&named("reading"), fs::read(&path))?;
        seen.must_refuse(&named("listing"), fs::read_dir(&path))?;
        seen.must_refuse(&named("looking at"), fs::metadata(&path))?;
        seen.must_refuse(&named("writing"), fs::write(&path, "x"))?;
        seen.must_refuse(&named("making"), fs::create_dir(&path))?;
        seen.must_refuse(&named("removing"), fs::remove_file(&path))?;
        seen.must_refuse(&named("moving a file to"), fs::rename(&file, &path))?;
        seen.must_refuse(&named("moving a directory to"), fs::rename(&directory, &path))?;
        seen.must_refuse(&named("taking"), fs::rename(&path, job.result_dir().join("taken")))?;
    }
    Ok(seen)
}

/// Tries links, those that lead out and those that do not.
///
/// # Errors
/// A permanent failure if there are links.
pub fn links(job: &Job<Params>) -> Result<Seen, Failure> {
    let mut seen = Seen::default();
    let (own, link) = (job.result_dir().join("own"), job.result_dir().join("link"));
    fs::write(&own, "x")?;
    let targets =
        OUTSIDE.map(PathBuf::from).into_iter().chain([own, PathBuf::from("own"), job.result_dir().to_owned()]);
    for target in targets {
        #[expect(deprecated, reason = "its successors are each for one system, and none is for this one")]
        seen.must_refuse(&format!("a symbolic link to {}", target.display()), fs::soft_link(&target, &link))?;
        seen.must_refuse(&format!("a link to {}", target.display()), fs::hard_link(&target, &link))?;
    }
    seen.must_refuse("a link", fs::symlink_metadata(&link))?;
    Ok(seen)
}
