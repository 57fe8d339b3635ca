//! Connections to a queue's file.

use super::fault::Fault;
use super::sharing::{self, Sharing};
use super::{locked, place, schema};
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long another process may keep the file locked before that is an error.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same where a lock is a request to a file server, which many machines send.
const SHARED_PATIENCE: Duration = Duration::from_secs(30);

/// Makes the directory of a queue's file if there is none.
pub(super) fn make_directory(path: &Path) -> Result<(), Fault> {
    path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(|error| {
        Fault::Unusable(format!("its directory cannot be made ({error}); check the path and who may write there"))
    })
}

/// Opens the connection that writes, makes the file if there is none, and brings it to the newest schema.
///
/// # Errors
/// A file that is no database, or another program's, or of a newer version of this one; a place or a use that does
/// not go with `sharing`.
pub(super) fn writer(path: &Path, sharing: Sharing) -> Result<Connection, Fault> {
    place::check(path, sharing)?;
    let started = Instant::now();
    loop {
        // Two processes that turn a new file into a WAL database at once are told that it is busy without
        // the busy handler being asked; the one that comes second finds everything done.
        match try_writer(path, sharing) {
            Err(fault) if fault.is_busy() && started.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(fault) if fault.is_busy() && sharing == Sharing::ManyMachines => {
                return Err(Fault::Unusable(
                    "other processes keep it locked; if they were started without --shared, stop them first, and \
                     start all that use this file with --shared"
                        .to_owned(),
                ));
            }
            result => return result,
        }
    }
}

fn try_writer(path: &Path, sharing: Sharing) -> Result<Connection, Fault> {
    loop {
        let mut connection = sharing::agreed(path, sharing)?;
        connection.set_transaction_behavior(TransactionBehavior::Immediate);
        schema::migrate(&mut connection)?;
        if sharing == Sharing::OneMachine || sharing::mark(&connection)? {
            return Ok(connection);
        }
    }
}

/// Opens a connection that only reads a file that this process has opened for writing too.
pub(super) fn reader(path: &Path, sharing: Sharing) -> Result<Connection, Fault> {
    // Not opened read-only: whoever comes first after a crash has to recover the log.
    let connection = connect(path, OpenFlags::empty(), sharing)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Opens a connection that changes nothing in the file, be it to bring it to the newest schema.
///
/// # Errors
/// Those of [`writer`], and that there is no file.
pub(super) fn spectator(path: &Path, sharing: Sharing) -> Result<Connection, Fault> {
    place::check(path, sharing)?;
    if !path.exists() {
        return Err(Fault::Unusable("there is no such file; name the queue with --queue or --data-dir".to_owned()));
    }
    let connection = raw(path, OpenFlags::empty(), sharing)?;
    connection.pragma_update(None, "query_only", true)?;
    if sharing == Sharing::ManyMachines && !sharing::has_log(path) {
        sharing::keep_journal(&connection)?;
    }
    sharing::examine(&connection, sharing)?;
    prepare(&connection)?;
    Ok(connection)
}

/// Opens a connection of which nothing is decided yet.
pub(super) fn raw(path: &Path, more: OpenFlags, sharing: Sharing) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_handler(Some(handler(sharing)))?;
    Ok(connection)
}

/// Opens a connection for one of the queue's threads.
pub(super) fn connect(path: &Path, more: OpenFlags, sharing: Sharing) -> Result<Connection, Fault> {
    let connection = raw(path, more, sharing)?;
    if sharing == Sharing::ManyMachines {
        // These are the connection's own, so each has to be told. PERSIST leaves the journal where it is (see
        // `sharing::mark`); memory that is mapped would not show what other machines write.
        connection.pragma_update(None, "journal_mode", "persist")?;
        connection.pragma_update(None, "mmap_size", 0)?;
    }
    connection.pragma_update(None, "synchronous", sharing.synchronous())?;
    prepare(&connection)?;
    Ok(connection)
}

fn prepare(connection: &Connection) -> Result<(), Fault> {
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    // What does not fit into the page cache would else go to the system's temporary directory, where a confined
    // worker has no business.
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn handler(sharing: Sharing) -> fn(i32) -> bool {
    match sharing {
        Sharing::OneMachine => wait_for_lock,
        Sharing::ManyMachines => wait_for_shared_lock,
    }
}

/// Waits one millisecond at a time: SQLite's own handler sleeps up to 100, and so hardly ever meets the moment
/// between two commits of a busy neighbour.
fn wait_for_lock(attempt: i32) -> bool {
    if !locked::waits() {
        return false;
    }
    locked::found();
    std::thread::sleep(Duration::from_millis(1));
    u128::try_from(attempt).is_ok_and(|waited| waited < PATIENCE.as_millis())
}

/// Waits from one to eight milliseconds in turn, so that two who wait do not always come at the same time.
fn wait_for_shared_lock(attempt: i32) -> bool {
    if !locked::waits() {
        return false;
    }
    locked::found();
    let attempt = u64::try_from(attempt).unwrap_or(0);
    std::thread::sleep(Duration::from_millis(1 + attempt % 8));
    Duration::from_millis(attempt * 9 / 2) < SHARED_PATIENCE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(path: &Path, sharing: Sharing) -> String {
        writer(path, sharing).unwrap_err().at(path).to_string()
    }

    #[test]
    fn a_file_that_is_not_a_database_is_refused_and_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("queue.db");
        std::fs::write(&path, "Dear diary, ".repeat(100)).unwrap();
        for sharing in [Sharing::OneMachine, Sharing::ManyMachines] {
            let message = refusal(&path, sharing);
            assert!(message.contains("queue.db: this is not a queue"), "{message}");
            assert!(std::fs::read_to_string(&path).unwrap().starts_with("Dear diary"), "it was left alone");
            let message = refusal(directory.path(), sharing);
            assert!(message.contains("cannot be opened"), "{message}");
        }
    }

    #[test]
    fn another_programs_database_is_refused_and_left_as_it_is() {
        for mode in ["wal", "delete"] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("cookies.sqlite");
            let sql = format!("PRAGMA journal_mode = {mode}; CREATE TABLE cookies (name)");
            Connection::open(&path).unwrap().execute_batch(&sql).unwrap();
            let before = std::fs::read(&path).unwrap();
            for sharing in [Sharing::OneMachine, Sharing::ManyMachines] {
                let message = refusal(&path, sharing);
                assert!(message.contains("another program's database"), "{message}");
                assert!(std::fs::read(&path).unwrap() == before, "{mode}, {sharing:?}");
            }
        }
    }

    #[test]
    fn a_newer_schema_is_refused_with_both_versions() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("queue.db");
        writer(&path, Sharing::OneMachine).unwrap().pragma_update(None, "user_version", 99).unwrap();
        let message = refusal(&path, Sharing::OneMachine);
        assert!(message.contains("version 99") && message.contains("at most; use a newer longboat"), "{message}");
    }

    #[test]
    fn many_first_opens_at_once_all_succeed() {
        for sharing in [Sharing::OneMachine, Sharing::ManyMachines] {
            for _ in 0..5 {
                let directory = tempfile::tempdir().unwrap();
                let path = directory.path().join("queue.db");
                std::thread::scope(|scope| {
                    let openers: Vec<_> = (0..8).map(|_| scope.spawn(|| writer(&path, sharing).map(drop))).collect();
                    for opener in openers {
                        opener.join().unwrap().unwrap();
                    }
                });
            }
        }
    }

    #[test]
    fn a_spectator_can_change_nothing_and_makes_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("queue.db");
        assert!(spectator(&path, Sharing::OneMachine).is_err());
        assert!(!path.exists());
        let writer = writer(&path, Sharing::OneMachine).unwrap();
        let spectator = spectator(&path, Sharing::OneMachine).unwrap();
        assert!(spectator.execute("DELETE FROM jobs", []).is_err());
        writer.execute("DELETE FROM jobs", []).unwrap();
    }
}
