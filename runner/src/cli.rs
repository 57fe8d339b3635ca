//! The command line: arguments only.

mod job;
mod run;

pub use job::{JobArgs, SubmitArgs};
pub use run::RunArgs;

use clap::{Args, Parser, Subcommand, ValueEnum};
use longboat::job::{AlgorithmName, JobId, Span, State, Tube};
use std::net::SocketAddr;
use std::path::PathBuf;

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
    /// The queue, as sqlite:PATH [default: queue.db in the data directory]
    #[arg(long, value_name = "URL", env = "LONGBOAT_QUEUE", global = true)]
    pub queue: Option<String>,
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
        /// Behind which walls.
        #[command(flatten)]
        walls: WallArgs,
    },
    /// Serve results over HTTP
    Serve {
        /// How to serve.
        #[command(flatten)]
        serve: ServeArgs,
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
        /// Behind which walls.
        #[command(flatten)]
        walls: WallArgs,
    },
    /// List jobs, oldest first
    List(ListArgs),
    /// Show all that is known of a job
    Show {
        /// The job's id
        id: JobId,
    },
    /// Show how the queue stands
    Status,
    /// Wait until jobs have ended; exit with 1 if any is not done
    Wait {
        /// The jobs' ids
        #[arg(required = true)]
        ids: Vec<JobId>,
        /// Give up after this long
        #[arg(long, value_name = "DURATION")]
        timeout: Option<Span>,
    },
    /// Print a job's result
    Result {
        /// The job's id
        id: JobId,
        /// Copy the files of the result into this directory, which is created
        #[arg(long, value_name = "DIR")]
        files: Option<PathBuf>,
    },
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

/// Behind which walls to do it.
#[derive(Debug, Args)]
pub struct WallArgs {
    /// Do not start unless the kernel can confine this process in every way that it knows how to use
    #[arg(long)]
    pub require_confinement: bool,
}

/// Which jobs to list.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only jobs in this state; may be given many times
    #[arg(long = "state", value_name = "STATE")]
    pub states: Vec<State>,
    /// Only jobs of this tube
    #[arg(long, value_name = "TUBE")]
    pub tube: Option<Tube>,
    /// Only jobs that run this algorithm
    #[arg(long, value_name = "NAME")]
    pub algorithm: Option<AlgorithmName>,
    /// Only jobs with this tag
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
    /// At most this many
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}
