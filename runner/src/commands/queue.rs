//! Commands for the whole queue: `longboat queue`, `pause`, `resume` and `intake`.

use super::Usage;
use super::node::Node;
use crate::cli::{Format, IntakeCommand, PauseArgs, QueueCommand};
use crate::output;
use anyhow::Context;
use jiff::Timestamp;
use longboat::intake::{self, Rubbish};
use longboat::job::Tube;
use longboat::queue::sqlite::{Copied, ExportError, Faults, Health, Imported};
use serde::Serialize;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use tempfile::NamedTempFile;

/// The suffixes of SQLite's files beside a database. SQLite applies what it finds in them to the database.
const BESIDE: [&str; 3] = ["-journal", "-wal", "-shm"];

pub fn run(node: &Node, command: QueueCommand, format: Format) -> anyhow::Result<bool> {
    match command {
        QueueCommand::Backup { file, replace } => backup(node, &file, replace, format),
        QueueCommand::Check => check(node, format),
        QueueCommand::Export { file, replace } => export(node, &file, replace),
        QueueCommand::Import { file } => import(node, &file, format),
    }
}

fn backup(node: &Node, target: &Path, replace: bool, format: Format) -> anyhow::Result<bool> {
    for beside in BESIDE {
        let mut name = OsString::from(target);
        name.push(beside);
        anyhow::ensure!(
            !Path::new(&name).exists(),
            "{} is there: {} is or was in use as a queue, and what it left would be mixed into the copy; name another \
             file, or remove what nobody needs",
            name.display(),
            target.display()
        );
    }
    let new = NewFile::beside(node, target, replace)?;
    let bar = output::working("copying the queue");
    let copied = node.queue_file().copy(new.temporary.path());
    bar.finish_and_clear();
    let copied = copied.with_context(|| format!("copying the queue to {} failed", target.display()))?;
    new.put()?;
    #[derive(Serialize)]
    struct Backup<'a> {
        file: &'a Path,
        #[serde(flatten)]
        copied: Copied,
    }
    output::print(format, &Backup { file: target, copied }, |backup| {
        let Copied { jobs, size } = backup.copied;
        format!("{}: {} jobs, {}", backup.file.display(), output::number(jobs), output::size(size))
    })?;
    Ok(true)
}

fn check(node: &Node, format: Format) -> anyhow::Result<bool> {
    let bar = output::working("looking at the queue");
    let health = node.queue_file().check();
    bar.finish_and_clear();
    let health = health?;
    output::print(format, &health, |Health { jobs, faults }| match faults.is_empty() {
        true => format!("sound, with {} jobs", output::number(*jobs)),
        false => listed(faults),
    })?;
    if !health.faults.is_empty() {
        output::tell(format_args!(
            "the queue is damaged: stop its workers and restore a backup; or save what can be read: `longboat queue \
             export --file jobs.jsonl`, then `longboat queue import jobs.jsonl --queue sqlite:NEW`; if that fails, \
             `sqlite3 {} .recover` reads what SQLite still can",
            node.queue_path.display()
        ));
    }
    Ok(health.faults.is_empty())
}

fn listed(faults: &Faults) -> String {
    let mut lines: Vec<_> = faults.told.iter().map(|fault| output::plain(fault)).collect();
    if faults.more > 0 {
        lines.push(format!("… and {} more", output::number(faults.more)));
    }
    lines.join("\n")
}

fn export(node: &Node, target: &Path, replace: bool) -> anyhow::Result<bool> {
    let file = node.queue_file();
    let exported = if target == Path::new("-") {
        match file.export(&mut BufWriter::new(io::stdout().lock())) {
            // The reader has closed the pipe.
            Err(ExportError::Write(error)) if error.kind() == ErrorKind::BrokenPipe => return Ok(true),
            exported => exported?,
        }
    } else {
        let new = NewFile::beside(node, target, replace)?;
        let mut writer = BufWriter::new(new.temporary.as_file());
        let exported = file.export(&mut writer).with_context(|| format!("exporting to {} failed", target.display()))?;
        writer.flush().with_context(|| format!("writing {} failed", target.display()))?;
        drop(writer);
        new.put()?;
        exported
    };
    output::tell(format_args!("exported {} jobs", output::number(exported.jobs)));
    if !exported.faults.is_empty() {
        let faults = listed(&exported.faults);
        output::tell(format_args!("{faults}\nwhat is damaged is not in the export; see `longboat queue check`"));
    }
    Ok(exported.faults.is_empty())
}

fn import(node: &Node, source: &Path, format: Format) -> anyhow::Result<bool> {
    let mut reader: Box<dyn BufRead> = if source == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let file = File::open(source).with_context(|| format!("opening {} failed", source.display()))?;
        Box::new(BufReader::new(file))
    };
    node.create_queue_directory()?;
    let imported = node.queue_file().import(&mut reader);
    let imported = imported.with_context(|| format!("importing {} failed", source.display()))?;
    output::print(format, &imported, |Imported { jobs, forgotten, known }| {
        let [jobs, forgotten, known] = [jobs, forgotten, known].map(|count| output::number(*count));
        format!("imported {jobs} jobs and {forgotten} ids of deleted ones; {known} were known already")
    })?;
    Ok(true)
}

/// Whether a tube is paused.
#[derive(Serialize)]
struct Pause {
    tube: Tube,
    paused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
}

pub async fn pause(node: &Node, args: PauseArgs, format: Format) -> anyhow::Result<bool> {
    let now = Timestamp::now();
    let until = match args.period {
        Some(period) => Some(now.checked_add(period.0)?),
        None => args.until,
    };
    if until.is_some_and(|until| until <= now) {
        return Err(Usage("--for, --until: the end of a pause must be in the future".to_owned()).into());
    }
    node.queue().await?.pause(&args.tube, until).await?;
    let shown = Pause { tube: args.tube, paused: true, until };
    output::print(format, &shown, |Pause { tube, until, .. }| match until {
        Some(until) => format!("tube {tube} is paused until {}", until.strftime("%F %T UTC")),
        None => format!("tube {tube} is paused until it is resumed"),
    })?;
    Ok(true)
}

pub async fn resume(node: &Node, tube: Tube, format: Format) -> anyhow::Result<bool> {
    // No error, since the tube is open now; but the tube's name may be misspelt.
    if !node.queue().await?.resume(&tube).await? {
        output::tell(format_args!("tube {tube} was not paused; `longboat status` shows which are"));
    }
    let shown = Pause { tube, paused: false, until: None };
    output::print(format, &shown, |Pause { tube, .. }| format!("tube {tube} is open"))?;
    Ok(true)
}

/// Lists what this node's intakes took from servers that is no job.
pub fn intake(node: &Node, command: &IntakeCommand, format: Format) -> anyhow::Result<bool> {
    let IntakeCommand::List = command;
    let rubbish = intake::rubbish(node.data.path());
    let rubbish =
        rubbish.with_context(|| format!("reading the intake's notes in {} failed", node.data.path().display()));
    output::print(format, &rubbish?, |rubbish| {
        let header = ["server", "number", "tube", "bytes", "found", "worker", "reason", "begins with"];
        output::table(&header, rubbish.iter().map(rubbish_row))
    })?;
    Ok(true)
}

fn rubbish_row(rubbish: &Rubbish) -> Vec<String> {
    let line = |text: &str| output::plain(text).replace(['\n', '\t'], " ");
    vec![
        line(&rubbish.server),
        rubbish.number.to_string(),
        rubbish.tube.to_string(),
        output::number(rubbish.length),
        rubbish.found_at.strftime("%F %T").to_string(),
        line(&rubbish.worker),
        line(&rubbish.reason),
        line(&rubbish.excerpt),
    ]
}

/// Whether a path is that of the queue's file, or of a file that SQLite or a worker keeps beside it.
fn belongs_to(queue: &Path, file: &Path) -> bool {
    let directory = directory_of(file).canonicalize();
    let (Ok(queue), Ok(directory), Some(name)) = (queue.canonicalize(), directory, file.file_name()) else {
        return false;
    };
    let file = directory.join(name);
    let after = file.as_os_str().as_encoded_bytes().strip_prefix(queue.as_os_str().as_encoded_bytes());
    after.is_some_and(|after| {
        [&b""[..], b"-wal", b"-shm", b"-journal"].contains(&after) || after.starts_with(b"-begun-")
    })
}

/// A file that appears at its place once it is complete and on disk.
struct NewFile<'a> {
    temporary: NamedTempFile,
    target: &'a Path,
    replace: bool,
}

impl<'a> NewFile<'a> {
    /// An empty file in the same directory, with the queue's permissions.
    fn beside(node: &Node, target: &'a Path, replace: bool) -> anyhow::Result<Self> {
        let queue = fs::metadata(&node.queue_path).with_context(|| {
            format!("there is no queue at {}; see --queue and --data-dir", node.queue_path.display())
        })?;
        let kept = || format!("{} is not to be replaced; name another file", target.display());
        anyhow::ensure!(!belongs_to(&node.queue_path, target), kept());
        if let Ok(there) = fs::metadata(target) {
            let is_queue = (there.dev(), there.ino()) == (queue.dev(), queue.ino());
            anyhow::ensure!(!is_queue && there.is_file(), kept());
            if !replace {
                return Err(Usage(format!("{} exists; name another file, or give --replace", target.display())).into());
            }
        }
        let temporary = tempfile::Builder::new()
            .prefix(".longboat-")
            .permissions(queue.permissions())
            .tempfile_in(directory_of(target))
            .with_context(|| format!("making a file beside {} failed; name another place", target.display()))?;
        Ok(Self { temporary, target, replace })
    }

    /// Puts it in its place.
    fn put(self) -> anyhow::Result<()> {
        let Self { temporary, target, replace } = self;
        temporary.as_file().sync_all().with_context(|| format!("syncing {} failed", target.display()))?;
        let put = match replace {
            true => temporary.persist(target),
            // Another process may have made the file meanwhile.
            false => temporary.persist_noclobber(target),
        };
        put.map_err(|error| error.error).with_context(|| format!("putting {} in place failed", target.display()))?;
        let directory = directory_of(target);
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.with_context(|| format!("syncing {} failed", directory.display()))
    }
}

fn directory_of(file: &Path) -> &Path {
    file.parent().filter(|directory| *directory != Path::new("")).unwrap_or(Path::new("."))
}
