//! The registered algorithms: modules by digest, and names that point at them.
//!
//! A module stays when its name moves on to another one, so that jobs that are pinned to its digest, and old
//! results, can be run again.

use crate::job::{AlgorithmName, AlgorithmRef, Digest, Shape};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// The largest module that is read, in bytes.
pub const MAX_MODULE: u64 = 64 << 20;
/// How many earlier modules a name remembers.
const MAX_EARLIER: usize = 100;

/// Why the registry has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No algorithm has that name.
    #[error(
        "no algorithm is registered as `{0}`; `longboat algorithm list` shows those that are, and \
             `longboat algorithm add {0} FILE` registers one"
    )]
    UnknownName(AlgorithmName),
    /// No module has that digest.
    #[error("no module with the digest {0} is registered")]
    UnknownModule(Digest),
    /// The bytes of a module have changed on disk.
    #[error("the module {path} should have the digest {expected} and has {found}; register it again")]
    Altered {
        /// Where it is.
        path: PathBuf,
        /// What its name says.
        expected: Digest,
        /// What its bytes say.
        found: Digest,
    },
    /// A file of the registry cannot be read as what it should be.
    #[error("{path} is damaged: {reason}; remove it and register the algorithm again")]
    Damaged {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The disk's.
    #[error("{path}: {source}")]
    Disk {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A registered algorithm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The name.
    pub name: AlgorithmName,
    /// The module that jobs run which name no other.
    pub module: Digest,
    /// Its shape.
    pub shape: Shape,
    /// Its size in bytes.
    pub size: u64,
    /// When it was registered.
    pub added_at: Timestamp,
    /// What the name pointed at before, latest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Earlier>,
}

/// What a name pointed at before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earlier {
    /// The module.
    pub module: Digest,
    /// When it was registered.
    pub added_at: Timestamp,
}

/// The registry in a directory.
#[derive(Debug, Clone)]
pub struct Registry {
    modules: PathBuf,
    names: PathBuf,
}

impl Registry {
    /// Opens, or creates, the registry in `root`.
    ///
    /// # Errors
    /// The disk's.
    pub fn open(root: &Path) -> Result<Self, RegistryError> {
        let registry = Self { modules: root.join("modules"), names: root.join("names") };
        for directory in [&registry.modules, &registry.names] {
            fs::create_dir_all(directory).map_err(|source| RegistryError::Disk { path: directory.clone(), source })?;
        }
        Ok(registry)
    }

    /// Keeps a module, which has been found fit to run, and points `name` at it.
    ///
    /// # Errors
    /// The disk's, or a damaged entry of that name.
    pub fn add(&self, name: AlgorithmName, bytes: &[u8], shape: Shape) -> Result<Entry, RegistryError> {
        let module = Digest::of(bytes);
        // A module that was altered on disk is mended by registering it again.
        if self.load(module).is_err() {
            replace(&self.module_path(module), bytes)?;
        }
        let mut earlier = Vec::new();
        match self.find(&name) {
            Ok(entry) if entry.module == module => return Ok(entry),
            Ok(entry) => {
                earlier.push(Earlier { module: entry.module, added_at: entry.added_at });
                earlier.extend(entry.earlier.into_iter().filter(|earlier| earlier.module != module));
                earlier.truncate(MAX_EARLIER);
            }
            Err(RegistryError::UnknownName(_)) => {}
            Err(error) => return Err(error),
        }
        let entry = Entry { name, module, shape, size: bytes.len() as u64, added_at: Timestamp::now(), earlier };
        let path = self.name_path(&entry.name);
        let json = serde_json::to_vec_pretty(&entry).map_err(|error| damaged(&path, &error))?;
        replace(&path, &json)?;
        Ok(entry)
    }

    /// The algorithm of that name.
    ///
    /// # Errors
    /// [`RegistryError::UnknownName`], or the disk's.
    pub fn find(&self, name: &AlgorithmName) -> Result<Entry, RegistryError> {
        let path = self.name_path(name);
        match fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json).map_err(|error| damaged(&path, &error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(RegistryError::UnknownName(name.clone())),
            Err(source) => Err(RegistryError::Disk { path, source }),
        }
    }

    /// All algorithms, by name.
    ///
    /// # Errors
    /// The disk's, or a damaged entry.
    pub fn list(&self) -> Result<Vec<Entry>, RegistryError> {
        let disk = |source| RegistryError::Disk { path: self.names.clone(), source };
        let mut entries = Vec::new();
        for file in fs::read_dir(&self.names).map_err(disk)? {
            let file = file.map_err(disk)?.file_name();
            let name = file.to_str().and_then(|file| file.strip_suffix(".json")).and_then(|name| name.parse().ok());
            if let Some(name) = name {
                entries.push(self.find(&name)?);
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Forgets a name; its modules stay reachable by digest.
    ///
    /// # Errors
    /// [`RegistryError::UnknownName`], or the disk's.
    pub fn remove(&self, name: &AlgorithmName) -> Result<(), RegistryError> {
        let path = self.name_path(name);
        match fs::remove_file(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(RegistryError::UnknownName(name.clone())),
            Err(source) => Err(RegistryError::Disk { path, source }),
        }
    }

    /// The module that a job means.
    ///
    /// # Errors
    /// [`RegistryError::UnknownName`] or [`RegistryError::UnknownModule`].
    pub fn resolve(&self, algorithm: &AlgorithmRef) -> Result<Digest, RegistryError> {
        match algorithm.digest {
            Some(digest) => {
                let path = self.module_path(digest);
                match path.try_exists() {
                    Ok(true) => Ok(digest),
                    Ok(false) => Err(RegistryError::UnknownModule(digest)),
                    Err(source) => Err(RegistryError::Disk { path, source }),
                }
            }
            None => Ok(self.find(&algorithm.name)?.module),
        }
    }

    /// A module's bytes, which are what their digest says.
    ///
    /// # Errors
    /// [`RegistryError::UnknownModule`], [`RegistryError::Altered`], or the disk's.
    pub fn load(&self, digest: Digest) -> Result<Vec<u8>, RegistryError> {
        let path = self.module_path(digest);
        let mut bytes = Vec::new();
        let read = fs::File::open(&path).and_then(|file| file.take(MAX_MODULE).read_to_end(&mut bytes));
        read.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => RegistryError::UnknownModule(digest),
            _ => RegistryError::Disk { path: path.clone(), source },
        })?;
        let found = Digest::of(&bytes);
        if found == digest { Ok(bytes) } else { Err(RegistryError::Altered { path, expected: digest, found }) }
    }

    fn module_path(&self, digest: Digest) -> PathBuf {
        self.modules.join(format!("{}.wasm", digest.hex()))
    }

    fn name_path(&self, name: &AlgorithmName) -> PathBuf {
        self.names.join(format!("{name}.json"))
    }
}

fn damaged(path: &Path, error: &serde_json::Error) -> RegistryError {
    RegistryError::Damaged { path: path.to_owned(), reason: error.to_string() }
}

/// Writes a file whole or not at all, so that another process never reads half of it.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), RegistryError> {
    let write = || {
        let directory = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        fs::File::open(directory)?.sync_all()
    };
    write().map_err(|source| RegistryError::Disk { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> (tempfile::TempDir, Registry) {
        let root = tempfile::tempdir().unwrap();
        let registry = Registry::open(root.path()).unwrap();
        (root, registry)
    }

    #[test]
    fn a_name_points_at_its_latest_module_and_earlier_ones_stay_reachable() {
        let (_root, registry) = registry();
        let name: AlgorithmName = "forecast".parse().unwrap();
        registry.add(name.clone(), b"one", Shape::Algorithm).unwrap();
        let entry = registry.add(name.clone(), b"two", Shape::Command).unwrap();
        assert_eq!(entry.earlier.iter().map(|earlier| earlier.module).collect::<Vec<_>>(), [Digest::of("one")]);
        assert_eq!(registry.resolve(&"forecast".parse().unwrap()).unwrap(), Digest::of("two"));
        let pinned = format!("forecast@{}", Digest::of("one")).parse().unwrap();
        assert_eq!(registry.load(registry.resolve(&pinned).unwrap()).unwrap(), b"one");
        registry.remove(&name).unwrap();
        assert!(matches!(registry.find(&name), Err(RegistryError::UnknownName(_))));
        assert!(registry.resolve(&pinned).is_ok());
    }

    #[test]
    fn a_module_that_was_altered_on_disk_is_not_run() {
        let (root, registry) = registry();
        registry.add("x".parse().unwrap(), b"good", Shape::Command).unwrap();
        let path = root.path().join("modules").join(format!("{}.wasm", Digest::of("good").hex()));
        fs::write(path, b"evil").unwrap();
        assert!(matches!(registry.load(Digest::of("good")), Err(RegistryError::Altered { .. })));
        registry.add("x".parse().unwrap(), b"good", Shape::Command).unwrap();
        assert_eq!(registry.load(Digest::of("good")).unwrap(), b"good");
    }

    #[test]
    fn a_damaged_entry_is_named() {
        let (root, registry) = registry();
        fs::write(root.path().join("names/x.json"), b"{").unwrap();
        let error = registry.list().unwrap_err().to_string();
        assert!(error.contains("x.json") && error.contains("damaged"), "{error}");
    }
}
