//! The queue's tables, and how a file comes to have them.

use super::fault::Fault;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use rusqlite_migration::{HookError, M, Migrations, SchemaVersion};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long another process may keep the file locked before that is an error.
const PATIENCE: Duration = Duration::from_secs(5);
/// "Long": tells a queue from other programs' databases.
const APPLICATION_ID: i32 = 0x4C6F_6E67;

/// Version 1. Times are milliseconds since 1970, UTC; ids are 16 bytes.
///
/// - A job's document is kept apart from its row: it never changes, may have megabytes, and would be written
///   again with every change of state.
/// - `expires_at` stands until the first attempt starts, `unique_key` until the key is free again.
/// - `counts` is kept by triggers, so that the queue's status costs the same with five jobs or five million.
/// - `host` is empty for a job that any worker may take.
const VERSION_1: &str = "
PRAGMA application_id = 1282371175;
CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    state TEXT NOT NULL CHECK (state IN ('held', 'delayed', 'ready', 'running', 'done', 'dead', 'cancelled')),
    tube TEXT NOT NULL,
    host TEXT NOT NULL,
    priority INTEGER NOT NULL,
    algorithm TEXT NOT NULL,
    submitted_at INTEGER NOT NULL,
    ready_at INTEGER NOT NULL,
    expires_at INTEGER,
    unique_key TEXT,
    unique_until INTEGER,
    seed_pinned INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    kicks INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    uncounted INTEGER NOT NULL DEFAULT 0,
    worker BLOB,
    started_at INTEGER,
    finished_at INTEGER,
    verdict TEXT,
    published INTEGER,
    progress REAL,
    progress_message TEXT,
    CHECK ((state = 'running') = (worker IS NOT NULL))
) STRICT;
CREATE INDEX jobs_state ON jobs (state);
CREATE INDEX jobs_ready ON jobs (tube, host, priority, seq) WHERE state = 'ready';
CREATE INDEX jobs_delayed ON jobs (ready_at, priority) WHERE state = 'delayed';
CREATE INDEX jobs_expiring ON jobs (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX jobs_unique ON jobs (unique_key, unique_until) WHERE unique_key IS NOT NULL;
CREATE INDEX jobs_running ON jobs (worker) WHERE worker IS NOT NULL;

CREATE TABLE documents (
    seq INTEGER PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
    json TEXT NOT NULL
) STRICT;
CREATE TABLE tags (
    tag TEXT NOT NULL,
    seq INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
    PRIMARY KEY (tag, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_seq ON tags (seq);
CREATE TABLE attempts (
    seq INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    worker TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    finished_at INTEGER,
    verdict TEXT,
    usage TEXT,
    PRIMARY KEY (seq, attempt)
) STRICT, WITHOUT ROWID;
CREATE TABLE workers (
    start BLOB PRIMARY KEY CHECK (length(start) = 16),
    name TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    lease_ms INTEGER NOT NULL CHECK (lease_ms >= 0),
    beat INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE counts (
    tube TEXT NOT NULL,
    host TEXT NOT NULL,
    state TEXT NOT NULL,
    jobs INTEGER NOT NULL CHECK (jobs >= 0),
    PRIMARY KEY (tube, host, state)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER jobs_inserted AFTER INSERT ON jobs BEGIN
    INSERT INTO counts VALUES (new.tube, new.host, new.state, 1) ON CONFLICT DO UPDATE SET jobs = jobs + 1;
END;
CREATE TRIGGER jobs_deleted AFTER DELETE ON jobs BEGIN
    UPDATE counts SET jobs = jobs - 1 WHERE tube = old.tube AND host = old.host AND state = old.state;
END;
CREATE TRIGGER jobs_moved AFTER UPDATE OF state, tube, host ON jobs
    WHEN old.state <> new.state OR old.tube <> new.tube OR old.host <> new.host BEGIN
    UPDATE counts SET jobs = jobs - 1 WHERE tube = old.tube AND host = old.host AND state = old.state;
    INSERT INTO counts VALUES (new.tube, new.host, new.state, 1) ON CONFLICT DO UPDATE SET jobs = jobs + 1;
END;
";

/// Version 2: what operators do to jobs, what is left of them, and how they went.
///
/// - `submitted_as` is the digest of a document as it was submitted, once that was updated.
/// - `forgotten` has the digests of documents whose jobs were deleted.
/// - `timings` and `endings` count attempts; a bucket is a range of durations (`timings.rs`).
const VERSION_2: &str = "
ALTER TABLE jobs ADD COLUMN submitted_as BLOB CHECK (length(submitted_as) = 32);
ALTER TABLE jobs ADD COLUMN public_url TEXT;
ALTER TABLE workers ADD COLUMN store BLOB CHECK (length(store) = 16);
ALTER TABLE workers ADD COLUMN public_url TEXT;
CREATE INDEX jobs_ended ON jobs (state, finished_at) WHERE finished_at IS NOT NULL;
CREATE TABLE paused (
    tube TEXT PRIMARY KEY,
    since INTEGER NOT NULL,
    until INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX paused_until ON paused (until) WHERE until IS NOT NULL;
CREATE TABLE forgotten (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    document BLOB NOT NULL CHECK (length(document) = 32),
    forgotten_at INTEGER NOT NULL
) STRICT;
CREATE TABLE timings (
    tube TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    what TEXT NOT NULL CHECK (what IN ('waited', 'ran')),
    bucket INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    total_ms INTEGER NOT NULL,
    PRIMARY KEY (tube, algorithm, what, bucket)
) STRICT, WITHOUT ROWID;
CREATE TABLE endings (
    tube TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    verdict TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    PRIMARY KEY (tube, algorithm, verdict)
) STRICT, WITHOUT ROWID;
";

/// Version 3: results on their way to a `result_url`, sent by the store that holds them.
const VERSION_3: &str = "
CREATE TABLE deliveries (
    seq INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    store BLOB NOT NULL CHECK (length(store) = 16),
    url TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'given-up')),
    tries INTEGER NOT NULL DEFAULT 0,
    since INTEGER NOT NULL,
    next_at INTEGER,
    finished_at INTEGER,
    reason TEXT,
    PRIMARY KEY (seq, attempt)
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_due ON deliveries (store, next_at) WHERE state = 'pending';
";

/// All versions of the schema; one that was released is never edited again.
const VERSIONS: [&str; 3] = [VERSION_1, VERSION_2, VERSION_3];

/// Opens the connection that writes, and brings the file to the newest schema.
///
/// # Errors
/// A file that is no database, or another program's, or of a newer version of this one.
pub(super) fn open_writer(path: &Path) -> Result<Connection, Fault> {
    let started = Instant::now();
    loop {
        // Two processes that turn a new file into a WAL database at once are told that it is busy without
        // the busy handler being asked; the one that comes second finds everything done.
        match try_open_writer(path) {
            Err(fault) if fault.is_busy() && started.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(10));
            }
            result => return result,
        }
    }
}

fn try_open_writer(path: &Path) -> Result<Connection, Fault> {
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_CREATE)?;
    let foreign = connection.query_row(
        "SELECT (SELECT application_id FROM pragma_application_id) <> ?1 AND EXISTS (SELECT 1 FROM sqlite_schema)",
        [APPLICATION_ID],
        |row| row.get(0),
    )?;
    if foreign {
        return Err(Fault::Unusable("this is another program's database, not a queue; name another file".to_owned()));
    }
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Fault::Unusable(format!(
            "write-ahead logging is needed, but the journal mode stays {mode}; keep the file on a local disk"
        )));
    }
    connection.set_transaction_behavior(TransactionBehavior::Immediate);
    migrate(&mut connection)?;
    Ok(connection)
}

/// Opens a connection that only reads.
pub(super) fn open_reader(path: &Path) -> Result<Connection, Fault> {
    // Not opened read-only: whoever comes first after a crash has to recover the log.
    let connection = connect(path, OpenFlags::empty())?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn connect(path: &Path, more: OpenFlags) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_handler(Some(wait_for_lock))?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    // What does not fit into the page cache would else go to the system's temporary directory, where a confined
    // worker has no business.
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Waits one millisecond at a time: SQLite's own handler sleeps up to 100, and so hardly ever meets the moment
/// between two commits of a busy neighbour.
fn wait_for_lock(attempt: i32) -> bool {
    std::thread::sleep(Duration::from_millis(1));
    u128::try_from(attempt).is_ok_and(|waited| waited < PATIENCE.as_millis())
}

fn migrate(connection: &mut Connection) -> Result<(), Fault> {
    let migrations = Migrations::from_iter(VERSIONS.iter().zip(0_i64..).map(|(sql, version)| {
        // The version is read before the lock is taken. Under the lock it must still be the same.
        M::up_with_hook(sql, move |transaction: &rusqlite::Transaction| {
            let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
            if found <= version { Ok(()) } else { Err(HookError::Hook("another process was faster".to_owned())) }
        })
    }));
    match migrations.to_latest(connection) {
        Ok(()) => Ok(()),
        Err(_) if migrations.pending_migrations(connection) == Ok(0) => Ok(()),
        Err(rusqlite_migration::Error::RusqliteError { err, .. }) => Err(Fault::Sql(err)),
        Err(error) => Err(Fault::Unusable(match migrations.current_version(connection) {
            Ok(SchemaVersion::Outside(version)) => {
                format!(
                    "its schema is version {version}, and this program knows {} at most; use a newer longboat",
                    VERSIONS.len()
                )
            }
            _ => error.to_string(),
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(path: &Path) -> String {
        open_writer(path).unwrap_err().at(path).to_string()
    }

    #[test]
    fn a_file_that_is_not_a_database_is_refused_and_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("queue.db");
        std::fs::write(&path, "Dear diary, ".repeat(100)).unwrap();
        let message = refusal(&path);
        assert!(message.contains("queue.db: this is not a queue"), "{message}");
        assert!(std::fs::read_to_string(&path).unwrap().starts_with("Dear diary"), "it was left alone");
        let message = refusal(directory.path());
        assert!(message.contains("cannot be opened"), "{message}");
    }

    #[test]
    fn another_programs_database_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cookies.sqlite");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE cookies (name)").unwrap();
        let message = refusal(&path);
        assert!(message.contains("another program's database"), "{message}");
    }

    #[test]
    fn a_newer_schema_is_refused_with_both_versions() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("queue.db");
        open_writer(&path).unwrap().pragma_update(None, "user_version", 7).unwrap();
        let message = refusal(&path);
        assert!(
            message.contains("version 7") && message.contains(&format!("knows {} at most", VERSIONS.len())),
            "{message}"
        );
    }

    #[test]
    fn many_first_opens_at_once_all_succeed() {
        for _ in 0..5 {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("queue.db");
            std::thread::scope(|scope| {
                let openers: Vec<_> = (0..8).map(|_| scope.spawn(|| open_writer(&path).map(drop))).collect();
                for opener in openers {
                    opener.join().unwrap().unwrap();
                }
            });
        }
    }
}
