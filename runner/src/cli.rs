//! The command line: arguments only.

mod act;
mod filter;
mod job;
mod look;
mod queue;
mod reference;
mod run;

pub use act::{ActArgs, CancelArgs, ChangeArgs, PauseArgs, Unset, UpdateArgs};
pub use filter::{ChosenArgs, FilterArgs};
pub use job::{JobArgs, SubmitArgs};
pub use look::{Column, ListArgs, LogsArgs, ResultArgs, WaitArgs};
pub use queue::QueueCommand;
pub use reference::Reference;
pub use run::RunArgs;

use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use longboat::config::parse_public_url;
use longboat::job::{AlgorithmName, Tube};
use std::net::SocketAddr;
use std::path::PathBuf;
use url::Url;

/// Runs algorithms that nobody has to trust.
#[derive(Debug, Parser)]
#[command(name = "longboat", version, about, long_about = None, max_term_width = 110)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub struct Global {
    /// Where everything is kept [default: the platform's data directory]
    #[arg(long, value_name = "DIR", env = "LONGBOAT_DATA_DIR", global = true)]
    pub data_dir: Option<PathBuf>,
    /// The queue, as sqlite:PATH or beanstalkd://HOST:PORT [default: queue.db in the data directory]
    #[arg(long, value_name = "URL", env = "LONGBOAT_QUEUE", global = true)]
    pub queue: Option<String>,
    /// The queue's file is used by several machines, or lies where they could; all who use it must say so
    #[arg(long, env = "LONGBOAT_SHARED", global = true, value_parser = BoolishValueParser::new())]
    pub shared: bool,
    /// The configuration [default: config.toml in the data directory, if it is there]
    #[arg(long, value_name = "FILE", env = "LONGBOAT_CONFIG", global = true)]
    pub config: Option<PathBuf>,
    /// How to print what was asked for
    #[arg(short, long, value_enum, default_value_t, global = true)]
    pub output: Format,
    /// Print more about what is going on; twice for even more
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
}

/// How to print.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Human,
    /// For programs.
    Json,
    /// For both.
    Yaml,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run an algorithm once, here and now, under the limits of production
    Run(Box<RunArgs>),
    /// Register algorithms, and look at those that are
    #[command(subcommand)]
    Algorithm(AlgorithmCommand),
    /// Put jobs into the queue, and print their ids
    Submit(Box<SubmitArgs>),
    /// Run jobs from the queue
    Worker {
        /// How to work.
        #[command(flatten)]
        worker: WorkerArgs,
        /// Where the results are for others.
        #[command(flatten)]
        public: PublicArgs,
        /// Behind which walls.
        #[command(flatten)]
        walls: WallArgs,
    },
    /// Serve results over HTTP
    Serve {
        /// How to serve.
        #[command(flatten)]
        serve: ServeArgs,
        /// Where the results are for others.
        #[command(flatten)]
        public: PublicArgs,
        /// Behind which walls.
        #[command(flatten)]
        walls: WallArgs,
    },
    /// Run jobs and serve results, in one process
    Up {
        /// How to work.
        #[command(flatten)]
        worker: WorkerArgs,
        /// How to serve.
        #[command(flatten)]
        serve: ServeArgs,
        /// Where the results are for others.
        #[command(flatten)]
        public: PublicArgs,
        /// Behind which walls.
        #[command(flatten)]
        walls: WallArgs,
    },
    /// List jobs, oldest first
    List(Box<ListArgs>),
    /// Show all that is known of a job
    Show {
        /// The job's id, or the number that a beanstalkd server has given to it
        #[arg(value_name = "ID")]
        job: Reference,
    },
    /// Show how the queue stands
    Status,
    /// Wait until jobs have ended; exit with 1 if any is not done
    Wait(Box<WaitArgs>),
    /// Print the log of a job's last attempt
    Logs(LogsArgs),
    /// Print a job's result
    Result(ResultArgs),
    /// End jobs that have not ended; a running one is stopped at once
    ///
    /// By a filter without --state: those that are held, delayed, ready or running.
    Cancel(Box<CancelArgs>),
    /// Keep waiting jobs from being started
    ///
    /// By a filter without --state: those that are delayed or ready.
    Hold(Box<ActArgs>),
    /// End the hold on jobs
    ///
    /// By a filter without --state: those that are held.
    Release(Box<ActArgs>),
    /// Have dead jobs tried again, as often as they were at first, and delayed ones at once
    ///
    /// By a filter without --state: those that are dead.
    Kick(Box<ActArgs>),
    /// Change jobs that wait or are dead
    ///
    /// By a filter without --state: those that are held, delayed, ready or dead. The options that choose jobs have the
    /// names that they have with the other commands, so --set-tube, --set-tag, --set-host and --set-algorithm change
    /// what --tube, --tag, --host and --algorithm look for.
    Update(Box<UpdateArgs>),
    /// Remove jobs that do not run, with their results; their ids stay known
    ///
    /// By a filter without --state: all but those that are running.
    Delete(Box<ActArgs>),
    /// Have no job of a tube started; those that run go on
    Pause(PauseArgs),
    /// End the pause of a tube
    Resume {
        /// The tube
        tube: Tube,
    },
    /// Look after the queue's SQLite file; where a server keeps the queue, after what this node remembers of it
    #[command(subcommand)]
    Queue(QueueCommand),
}

/// What to do with algorithms.
#[derive(Debug, Subcommand)]
pub enum AlgorithmCommand {
    /// Register a module under a name; earlier modules stay reachable by digest
    Add {
        /// The name: a-z, 0-9, _ and -
        name: AlgorithmName,
        /// A WebAssembly module or component
        file: PathBuf,
    },
    /// List all algorithms
    List,
    /// Show one algorithm and its earlier modules
    Show {
        /// The name
        name: AlgorithmName,
    },
    /// Forget a name; its modules stay reachable by digest
    Remove {
        /// The name
        name: AlgorithmName,
    },
}

/// How to work.
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// Jobs that run at once [default: twice the cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub slots: Option<u32>,
    /// A tube to serve; may be given many times [default: default]
    #[arg(long = "tube", value_name = "TUBE")]
    pub tubes: Vec<Tube>,
    /// The name that pinned jobs use [default: the host's name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// End after this many attempts
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_jobs: Option<u64>,
    /// End once nothing is left that this worker could ever take
    #[arg(long)]
    pub until_empty: bool,
}

/// How to serve.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The address to listen on [default: 127.0.0.1:7654]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
}

/// Where the results are for others.
#[derive(Debug, Args)]
pub struct PublicArgs {
    /// Where this node's results are served to others, such as https://node1.example.org: nodes that share the queue
    /// redirect there. `worker` and the `serve` beside it need the same
    #[arg(long, value_name = "URL", value_parser = parse_public_url)]
    pub public_url: Option<Url>,
}

/// Behind which walls to do it.
#[derive(Debug, Args)]
pub struct WallArgs {
    /// Do not start unless the kernel can confine this process in every way that it knows how to use
    #[arg(long)]
    pub require_confinement: bool,
}
