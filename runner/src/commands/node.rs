//! The node that a command works on: its configuration, its directories and its queue.

use super::Usage;
use crate::cli::{Global, PublicArgs};
use crate::output;
use anyhow::Context;
use longboat::config::{Config, DataDir};
use longboat::execute::Executor;
use longboat::fetch::{Fetcher, Sender};
use longboat::intake::OldBuried;
use longboat::job::{AlgorithmName, Digest, JobId, Record, Shape};
use longboat::policy::{Purpose, UrlPolicy};
use longboat::queue::sqlite::{QueueFile, Sharing, SqliteQueue};
use longboat::queue::{Jobs, MAX_MODULE, Modules, Queue};
use longboat::results::{Reader, Results};
use longboat::sandbox::{Metering, Sandbox, SandboxConfig};
use rustix::fs::{FlockOperation, flock};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The largest entry of an old registry that is read.
const MAX_OLD_ENTRY: u64 = 1 << 20;
/// How many names and modules of an old registry are taken over.
const MAX_OLD_FILES: usize = 100_000;

/// At most this many buried jobs of an older version are deleted at servers by one worker.
const MOST_BURIED: usize = 10_000;

/// A node's configuration and directories; each part is opened by the commands that need it.
pub struct Node {
    pub config: Config,
    /// The file that `config` was read from.
    pub config_file: Option<PathBuf>,
    pub data: DataDir,
    /// The queue's file.
    pub queue_path: PathBuf,
    /// Whether several machines use the queue's file.
    sharing: Sharing,
}

impl Node {
    /// Reads the configuration. Nothing is created.
    pub fn open(global: &Global) -> anyhow::Result<Self> {
        let data = DataDir::new(match &global.data_dir {
            Some(path) => path.clone(),
            None => default_data_dir()?,
        });
        let queue_path = match &global.queue {
            None => data.queue(),
            Some(url) => queue_path(url)?,
        };
        let file = global.config.clone().or_else(|| Some(data.config()).filter(|file| file.exists()));
        let config = Config::load(file.as_deref()).context("failed to read the configuration")?;
        let sharing = if global.shared { Sharing::ManyMachines } else { Sharing::OneMachine };
        Ok(Self { config, config_file: file, data, queue_path, sharing })
    }

    /// The node with the public URL of the command line, if there is one.
    pub fn at(mut self, public: PublicArgs) -> Self {
        self.config.http.public_url = public.public_url.or(self.config.http.public_url);
        self
    }

    /// Creates a directory of the node.
    pub fn create(&self, path: PathBuf) -> anyhow::Result<PathBuf> {
        fs::create_dir_all(&path)
            .with_context(|| format!("creating {} failed; name another place with --data-dir", path.display()))?;
        Ok(path)
    }

    /// Opens the queue, and creates it if need be. The registry of an older version is copied into it.
    pub async fn queue(&self) -> anyhow::Result<Arc<dyn Queue>> {
        self.create_queue_directory()?;
        let queue = SqliteQueue::open_as(&self.queue_path, self.sharing)
            .with_context(|| format!("opening the queue {} failed", self.queue_path.display()))?;
        let old = OldRegistry::new(&self.data.algorithms(), &self.queue_path);
        old.copy_into(&queue)
            .await
            .with_context(|| format!("copying the algorithms in {} into the queue failed", old.root.display()))?;
        Ok(Arc::new(queue))
    }

    /// Jobs that are done, but that an older version has buried at their beanstalkd servers.
    pub async fn old_buried(&self) -> anyhow::Result<Vec<OldBuried>> {
        let queue = SqliteQueue::open_as(&self.queue_path, self.sharing)?;
        let buried = queue.old_buried(MOST_BURIED).await?;
        Ok(buried.into_iter().map(|old| OldBuried { server: old.server, number: old.number, id: old.id }).collect())
    }

    /// The queue's file, for `longboat queue`.
    pub fn queue_file(&self) -> QueueFile {
        QueueFile::new(&self.queue_path, self.sharing)
    }

    pub fn create_queue_directory(&self) -> anyhow::Result<()> {
        match self.queue_path.parent() {
            Some(parent) => self.create(parent.to_owned()).map(drop),
            None => Ok(()),
        }
    }

    pub fn results(&self) -> anyhow::Result<Arc<Results>> {
        let root = self.create(self.data.results())?;
        let results = Results::open(&root).with_context(|| format!("opening the results {} failed", root.display()))?;
        Ok(Arc::new(results))
    }

    pub fn reader(&self) -> Reader {
        Reader::new(&self.data.results())
    }

    pub fn sandbox(&self, slots: u32) -> anyhow::Result<Sandbox> {
        let cache = self.create(self.data.cache())?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let config = SandboxConfig {
            slots,
            threads: self.config.worker.threads.map_or(cores, |threads| threads as usize),
            max_memory: self.config.limits.ceiling.memory,
            cache: Some(cache.canonicalize()?),
            metering: Metering::from(self.config.worker.epoch_checks),
            nan_bits: self.config.worker.nan_bits,
        };
        Sandbox::new(&config).context("setting up the sandbox failed")
    }

    /// Makes attempts with these modules.
    pub fn executor(&self, sandbox: Arc<Sandbox>, modules: Arc<dyn Modules>) -> anyhow::Result<Executor> {
        let spool = self.create(self.data.spool())?;
        let policy = UrlPolicy::new(Purpose::Input, self.config.input.clone());
        let fetcher = Fetcher::new(policy, spool).context("setting up the HTTP client failed")?;
        Ok(Executor::new(sandbox, modules, self.data.algorithms(), fetcher, self.config.limits.clone()))
    }

    pub fn result_policy(&self) -> UrlPolicy {
        UrlPolicy::new(Purpose::Result, self.config.result_url.clone())
    }

    pub fn sender(&self) -> anyhow::Result<Sender> {
        Sender::new(self.result_policy()).context("setting up the HTTP client for results failed")
    }

    pub fn slots(&self, asked: Option<u32>) -> u32 {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let twice = u32::try_from(2 * cores).unwrap_or(u32::MAX);
        asked.or(self.config.worker.slots).unwrap_or(twice)
    }
}

fn default_data_dir() -> anyhow::Result<PathBuf> {
    use etcetera::BaseStrategy;
    let base = etcetera::choose_base_strategy().context("finding your home directory failed; give --data-dir")?;
    Ok(base.data_dir().join("longboat"))
}

/// The file that `--queue` names.
fn queue_path(url: &str) -> Result<PathBuf, Usage> {
    match url.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() => Ok(PathBuf::from(path)),
        Some(("beanstalkd", _)) => Err(Usage(
            "--queue: a beanstalkd server does not keep the queue any more; `longboat worker --intake \
             beanstalkd://HOST:PORT` takes the server's jobs into this node's queue"
                .to_owned(),
        )),
        _ => Err(Usage(format!("--queue: sqlite:PATH is needed, not {url:?}"))),
    }
}

/// One job with its history.
pub async fn find(queue: &(impl Jobs + ?Sized), id: JobId) -> anyhow::Result<Record> {
    queue.find(id).await?.with_context(|| unknown_job(id))
}

/// The message for an id that no job has.
pub fn unknown_job(id: JobId) -> String {
    format!("no job has the id {id}; `longboat list` shows all jobs")
}

/// The registry of versions before 0.2, which kept names and modules in files of the data directory.
struct OldRegistry {
    root: PathBuf,
    /// Exists once the registry has been copied into the queue: a data directory may be used with several
    /// queues.
    mark: PathBuf,
}

#[derive(Deserialize)]
struct OldEntry {
    name: AlgorithmName,
    module: Digest,
    shape: Shape,
    /// Latest first.
    #[serde(default)]
    earlier: Vec<OldModule>,
}

#[derive(Deserialize)]
struct OldModule {
    module: Digest,
}

impl OldRegistry {
    fn new(root: &Path, queue: &Path) -> Self {
        let queue = queue.canonicalize().unwrap_or_else(|_| queue.to_owned());
        let mark = format!("{}.copied", &Digest::of(queue.as_os_str().as_encoded_bytes()).hex()[..16]);
        Self { root: root.to_owned(), mark: root.join("names").join(mark) }
    }

    /// Copies the registry into the queue's rows, once. Interrupted, it starts again with the next command.
    async fn copy_into(&self, queue: &impl Modules) -> anyhow::Result<()> {
        let names = self.root.join("names");
        if !names.exists() || self.mark.exists() {
            return Ok(());
        }
        // Another process may do the same at this moment.
        let lock = File::open(&names)?;
        flock(&lock, FlockOperation::LockExclusive)?;
        if self.mark.exists() {
            return Ok(());
        }
        let mut copied = BTreeSet::new();
        for file in files(&names, "json")? {
            match old_entry(&file) {
                Ok(entry) => self.copy_name(queue, &entry, &mut copied).await?,
                Err(error) => {
                    output::tell(format_args!("warning: {} is no registered algorithm: {error:#}", file.display()));
                }
            }
        }
        self.copy_unnamed(queue, &copied).await?;
        File::create(&self.mark)?.sync_all()?;
        Ok(lock.sync_all()?)
    }

    async fn copy_name(
        &self,
        queue: &impl Modules,
        entry: &OldEntry,
        copied: &mut BTreeSet<Digest>,
    ) -> anyhow::Result<()> {
        // A name that the queue knows stays as it is, unless an interrupted copy left it at an earlier
        // module.
        let is_earlier = |module| entry.earlier.iter().any(|earlier| earlier.module == module);
        if queue.algorithm(&entry.name).await?.is_some_and(|known| !is_earlier(known.current.module)) {
            return Ok(());
        }
        // The old entry does not say which shape an earlier module has; a run finds that out.
        for digest in entry.earlier.iter().rev().map(|earlier| earlier.module).chain([entry.module]) {
            if let Some(bytes) = self.module(digest) {
                queue.add(&entry.name, entry.shape, bytes).await?;
                copied.insert(digest);
            }
        }
        Ok(())
    }

    /// Copies modules that no name points at any more, because jobs may name them by digest. Each gets a
    /// name for a moment, because the queue takes no module without one.
    async fn copy_unnamed(&self, queue: &impl Modules, copied: &BTreeSet<Digest>) -> anyhow::Result<()> {
        let name: AlgorithmName = "unnamed-module".parse()?;
        for file in files(&self.root.join("modules"), "wasm")? {
            let digest = file.file_stem().and_then(|stem| format!("sha256:{}", stem.to_string_lossy()).parse().ok());
            let digest = digest.filter(|digest| !copied.contains(digest));
            if let Some(bytes) = digest.and_then(|digest| self.module(digest)) {
                queue.add(&name, Shape::Command, bytes).await?;
                queue.remove(&name).await?;
            }
        }
        Ok(())
    }

    /// The module with this digest. A missing or damaged module is left out with a warning.
    fn module(&self, digest: Digest) -> Option<Vec<u8>> {
        let path = self.root.join("modules").join(format!("{}.wasm", digest.hex()));
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(MAX_MODULE + 1).read_to_end(&mut bytes));
        let read = read.and_then(|_| match Digest::of(&bytes) == digest {
            true => Ok(()),
            false => Err(io::Error::other("its bytes do not have the digest that is its name")),
        });
        if let Err(error) = read {
            output::tell(format_args!("warning: the module {} is left out: {error}", path.display()));
            return None;
        }
        Some(bytes)
    }
}

/// The files of a directory whose names end like this; none if there is no directory.
fn files(directory: &Path, extension: &str) -> anyhow::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
            anyhow::ensure!(files.len() <= MAX_OLD_FILES, "more than {MAX_OLD_FILES} files in {}", directory.display());
        }
    }
    files.sort();
    Ok(files)
}

fn old_entry(file: &Path) -> anyhow::Result<OldEntry> {
    let mut json = Vec::new();
    File::open(file)?.take(MAX_OLD_ENTRY).read_to_end(&mut json)?;
    Ok(serde_json::from_slice(&json)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn old_registry(root: &Path, entries: &[(&str, &[&str])]) {
        fs::create_dir_all(root.join("names")).unwrap();
        fs::create_dir_all(root.join("modules")).unwrap();
        for (name, modules) in entries {
            let digests: Vec<_> = modules.iter().map(Digest::of).collect();
            for (digest, bytes) in digests.iter().zip(*modules) {
                fs::write(root.join("modules").join(format!("{}.wasm", digest.hex())), bytes).unwrap();
            }
            let at = "2026-11-21T18:00:00Z";
            let earlier: Vec<_> = digests[1..].iter().map(|module| json!({"module": module, "added_at": at})).collect();
            let entry = json!({
                "name": name, "module": digests[0], "shape": "algorithm", "size": 1, "added_at": at, "earlier": earlier
            });
            fs::write(root.join("names").join(format!("{name}.json")), entry.to_string()).unwrap();
        }
    }

    fn queue(directory: &Path) -> SqliteQueue {
        SqliteQueue::open_as(&directory.join("queue.db"), Sharing::OneMachine).unwrap()
    }

    async fn versions(queue: &SqliteQueue, name: &str) -> Vec<Digest> {
        let algorithm = queue.algorithm(&name.parse().unwrap()).await.unwrap().unwrap();
        let earlier = algorithm.earlier.into_iter().map(|version| version.module);
        std::iter::once(algorithm.current.module).chain(earlier).collect()
    }

    #[tokio::test]
    async fn old_registry_is_copied_into_each_queue_once() {
        let directory = tempfile::tempdir().unwrap();
        let (queue, root) = (queue(directory.path()), directory.path().join("algorithms"));
        old_registry(&root, &[("x", &["new", "old", "oldest"]), ("y", &["other"])]);
        fs::write(root.join("modules").join(format!("{}.wasm", Digest::of("alone").hex())), "alone").unwrap();
        fs::write(root.join("names").join("broken.json"), "{").unwrap();
        queue.add(&"y".parse().unwrap(), Shape::Command, b"registered".to_vec()).await.unwrap();
        let old = OldRegistry::new(&root, &directory.path().join("queue.db"));
        old.copy_into(&queue).await.unwrap();
        assert_eq!(versions(&queue, "x").await, ["new", "old", "oldest"].map(Digest::of));
        assert_eq!(versions(&queue, "y").await, [Digest::of("registered")], "a known name stays");
        assert_eq!(queue.module(Digest::of("alone")).await.unwrap().as_deref(), Some(&b"alone"[..]));
        assert_eq!(queue.algorithms().await.unwrap().len(), 2);
        queue.remove(&"x".parse().unwrap()).await.unwrap();
        old.copy_into(&queue).await.unwrap();
        assert_eq!(queue.algorithms().await.unwrap().len(), 1, "a removed name does not come back");
        assert_ne!(OldRegistry::new(&root, &directory.path().join("other.db")).mark, old.mark);
    }

    #[tokio::test]
    async fn interrupted_copy_of_a_registry_is_finished() {
        let directory = tempfile::tempdir().unwrap();
        let (queue, root) = (queue(directory.path()), directory.path().join("algorithms"));
        old_registry(&root, &[("x", &["new", "old"])]);
        queue.add(&"x".parse().unwrap(), Shape::Algorithm, b"old".to_vec()).await.unwrap();
        OldRegistry::new(&root, &directory.path().join("queue.db")).copy_into(&queue).await.unwrap();
        assert_eq!(versions(&queue, "x").await, ["new", "old"].map(Digest::of));
    }
}
