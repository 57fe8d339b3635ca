//! The modules that jobs name: rows of the queue's database, with copies by digest on this node's disk.

use crate::job::{Digest, Job, Verdict};
use crate::queue::{Modules, QueueError};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Finds modules.
#[derive(Clone)]
pub(super) struct Library {
    modules: Arc<dyn Modules>,
    cache: PathBuf,
}

impl Library {
    pub(super) fn new(modules: Arc<dyn Modules>, cache: PathBuf) -> Self {
        Self { modules, cache }
    }

    /// The module that a job runs: the one that it names, the one that it was pinned to at its submission, or else
    /// the one that its algorithm's name points at now.
    ///
    /// # Errors
    /// The job's verdict.
    pub(super) async fn digest(&self, job: &Job) -> Result<Digest, Verdict> {
        let algorithm = &job.document.algorithm;
        if let Some(digest) = algorithm.digest.or(job.module) {
            return Ok(digest);
        }
        let found = self.modules.algorithm(&algorithm.name).await.map_err(|error| unreachable_queue(&error))?;
        let name = &algorithm.name;
        found.map(|algorithm| algorithm.current.module).ok_or_else(|| Verdict::BadModule {
            message: format!(
                "no algorithm is registered as `{name}`; `longboat algorithm list` shows those that are, and \
                 `longboat algorithm add {name} FILE` registers one"
            ),
        })
    }

    /// The module's bytes, which are what their digest says.
    ///
    /// # Errors
    /// The job's verdict.
    pub(super) async fn load(&self, digest: Digest) -> Result<Vec<u8>, Verdict> {
        let path = self.cache.join(format!("{}.wasm", digest.hex()));
        match fs::read(&path) {
            Ok(bytes) if Digest::of(&bytes) == digest => return Ok(bytes),
            // A damaged copy is replaced. One that cannot be read may be in the database.
            _ => {}
        }
        let found = self.modules.module(digest).await.map_err(|error| unreachable_queue(&error))?;
        let Some(bytes) = found else {
            return Err(Verdict::BadModule { message: format!("no module with the digest {digest} is registered") });
        };
        let is = Digest::of(&bytes);
        if is != digest {
            let message = format!(
                "the module in the queue's database should have the digest {digest} and has {is}; register it again"
            );
            return Err(Verdict::HostError { message });
        }
        if let Err(error) = copy(&self.cache, &path, &bytes) {
            tracing::warn!(path = %path.display(), %error, "a module is not copied");
        }
        Ok(bytes)
    }
}

/// Puts a module's copy in its place in one step. It need not survive a loss of power: its digest is compared.
fn copy(cache: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(cache)?;
    let mut file = tempfile::NamedTempFile::new_in(cache)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

fn unreachable_queue(error: &QueueError) -> Verdict {
    Verdict::HostError { message: format!("asking the queue for the module failed: {error}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{AlgorithmName, Document, JobId, Shape};
    use crate::queue::{Algorithm, Version};
    use async_trait::async_trait;
    use jiff::Timestamp;
    use std::collections::HashMap;
    use std::sync::Mutex;

    /// Modules in memory, all registered as `noop`, the last one being the current one.
    #[derive(Default)]
    struct Shelf(Mutex<HashMap<Digest, Vec<u8>>>, Mutex<Option<Algorithm>>);

    #[async_trait]
    impl Modules for Shelf {
        async fn add(&self, name: &AlgorithmName, shape: Shape, bytes: Vec<u8>) -> Result<Algorithm, QueueError> {
            let (module, size) = (Digest::of(&bytes), bytes.len() as u64);
            self.0.lock().unwrap().insert(module, bytes);
            let current = Version { module, shape, size, added_at: Timestamp::UNIX_EPOCH };
            let algorithm = Algorithm { name: name.clone(), current, earlier: Vec::new() };
            Ok(self.1.lock().unwrap().insert(algorithm).clone())
        }
        async fn algorithms(&self) -> Result<Vec<Algorithm>, QueueError> {
            Ok(self.1.lock().unwrap().iter().cloned().collect())
        }
        async fn algorithm(&self, name: &AlgorithmName) -> Result<Option<Algorithm>, QueueError> {
            Ok(self.1.lock().unwrap().clone().filter(|algorithm| algorithm.name == *name))
        }
        async fn remove(&self, _: &AlgorithmName) -> Result<bool, QueueError> {
            Ok(self.1.lock().unwrap().take().is_some())
        }
        async fn module(&self, digest: Digest) -> Result<Option<Vec<u8>>, QueueError> {
            Ok(self.0.lock().unwrap().get(&digest).cloned())
        }
    }

    fn job(algorithm: &str, module: Option<Digest>) -> Job {
        let document = Document::new(algorithm.parse().unwrap());
        Job { id: JobId::from_bytes([0; 16]), submitted_at: Timestamp::UNIX_EPOCH, module, document }
    }

    fn add(shelf: &Shelf, bytes: &[u8]) -> Digest {
        let name = "noop".parse().unwrap();
        let added = shelf.add(&name, Shape::Command, bytes.to_vec());
        futures_util::FutureExt::now_or_never(added).unwrap().unwrap().current.module
    }

    #[tokio::test]
    async fn a_job_runs_what_it_names_then_its_pin_then_the_current_module() {
        let (shelf, directory) = (Arc::new(Shelf::default()), tempfile::tempdir().unwrap());
        let library = Library::new(Arc::clone(&shelf) as _, directory.path().to_owned());
        let told = library.digest(&job("noop", None)).await.unwrap_err().to_string();
        assert!(told.contains("longboat algorithm add noop FILE"), "{told}");
        let (old, new) = (add(&shelf, b"old"), add(&shelf, b"new"));
        assert_eq!(library.digest(&job("noop", None)).await, Ok(new));
        assert_eq!(library.digest(&job("noop", Some(old))).await, Ok(old));
        assert_eq!(library.digest(&job(&format!("noop@{old}"), Some(new))).await, Ok(old));
    }

    #[tokio::test]
    async fn a_damaged_copy_is_replaced_and_a_damaged_row_refused() {
        let (shelf, directory) = (Arc::new(Shelf::default()), tempfile::tempdir().unwrap());
        let library = Library::new(Arc::clone(&shelf) as _, directory.path().join("algorithms"));
        let digest = add(&shelf, b"good");
        let copy = directory.path().join(format!("algorithms/{}.wasm", digest.hex()));
        for _ in 0..2 {
            assert_eq!(library.load(digest).await, Ok(b"good".to_vec()));
            assert_eq!(fs::read(&copy).unwrap(), b"good");
            fs::write(&copy, "bad").unwrap();
        }
        shelf.0.lock().unwrap().insert(digest, b"bad".to_vec());
        let told = library.load(digest).await.unwrap_err();
        assert!(matches!(&told, Verdict::HostError { message } if message.contains("register it again")), "{told}");
        shelf.0.lock().unwrap().clear();
        let told = library.load(digest).await.unwrap_err();
        assert!(matches!(told, Verdict::BadModule { .. }), "{told}");
        fs::write(&copy, "good").unwrap();
        assert_eq!(library.load(digest).await, Ok(b"good".to_vec()), "the copy is enough");
    }
}
