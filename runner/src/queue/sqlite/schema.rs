//! The queue's tables, and how a file comes to have them.

use super::fault::Fault;
use rusqlite::Connection;
use rusqlite_migration::{HookError, M, Migrations, SchemaVersion};
use std::cmp::Ordering;

/// Version 1. Times are milliseconds since 1970, UTC; ids are 16 bytes.
///
/// - A job's document is kept apart from its row: it never changes, may have megabytes, and would be written
///   again with every change of state.
/// - `expires_at` stands until the job is claimed, `unique_key` until the key is free again.
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

/// Version 4: jobs that a server keeps, as this data directory knows them (`ledger.rs`).
///
/// - `body` is the digest of what the server has; a server may give a number again. The counts are the
///   server's, of when the last attempt from here began.
/// - `settling` has the ends of attempts of which the server, or this file, may not have heard yet.
/// - `unreadable` has what was found among a server's jobs and is none, `serving` who takes them.
const VERSION_4: &str = "
CREATE TABLE placed (
    seq INTEGER PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
    server TEXT NOT NULL,
    number INTEGER NOT NULL,
    body BLOB NOT NULL CHECK (length(body) = 32),
    reserves INTEGER NOT NULL,
    releases INTEGER NOT NULL,
    timeouts INTEGER NOT NULL,
    kicks INTEGER NOT NULL
) STRICT;
CREATE INDEX placed_number ON placed (server, number);
CREATE TABLE settling (
    seq INTEGER PRIMARY KEY REFERENCES placed ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    decision TEXT NOT NULL CHECK (decision IN ('finish', 'retry', 'bury', 'cancel')),
    wait_ms INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    usage TEXT NOT NULL,
    published INTEGER NOT NULL,
    committed INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE unreadable (
    server TEXT NOT NULL,
    number INTEGER NOT NULL,
    tube TEXT NOT NULL,
    length INTEGER NOT NULL,
    excerpt TEXT NOT NULL,
    reason TEXT NOT NULL,
    worker TEXT NOT NULL,
    found_at INTEGER NOT NULL,
    PRIMARY KEY (server, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX unreadable_found ON unreadable (server, found_at);
CREATE TABLE serving (
    start BLOB PRIMARY KEY CHECK (length(start) = 16),
    server TEXT NOT NULL,
    name TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    lease_ms INTEGER NOT NULL,
    beat_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Version 5: what is asked of this file's own queue is asked of its own jobs, however many there are of
/// servers.
///
/// - The indexes that the file's own queue walks along hold no job of a server; those that have ended have
///   one of their own.
/// - Jobs of servers have no time in the column of those that expire by the clock alone.
/// - An end that is on its way to a server knows which process of the server has given the reservation.
/// - `elsewhere` counts the places that jobs of servers ever had, which the file's own have not.
/// - `counts` has no row for what there is none of: tubes are named by submitters.
const VERSION_5: &str = "
UPDATE jobs SET expires_at = NULL WHERE unicode(host) IS 1;
DROP INDEX jobs_state;
DROP INDEX jobs_delayed;
DROP INDEX jobs_expiring;
DROP INDEX jobs_ended;
CREATE INDEX jobs_state ON jobs (state) WHERE unicode(host) IS NOT 1;
CREATE INDEX jobs_delayed ON jobs (ready_at, priority) WHERE state = 'delayed' AND unicode(host) IS NOT 1;
CREATE INDEX jobs_expiring ON jobs (expires_at, host) WHERE expires_at IS NOT NULL AND unicode(host) IS NOT 1;
CREATE INDEX jobs_ended ON jobs (state, finished_at, seq, host)
    WHERE finished_at IS NOT NULL AND unicode(host) IS NOT 1;
CREATE INDEX placed_ended ON jobs (host, state, finished_at, seq)
    WHERE finished_at IS NOT NULL AND unicode(host) IS 1;
CREATE TABLE elsewhere (
    host TEXT PRIMARY KEY,
    jobs INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO elsewhere SELECT host, SUM(jobs) FROM counts WHERE unicode(host) IS 1 GROUP BY host;
CREATE TRIGGER jobs_placed AFTER INSERT ON jobs WHEN unicode(new.host) IS 1 BEGIN
    INSERT INTO elsewhere VALUES (new.host, 1) ON CONFLICT DO UPDATE SET jobs = jobs + 1;
END;
DELETE FROM counts WHERE jobs = 0;
CREATE TRIGGER counts_none AFTER UPDATE OF jobs ON counts WHEN new.jobs = 0 BEGIN
    DELETE FROM counts WHERE tube = new.tube AND host = new.host AND state = new.state;
END;
ALTER TABLE settling ADD COLUMN instance INTEGER NOT NULL DEFAULT 0;
";

/// Version 6: what is known of jobs that come to nothing.
///
/// - An attempt knows when its job would have expired, which it does after all if the attempt never began.
/// - `missed_at` is when a dead job was found to be gone from its server.
const VERSION_6: &str = "
ALTER TABLE attempts ADD COLUMN expires_at INTEGER;
ALTER TABLE placed ADD COLUMN missed_at INTEGER;
";

/// Version 7: outcomes and modules in the file, and no more jobs of servers.
///
/// - `outcomes` has the document and the log of each settled attempt. One is deflated if its blob is
///   shorter than its size; it is in `pieces` if the blob is absent. A document without a size is not kept.
/// - `pieces` count only once there is an outcome. `live` is what running attempts have logged so far.
/// - `modules` has what is whole; its bytes are in `module_pieces`. The newest row of a name in
///   `algorithms` counts.
/// - `jobs.module` is the digest that a job was pinned to. `workers.boot` tells on which machine, and since
///   which of its starts, a worker holds its lock.
/// - Done jobs of a server stay as ordinary ones; the server's numbers of those that it may still have are
///   in `old_buried`. Its other jobs are the server's alone again.
/// - `forgotten.files` says whether a deleted job may have left files.
const VERSION_7: &str = r#"
CREATE TABLE old_buried (
    server TEXT NOT NULL,
    number INTEGER NOT NULL,
    id BLOB NOT NULL CHECK (length(id) = 16),
    body BLOB NOT NULL CHECK (length(body) = 32),
    PRIMARY KEY (server, number)
) STRICT, WITHOUT ROWID;
INSERT OR REPLACE INTO old_buried
    SELECT server, number, id, body FROM settling JOIN placed USING (seq) JOIN jobs USING (seq)
    WHERE decision = 'finish' ORDER BY seq;
UPDATE attempts SET finished_at = CAST(unixepoch('subsec') * 1000 AS INTEGER),
        verdict = (SELECT verdict FROM settling WHERE settling.seq = attempts.seq),
        usage = (SELECT usage FROM settling WHERE settling.seq = attempts.seq)
    WHERE (seq, attempt) IN (SELECT seq, attempt FROM settling WHERE decision = 'finish' AND committed = 0);
UPDATE jobs SET state = 'done', worker = NULL, progress = NULL, progress_message = NULL,
        finished_at = CAST(unixepoch('subsec') * 1000 AS INTEGER),
        verdict = (SELECT verdict FROM settling WHERE settling.seq = jobs.seq),
        published = (SELECT CASE WHEN settling.published THEN attempt END FROM settling WHERE settling.seq = jobs.seq)
    WHERE (seq, attempts) IN (SELECT seq, attempt FROM settling WHERE decision = 'finish' AND committed = 0)
        AND state = 'running';
CREATE TEMP TABLE kept AS SELECT seq FROM jobs WHERE unicode(host) < 32 AND state = 'done';
INSERT OR IGNORE INTO attempts (seq, attempt, worker, started_at, finished_at, verdict)
    WITH RECURSIVE numbers (seq, attempt, submitted_at) AS (
        SELECT seq, attempts, submitted_at FROM jobs WHERE seq IN (SELECT seq FROM temp.kept) AND attempts BETWEEN 1 AND 10000
        UNION ALL SELECT seq, attempt - 1, submitted_at FROM numbers WHERE attempt > 1)
    SELECT seq, attempt, 'elsewhere', submitted_at, submitted_at,
        '{"kind":"interrupted","message":"this attempt was not made here"}' FROM numbers;
UPDATE jobs SET uncounted = MIN(uncounted, attempts), expires_at = NULL, unique_key = NULL,
        host = COALESCE((SELECT json ->> '$.host' FROM documents WHERE documents.seq = jobs.seq), '')
    WHERE seq IN (SELECT seq FROM temp.kept);
DROP TABLE temp.kept;
DROP TRIGGER jobs_placed;
DELETE FROM jobs WHERE unicode(host) < 32;
DROP TABLE elsewhere;
DROP TABLE settling;
DROP TABLE placed;
DROP TABLE unreadable;
DROP TABLE serving;

DROP INDEX jobs_state;
DROP INDEX jobs_delayed;
DROP INDEX jobs_expiring;
DROP INDEX jobs_ended;
DROP INDEX placed_ended;
CREATE INDEX jobs_state ON jobs (state);
CREATE INDEX jobs_delayed ON jobs (ready_at, priority) WHERE state = 'delayed';
CREATE INDEX jobs_expiring ON jobs (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX jobs_ended ON jobs (state, finished_at) WHERE finished_at IS NOT NULL;
DROP INDEX deliveries_due;
ALTER TABLE deliveries DROP COLUMN store;
CREATE INDEX deliveries_due ON deliveries (next_at) WHERE state = 'pending';
ALTER TABLE workers DROP COLUMN store;
ALTER TABLE workers ADD COLUMN boot TEXT;
ALTER TABLE jobs ADD COLUMN module BLOB CHECK (length(module) = 32);
ALTER TABLE forgotten ADD COLUMN files INTEGER NOT NULL DEFAULT 1;
CREATE INDEX forgotten_files ON forgotten (place) WHERE files = 1;

CREATE TABLE outcomes (
    seq INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    settled_at INTEGER NOT NULL,
    files INTEGER NOT NULL,
    document_size INTEGER,
    log_size INTEGER NOT NULL,
    document BLOB,
    log BLOB
) STRICT;
CREATE UNIQUE INDEX outcomes_attempt ON outcomes (seq, attempt);
CREATE TABLE pieces (
    seq INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('document', 'log')),
    place INTEGER NOT NULL,
    size INTEGER NOT NULL,
    bytes BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX pieces_place ON pieces (seq, attempt, kind, place);
CREATE TABLE live (
    seq INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    place INTEGER NOT NULL,
    bytes BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX live_place ON live (seq, attempt, place);
CREATE TABLE modules (
    digest BLOB PRIMARY KEY CHECK (length(digest) = 32),
    shape TEXT NOT NULL,
    size INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE module_pieces (
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    place INTEGER NOT NULL,
    bytes BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX module_pieces_place ON module_pieces (digest, place);
CREATE TABLE algorithms (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    digest BLOB NOT NULL REFERENCES modules,
    added_at INTEGER NOT NULL
) STRICT;
CREATE INDEX algorithms_name ON algorithms (name);
"#;

/// All versions of the schema; one that was released is never edited again.
const VERSIONS: [&str; 7] = [VERSION_1, VERSION_2, VERSION_3, VERSION_4, VERSION_5, VERSION_6, VERSION_7];

/// Refuses a file that is not of the newest version; nothing is changed in it.
pub(super) fn expect_newest(connection: &Connection) -> Result<(), Fault> {
    let version: usize = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match version.cmp(&VERSIONS.len()) {
        Ordering::Equal => Ok(()),
        Ordering::Greater => Err(Fault::Unusable(newer(version))),
        Ordering::Less => Err(Fault::Unusable(format!(
            "its schema is version {version}, and this looks at version {} only; `longboat status` brings it there",
            VERSIONS.len()
        ))),
    }
}

fn newer(version: impl std::fmt::Display) -> String {
    format!("its schema is version {version}, and this program knows {} at most; use a newer longboat", VERSIONS.len())
}

/// Brings the file to the newest version of the schema; others may be doing the same.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), Fault> {
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
            Ok(SchemaVersion::Outside(version)) => newer(version),
            _ => error.to_string(),
        })),
    }
}

#[cfg(test)]
mod tests;
