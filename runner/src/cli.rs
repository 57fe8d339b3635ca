//! The command line: arguments only.

mod act;
mod filter;
mod job;
mod look;
mod markdown;

pub use act::{ActArgs, CancelArgs, ChangeArgs, PauseArgs, Unset, UpdateArgs};
pub use filter::{ChosenArgs, FilterArgs};
pub use job::{JobArgs, RunArgs, SubmitArgs};
pub use look::{Column, ListArgs, LogsArgs, ResultArgs, ShowArgs, WaitArgs};
pub use markdown::manual;

use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use longboat::config::parse_public_url;
use longboat::intake;
use longboat::job::{AlgorithmName, Tube};
use std::net::SocketAddr;
use std::path::PathBuf;
use url::Url;

/// Runs algorithms that nobody has to trust.
#[derive(Debug, Parser)]
#[command(name = "longboat", version, about, long_about = None, max_term_width = 110)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Where everything is kept [default: the platform's data directory]
    #[arg(long, value_name = "DIR", env = "LONGBOAT_DATA_DIR", global = true)]
    pub data_dir: Option<PathBuf>,
    /// The queue, as sqlite:PATH [default: queue.db in the data directory]
    #[arg(long, value_name = "URL", env = "LONGBOAT_QUEUE", global = true)]
    pub queue: Option<String>,
    /// The queue's file is on a disk that several machines share; every program that uses it must say so
    #[arg(long, env = "LONGBOAT_SHARED", global = true, value_parser = BoolishValueParser::new())]
    pub shared: bool,
    /// The configuration [default: config.toml in the data directory, if it is there]
    #[arg(long, value_name = "FILE", env = "LONGBOAT_CONFIG", global = true)]
    pub config: Option<PathBuf>,
    /// The format of what is printed to standard output
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
    /// For people and programs.
    Yaml,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run an algorithm once, here and now, under the limits of production
    Run(Box<RunArgs>),
    /// Register algorithms, and list them
    #[command(subcommand)]
    Algorithm(AlgorithmCommand),
    /// Put jobs into the queue, and print their ids
    Submit(Box<SubmitArgs>),
    /// Run jobs from the queue
    Worker {
        /// How to work.
        #[command(flatten)]
        worker: WorkerArgs,
        /// Where other nodes find the results.
        #[command(flatten)]
        public: PublicArgs,
        /// How the process is confined.
        #[command(flatten)]
        walls: WallArgs,
    },
    /// Serve results over HTTP
    Serve {
        /// How to serve.
        #[command(flatten)]
        serve: ServeArgs,
        /// Where other nodes find the results.
        #[command(flatten)]
        public: PublicArgs,
        /// How the process is confined.
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
        /// Where other nodes find the results.
        #[command(flatten)]
        public: PublicArgs,
        /// How the process is confined.
        #[command(flatten)]
        walls: WallArgs,
    },
    /// List jobs, oldest first
    List(Box<ListArgs>),
    /// Show a job with its history
    Show(ShowArgs),
    /// Show counts, waiting times and workers of the queue
    Status,
    /// Wait until jobs have ended; exit with 1 if any is not done
    Wait(Box<WaitArgs>),
    /// Print the log of a job's last attempt
    Logs(LogsArgs),
    /// Print a job's result document
    Result(ResultArgs),
    /// End jobs; a running one is stopped at once
    ///
    /// A filter without --state chooses held, delayed, ready and running jobs.
    Cancel(Box<CancelArgs>),
    /// Keep waiting jobs from being started
    ///
    /// A filter without --state chooses delayed and ready jobs.
    Hold(Box<ActArgs>),
    /// End the hold on jobs
    ///
    /// A filter without --state chooses held jobs.
    Release(Box<ActArgs>),
    /// Give dead jobs `max_attempts` more attempts, and start delayed jobs at once
    ///
    /// A filter without --state chooses dead jobs.
    Kick(Box<ActArgs>),
    /// Change jobs that wait or are dead
    ///
    /// A filter without --state chooses held, delayed, ready and dead jobs. --tube, --tag, --host and
    /// --algorithm choose jobs, as with the other commands; --set-tube, --set-tag, --set-host and
    /// --set-algorithm change them.
    Update(Box<UpdateArgs>),
    /// Remove jobs that do not run, with their results; their ids stay known
    ///
    /// A filter without --state chooses all jobs that do not run.
    Delete(Box<ActArgs>),
    /// Start no more jobs of a tube; running jobs go on
    Pause(PauseArgs),
    /// End the pause of a tube
    Resume {
        /// The tube
        tube: Tube,
    },
    /// Look after the queue's SQLite file
    #[command(subcommand)]
    Queue(QueueCommand),
    /// Print the manual of the command line as Markdown
    #[command(hide = true)]
    HelpMarkdown,
    /// Look at the servers that jobs are taken from
    #[command(subcommand)]
    Intake(IntakeCommand),
}

/// What to do with the queue's file.
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// Copy the queue, as it is at one moment, while workers go on
    Backup {
        /// The copy; it appears once it is complete and on disk
        file: PathBuf,
        /// Replace an earlier copy
        #[arg(long)]
        replace: bool,
    },
    /// Check that the file is intact and its contents are consistent; exit with 1 if not
    Check,
    /// Write all jobs with their history, and the ids of deleted jobs, as JSON lines
    Export {
        /// Where to; - is standard output. The queue's write-ahead log grows until the export has been read
        #[arg(long, value_name = "FILE", default_value = "-")]
        file: PathBuf,
        /// Replace an earlier export
        #[arg(long)]
        replace: bool,
    },
    /// Add exported jobs; jobs that the queue knows already stay as they are
    Import {
        /// The export; - is standard input
        file: PathBuf,
    },
}

/// What to do with intakes.
#[derive(Debug, Subcommand)]
pub enum IntakeCommand {
    /// List what was taken from servers and is no job, with the reason
    List,
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
    /// End once no job is left that this worker could ever take
    #[arg(long)]
    pub until_empty: bool,
    /// Take jobs from this server into the queue, from these tubes or else from the worker's; may be given
    /// many times
    #[arg(long = "intake", value_name = "beanstalkd://HOST:PORT[/TUBE…]")]
    pub intakes: Vec<intake::Address>,
}

/// How to serve.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The address to listen on [default: 127.0.0.1:7654]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
}

/// Where other nodes find the results.
#[derive(Debug, Args)]
pub struct PublicArgs {
    /// Where others can read this node's results, such as https://node1.example.org. Other nodes of the same
    /// queue redirect there. Give `worker` and the `serve` beside it the same URL
    #[arg(long, value_name = "URL", value_parser = parse_public_url)]
    pub public_url: Option<Url>,
}

/// How the process is confined.
#[derive(Debug, Args)]
pub struct WallArgs {
    /// Do not start unless the kernel supports every kind of confinement
    #[arg(long)]
    pub require_confinement: bool,
}
