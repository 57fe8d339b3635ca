//! What guests do to their result directory, against a simple model of it.

use crate::guest::{BLOCK, RESULT, compile_own, endure};
use crate::wasi::{Script, player};
use crate::{Target, no_samples};
use arbitrary::Unstructured;
use longboat::sandbox::Program;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};

const MOST_STEPS: usize = 30;
/// What files are made of; a write takes a piece of it.
const PAYLOAD: usize = 512;
/// The descriptor that the only open file gets.
const OPENED: u64 = 4;
const RESULT_DIRECTORY: u64 = 3;
const CREATE: u64 = 1;
const TRUNCATE: u64 = 8;
const RIGHT_TO_WRITE: u64 = 64;

static PLAYER: LazyLock<Arc<Program>> = LazyLock::new(|| compile_own(&player()));

/// Result directories.
pub const TARGET: Target = Target {
    name: "tree",
    check,
    cases: 1_000,
    largest: 300,
    samples: no_samples,
    words: &[],
    reached: &["files", "a full directory", "nothing"],
};

/// One thing that a guest does, by places in [`NAMES`].
#[derive(Debug, Clone, Copy)]
enum Step {
    Write { path: [u8; 3], offset: u16, length: u8, truncate: bool },
    SetSize { path: [u8; 3], size: u32 },
    Directory { path: [u8; 3] },
    Unlink { path: [u8; 3] },
    RemoveDirectory { path: [u8; 3] },
    Rename { from: [u8; 3], to: [u8; 3] },
}

impl Step {
    fn take(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
        let (kind, path) = (bytes.int_in_range(0..=5)?, bytes.arbitrary()?);
        Ok(match kind {
            0 => {
                let (offset, length, truncate) = bytes.arbitrary()?;
                Step::Write { path, offset, length, truncate }
            }
            1 => Step::SetSize { path, size: bytes.arbitrary()? },
            2 => Step::Directory { path },
            3 => Step::Unlink { path },
            4 => Step::RemoveDirectory { path },
            _ => Step::Rename { from: path, to: bytes.arbitrary()? },
        })
    }
}

/// What paths are made of; with few names, steps meet the same entries.
const NAMES: [&str; 8] = ["a", "b", "a", "b", "", "", ".", ".."];

fn path(places: [u8; 3]) -> String {
    places.map(|place| NAMES[usize::from(place) % NAMES.len()]).join("/").trim_matches('/').to_owned()
}

/// What is published is what the model has, and both keep to the quota.
pub fn check(bytes: &[u8]) -> &'static str {
    let mut bytes = Unstructured::new(bytes);
    let mut script = Script::new();
    let payload: Vec<u8> = (0..PAYLOAD).map(|place| (place % 251) as u8 + 1).collect();
    let payload_address = script.data(&payload);
    let mut model = Model::default();
    for _ in 0..MOST_STEPS {
        let Ok(step) = Step::take(&mut bytes) else { break };
        tell(&mut script, payload_address, step);
        model.take(step, &payload);
        if bytes.is_empty() {
            break;
        }
    }
    let ended = endure(&PLAYER, script.into_bytes());
    match ended.verdict.kind() {
        // Nothing is printed, unless the machine has no time for the guest.
        "bad-result" => {}
        "deadline" => return "deadline",
        other => panic!("the player ends otherwise: {other}: {:?}", ended.verdict),
    }
    assert_eq!(walk(ended.target.path(), ""), model.entries, "on the right what should be there");
    let listed: Vec<_> = ended.files.iter().map(|file| (file.name.as_str(), file.size)).collect();
    let files = model.entries.iter().filter_map(|(name, bytes)| Some((name.as_str(), bytes.as_ref()?.len() as u64)));
    assert_eq!(listed, files.collect::<Vec<_>>());
    match model {
        Model { is_full: true, .. } => "a full directory",
        Model { entries, .. } if entries.is_empty() => "nothing",
        _ => "files",
    }
}

/// The calls that make up a step.
fn tell(script: &mut Script, payload: u32, step: Step) {
    let mut place = |places| {
        let path = path(places);
        (u64::from(script.data(path.as_bytes())), path.len() as u64)
    };
    let dir = RESULT_DIRECTORY;
    match step {
        Step::Write { path, offset, length, truncate } => {
            let (address, size) = place(path);
            let buffer = script.data(&[payload.to_le_bytes(), u32::from(length).to_le_bytes()].concat());
            let flags = CREATE | if truncate { TRUNCATE } else { 0 };
            script.call("path_open", &[dir, 0, address, size, flags, RIGHT_TO_WRITE, 0, 0, 1024]);
            script.call("fd_pwrite", &[OPENED, buffer.into(), 1, offset.into(), 1024]);
            script.call("fd_close", &[OPENED]);
        }
        Step::SetSize { path, size } => {
            let (address, length) = place(path);
            script.call("path_open", &[dir, 0, address, length, 0, RIGHT_TO_WRITE, 0, 0, 1024]);
            script.call("fd_filestat_set_size", &[OPENED, u64::from(size >> 15)]);
            script.call("fd_close", &[OPENED]);
        }
        Step::Directory { path } => {
            let (address, length) = place(path);
            script.call("path_create_directory", &[dir, address, length]);
        }
        Step::Unlink { path } => {
            let (address, length) = place(path);
            script.call("path_unlink_file", &[dir, address, length]);
        }
        Step::RemoveDirectory { path } => {
            let (address, length) = place(path);
            script.call("path_remove_directory", &[dir, address, length]);
        }
        Step::Rename { from, to } => {
            let (from, to) = (place(from), place(to));
            script.call("path_rename", &[dir, from.0, from.1, dir, to.0, to.1]);
        }
    }
}

/// Paths with the bytes of files, or with nothing for directories. The topmost directory is the empty path.
#[derive(Debug, Default)]
struct Model {
    entries: BTreeMap<String, Option<Vec<u8>>>,
    is_full: bool,
}

impl Model {
    fn take(&mut self, step: Step, payload: &[u8]) {
        match step {
            Step::Write { path, offset, length, truncate } => {
                let Some(path) = resolve(path).filter(|path| self.open(path, true, truncate)) else { return };
                let (start, length) = (usize::from(offset), usize::from(length));
                let size = self.file(&path).len().max(if length > 0 { start + length } else { 0 });
                if self.resize(&path, size) {
                    self.file(&path)[start.min(size)..][..length].copy_from_slice(&payload[..length]);
                }
            }
            Step::SetSize { path, size } => {
                let Some(path) = resolve(path).filter(|path| self.open(path, false, false)) else { return };
                self.resize(&path, (size >> 15) as usize);
            }
            Step::Directory { path } => drop(resolve(path).map(|path| self.create(&path, None))),
            Step::Unlink { path } => {
                let Some(path) = resolve(path) else { return };
                if matches!(self.entries.get(&path), Some(Some(_))) {
                    self.entries.remove(&path);
                }
            }
            Step::RemoveDirectory { path } => {
                let Some(path) = resolve(path) else { return };
                if self.entries.get(&path) == Some(&None) && !self.has_entries(&path) {
                    self.entries.remove(&path);
                }
            }
            Step::Rename { from, to } => {
                if let (Some(from), Some(to)) = (resolve(from), resolve(to)) {
                    self.rename(&from, &to);
                }
            }
        }
    }

    /// Whether a file can be opened for writing; it is made if it may be.
    fn open(&mut self, path: &str, may_create: bool, truncate: bool) -> bool {
        let is_file = match self.entries.get(path) {
            Some(entry) => entry.is_some(),
            None => may_create && self.create(path, Some(Vec::new())),
        };
        if is_file && truncate {
            self.file(path).clear();
        }
        is_file
    }

    fn file(&mut self, path: &str) -> &mut Vec<u8> {
        self.entries.get_mut(path).and_then(Option::as_mut).expect("the file was just opened")
    }

    fn create(&mut self, path: &str, content: Option<Vec<u8>>) -> bool {
        let has_room = self.entries.len() < RESULT.1 as usize && self.bytes() + BLOCK <= RESULT.0;
        let may = !path.is_empty() && self.is_directory(parent(path)) && !self.entries.contains_key(path);
        self.is_full |= may && !has_room;
        if may && has_room {
            self.entries.insert(path.to_owned(), content);
        }
        may && has_room
    }

    fn resize(&mut self, path: &str, size: usize) -> bool {
        let (old, new) = (cost(self.file(path).len()), cost(size));
        let fits = new <= old || self.bytes() - old + new <= RESULT.0;
        self.is_full |= !fits;
        if fits {
            self.file(path).resize(size, 0);
        }
        fits
    }

    fn rename(&mut self, from: &str, to: &str) {
        let below = |path: &str| path == from || path.starts_with(&format!("{from}/"));
        let Some(moved) = self.entries.get(from) else { return };
        if to.is_empty() || !self.is_directory(parent(to)) || below(parent(to)) || from == to {
            return;
        }
        match (moved, self.entries.get(to)) {
            (_, None) | (Some(_), Some(Some(_))) => {}
            (None, Some(None)) if !self.has_entries(to) => {}
            _ => return,
        }
        let names: Vec<String> = self.entries.keys().filter(|path| below(path)).cloned().collect();
        for name in names {
            let entry = self.entries.remove(&name).expect("the name was just found");
            self.entries.insert(format!("{to}{}", &name[from.len()..]), entry);
        }
    }

    fn is_directory(&self, path: &str) -> bool {
        path.is_empty() || self.entries.get(path) == Some(&None)
    }

    fn has_entries(&self, path: &str) -> bool {
        self.entries.keys().any(|other| other.starts_with(&format!("{path}/")))
    }

    fn bytes(&self) -> u64 {
        self.entries.values().map(|entry| cost(entry.as_ref().map_or(0, Vec::len))).sum()
    }
}

fn cost(size: usize) -> u64 {
    (size as u64).max(BLOCK)
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// The path without `.` and `..`; none for one that is empty or leads out.
fn resolve(places: [u8; 3]) -> Option<String> {
    let path = path(places);
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()?),
            name => names.push(name),
        }
    }
    (!path.is_empty()).then(|| names.join("/"))
}

/// What lies below a directory, as a [`Model`] has it.
fn walk(directory: &Path, above: &str) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).expect("a directory can be read") {
        let entry = entry.expect("a directory can be read");
        let name = format!("{above}{}", entry.file_name().to_str().expect("names are text"));
        if entry.path().is_dir() {
            found.append(&mut walk(&entry.path(), &format!("{name}/")));
            found.insert(name, None);
        } else {
            found.insert(name, Some(std::fs::read(entry.path()).expect("a file can be read")));
        }
    }
    found
}
