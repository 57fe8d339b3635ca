//! What each command does.

mod act;
mod algorithm;
mod chosen;
mod columns;
mod confine;
mod list;
mod logs;
mod node;
mod outbox;
mod pages;
mod pause;
mod queue;
mod result;
mod run;
mod show;
mod source;
mod status;
mod submit;
mod unreadable;
mod wait;
mod worker;

use crate::cli::{Cli, Command, Global, PublicArgs};
use anyhow::Context;
use longboat::config::{Config, DataDir};
use longboat::execute::Executor;
use longboat::fetch::{Fetcher, Sender};
use longboat::job::{JobId, Record};
use longboat::policy::{Purpose, UrlPolicy};
use longboat::queue::Queue;
use longboat::queue::beanstalkd::{Address, BeanstalkdQueue};
use longboat::queue::sqlite::{QueueFile, Sharing, SqliteQueue};
use longboat::registry::Registry;
use longboat::results::{Reader, Results};
use longboat::sandbox::{Metering, Sandbox, SandboxConfig};
use std::path::PathBuf;
use std::sync::Arc;

/// A mistake in the use of a command.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Does what the command line says; returns whether that went well.
///
/// # Errors
/// What failed, where, why, and what to do about it; [`Usage`] if the command line makes no sense.
pub fn run(cli: Cli) -> anyhow::Result<bool> {
    let node = Node::open(&cli.global)?;
    let format = cli.global.output;
    match cli.command {
        Command::Run(args) => block_on(run::run(&node, *args, format)),
        Command::Algorithm(command) => algorithm::run(&node, command, format),
        Command::Submit(args) => block_on(submit::submit(&node, *args, format)),
        Command::Worker { worker, public, walls } => node::work(&node.at(public), worker, &walls),
        Command::Serve { serve, public, walls } => node::serve(&node.at(public), &serve, &walls),
        Command::Up { worker, serve, public, walls } => node::up(&node.at(public), worker, &serve, &walls),
        Command::List(args) => block_on(list::list(&node, *args, format)),
        Command::Show { job } => block_on(show::show(&node, job, format)),
        Command::Status => block_on(status::status(&node, format)),
        Command::Wait(args) => block_on(wait::wait(&node, *args, format)),
        Command::Logs(args) => block_on(logs::logs(&node, args, format)),
        Command::Result(args) => block_on(result::result(&node, args, format)),
        Command::Cancel(args) => block_on(act::act(&node, args.act, act::cancel(args.reason), format)),
        Command::Hold(args) => block_on(act::act(&node, *args, act::HOLD, format)),
        Command::Release(args) => block_on(act::act(&node, *args, act::RELEASE, format)),
        Command::Kick(args) => block_on(act::act(&node, *args, act::KICK, format)),
        Command::Update(args) => block_on(act::update(&node, *args, format)),
        Command::Delete(args) => block_on(act::delete(&node, *args, format)),
        Command::Pause(args) => block_on(pause::pause(&node, args, format)),
        Command::Resume { tube } => block_on(pause::resume(&node, tube, format)),
        Command::Queue(command) => queue::run(&node, command, format),
    }
}

/// One job with its history.
async fn find(queue: &dyn Queue, id: JobId) -> anyhow::Result<Record> {
    queue.find(id).await?.with_context(|| format!("no job has the id {id}; `longboat list` shows those that are known"))
}

/// Runs a command on a runtime, and so on threads, that did not exist before.
fn block_on(command: impl Future<Output = anyhow::Result<bool>>) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime failed")?;
    let done = runtime.block_on(command);
    // Whatever still waits for a disk or a peer must not keep a finished program from ending.
    runtime.shutdown_background();
    done
}

/// A node's configuration and directories; each part is opened by the commands that need it.
pub struct Node {
    config: Config,
    /// The file that `config` was read from.
    config_file: Option<PathBuf>,
    data: DataDir,
    /// The queue's file; of a server's queue, what this node knows of its jobs.
    queue: PathBuf,
    server: Option<Address>,
    /// Who uses the queue's file.
    sharing: Sharing,
}

impl Node {
    fn open(global: &Global) -> anyhow::Result<Self> {
        let data = DataDir::new(match &global.data_dir {
            Some(path) => path.clone(),
            None => default_data_dir()?,
        });
        let (queue, server) = match &global.queue {
            None => (data.queue(), None),
            Some(url) => place(url, &data)?,
        };
        let file = global.config.clone().or_else(|| Some(data.config()).filter(|file| file.exists()));
        let config = Config::load(file.as_deref()).with_context(|| match &file {
            Some(file) => {
                format!("reading the configuration from {} and the environment (LONGBOAT__…) failed", file.display())
            }
            None => "reading the configuration from the environment (LONGBOAT__…) failed".to_owned(),
        })?;
        let sharing = if global.shared { Sharing::ManyMachines } else { Sharing::OneMachine };
        Ok(Self { config, config_file: file, data, queue, server, sharing })
    }

    /// The node under the public URL that the command line gives it, if it gives one.
    fn at(mut self, public: PublicArgs) -> Self {
        self.config.http.public_url = public.public_url.or(self.config.http.public_url);
        self
    }

    fn create(&self, path: PathBuf) -> anyhow::Result<PathBuf> {
        std::fs::create_dir_all(&path)
            .with_context(|| format!("creating {} failed; name another place with --data-dir", path.display()))?;
        Ok(path)
    }

    fn queue(&self) -> anyhow::Result<Arc<dyn Queue>> {
        self.create_queue_directory()?;
        let queue = SqliteQueue::open_as(&self.queue, self.sharing)
            .with_context(|| format!("opening the queue {} failed", self.queue.display()))?;
        Ok(match &self.server {
            None => Arc::new(queue),
            Some(address) => Arc::new(BeanstalkdQueue::new(address.clone(), queue, self.config.worker.lease.0)?),
        })
    }

    /// The queue's file, to look after.
    fn queue_file(&self) -> QueueFile {
        QueueFile::new(&self.queue, self.sharing)
    }

    fn create_queue_directory(&self) -> anyhow::Result<()> {
        match self.queue.parent() {
            Some(parent) => self.create(parent.to_owned()).map(drop),
            None => Ok(()),
        }
    }

    fn registry(&self) -> anyhow::Result<Registry> {
        Ok(Registry::open(&self.data.algorithms())?)
    }

    fn results(&self) -> anyhow::Result<Arc<Results>> {
        let root = self.create(self.data.results())?;
        let results = Results::open(&root).with_context(|| format!("opening the results {} failed", root.display()))?;
        Ok(Arc::new(results))
    }

    fn reader(&self) -> Reader {
        Reader::new(&self.data.results())
    }

    fn sandbox(&self, slots: u32) -> anyhow::Result<Sandbox> {
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

    fn executor(&self, sandbox: Arc<Sandbox>) -> anyhow::Result<Executor> {
        let spool = self.create(self.data.spool())?;
        let policy = UrlPolicy::new(Purpose::Input, self.config.input.clone());
        let fetcher = Fetcher::new(policy, spool).context("setting up the HTTP client failed")?;
        Ok(Executor::new(sandbox, self.registry()?, fetcher, self.config.limits.clone()))
    }

    fn result_policy(&self) -> UrlPolicy {
        UrlPolicy::new(Purpose::Result, self.config.result_url.clone())
    }

    fn sender(&self) -> anyhow::Result<Sender> {
        Sender::new(self.result_policy()).context("setting up the HTTP client for results failed")
    }

    fn slots(&self, asked: Option<u32>) -> u32 {
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

/// Which file has the queue, or what is known of the jobs of which server.
fn place(url: &str, data: &DataDir) -> anyhow::Result<(PathBuf, Option<Address>)> {
    match url.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() => Ok((PathBuf::from(path), None)),
        Some(("beanstalkd", _)) => {
            let address = url.parse().map_err(|error| Usage(format!("--queue {url}: {error}")))?;
            Ok((data.queue(), Some(address)))
        }
        _ => Err(Usage(format!(
            "--queue: this version serves sqlite:PATH and beanstalkd://HOST:PORT, and {url:?} is neither"
        ))
        .into()),
    }
}
