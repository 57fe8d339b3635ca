//! `longboat queue`: looks after the queue's file.

use super::{Node, Usage};
use crate::cli::{Format, QueueCommand};
use crate::output;
use anyhow::Context;
use longboat::queue::sqlite::{Copied, ExportError, Faults, Health, Imported};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use tempfile::NamedTempFile;

/// What SQLite keeps beside a file, and puts into whatever file it finds there.
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
    #[derive(serde::Serialize)]
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
            node.queue.display()
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
            // Whoever reads has seen enough.
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

/// Whether a name is that of a queue's file, or of one that there is beside it while it is in use.
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

/// A file that appears at its place once it is whole and on disk.
struct NewFile<'a> {
    temporary: NamedTempFile,
    target: &'a Path,
    replace: bool,
}

impl<'a> NewFile<'a> {
    /// An empty file in the same directory, which those may read who may read the queue.
    fn beside(node: &Node, target: &'a Path, replace: bool) -> anyhow::Result<Self> {
        let queue = fs::metadata(&node.queue)
            .with_context(|| format!("there is no queue at {}; see --queue and --data-dir", node.queue.display()))?;
        let kept = || format!("{} is not to be replaced; name another file", target.display());
        anyhow::ensure!(!belongs_to(&node.queue, target), kept());
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
            // Somebody may have been faster.
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
