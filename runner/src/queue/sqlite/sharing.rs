//! Who uses a queue's file, and how all of them come to agree on that.
//!
//! Processes of one machine use a write-ahead log: readers and the writer do not wait for each other. Its index is in
//! memory that they share, which machines cannot. Processes of several machines use a rollback journal, which needs
//! nothing but the file system's locks. One of the first kind among the second would damage the file, so a file of the
//! second kind carries a mark, and the mark and the journal's mode are only ever changed under a lock under which the
//! other of them was looked at.

use super::fault::Fault;
use super::open;
use rusqlite::{Connection, OpenFlags};
use std::ffi::OsString;
use std::path::Path;

/// "Long": tells a queue from other programs' databases.
const QUEUE: i32 = 0x4C6F_6E67;
/// "LonS": a queue that several machines use.
const SHARED_QUEUE: i32 = 0x4C6F_6E53;

/// Who uses a queue's file. All processes that do must say the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Processes of one machine, on a disk of its own.
    OneMachine,
    /// Processes of any number of machines, which see the file in a directory that they share.
    ManyMachines,
}

impl Sharing {
    /// How much is synced at a commit. EXTRA also syncs the directory in which a journal was deleted, as SQLite itself
    /// does after a crash, whatever mode it is told later.
    pub(super) fn synchronous(self) -> &'static str {
        match self {
            Sharing::OneMachine => "full",
            Sharing::ManyMachines => "extra",
        }
    }
}

/// Opens the connection that writes, in the journal mode that goes with `sharing`.
pub(super) fn agreed(path: &Path, sharing: Sharing) -> Result<Connection, Fault> {
    if sharing == Sharing::ManyMachines {
        leave_wal(path)?;
        return open::connect(path, OpenFlags::SQLITE_OPEN_CREATE, sharing);
    }
    loop {
        let connection = open::connect(path, OpenFlags::SQLITE_OPEN_CREATE, sharing)?;
        let mode = journal_mode(&connection)?;
        examine(&connection, sharing)?;
        if mode == "wal" {
            // As long as this connection is open, nobody can leave that mode.
            return Ok(connection);
        }
        enter_wal(&connection)?;
    }
}

/// Refuses a file that is no queue, or that others use in another way.
pub(super) fn examine(connection: &Connection, sharing: Sharing) -> Result<(), Fault> {
    let is_empty = "SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)";
    match (application_id(connection)?, sharing) {
        (SHARED_QUEUE, Sharing::OneMachine) => Err(Fault::Unusable(
            "it is kept for several machines, and a process that uses it without --shared would damage it; \
             give --shared (or LONGBOAT_SHARED=1) to every command that uses it; to keep it for one machine again, \
             `longboat --shared queue export` it and import that into a new file"
                .to_owned(),
        )),
        (QUEUE | SHARED_QUEUE, _) => Ok(()),
        _ if connection.query_row(is_empty, [], |row| row.get(0))? => Ok(()),
        _ => Err(Fault::Unusable("this is another program's database, not a queue; name another file".to_owned())),
    }
}

/// Gives a file that has no write-ahead log one, for those who open it next. This connection is to be closed.
fn enter_wal(connection: &Connection) -> Result<(), Fault> {
    connection.execute_batch("BEGIN EXCLUSIVE")?;
    if journal_mode(connection)? == "wal" {
        return Ok(());
    }
    examine(connection, Sharing::OneMachine)?;
    // The lock outlasts the commit, so that no mark comes in between. A log that was begun under such a lock cannot be
    // shared, not even with this process's other connections.
    connection.execute_batch("PRAGMA locking_mode = exclusive; COMMIT")?;
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Fault::Unusable(format!(
            "write-ahead logging is needed, but the journal mode stays {mode}; keep the file on a local disk"
        )));
    }
    Ok(())
}

/// Has a file that has a write-ahead log do without, which is refused as long as anybody else has it open.
fn leave_wal(path: &Path) -> Result<(), Fault> {
    // Whoever has the log open may have it open for days, so it is not waited for as one waits for a commit.
    let connection = open::raw(path, OpenFlags::SQLITE_OPEN_CREATE, Sharing::OneMachine)?;
    // Under an exclusive lock a log is read without memory that is shared.
    connection.execute_batch("PRAGMA locking_mode = exclusive")?;
    examine(&connection, Sharing::ManyMachines)?;
    connection.execute_batch("PRAGMA journal_mode = persist")?;
    Ok(())
}

/// Marks a file as used by several machines, unless somebody has given it a write-ahead log meanwhile; whether it is
/// marked now.
///
/// The journal is there from then on, and neither comes nor goes. An NFS client that has looked for a file knows for up
/// to a minute that it was not there, or was empty; but it asks the server when it opens one, and what SQLite has to
/// know after a crash is then in the journal's first byte.
pub(super) fn mark(connection: &Connection) -> Result<bool, Fault> {
    if application_id(connection)? == SHARED_QUEUE && has_journal(connection) {
        return Ok(true);
    }
    connection.execute_batch("BEGIN IMMEDIATE")?;
    if journal_mode(connection)? == "wal" {
        connection.execute_batch("ROLLBACK")?;
        return Ok(false);
    }
    connection.pragma_update(None, "application_id", SHARED_QUEUE)?;
    connection.execute_batch("COMMIT")?;
    Ok(true)
}

/// Whether a file has a write-ahead log. It is asked by a connection that can roll nothing back: a file whose journal is to be
/// rolled back cannot be read by it, and has no log.
pub(super) fn has_log(path: &Path) -> bool {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // The mode is known once something was read.
    let mode = Connection::open_with_flags(path, flags)
        .and_then(|connection| application_id(&connection).and_then(|_| journal_mode(&connection)));
    mode.is_ok_and(|mode| mode == "wal")
}

/// Has a connection that only reads leave the journal where it is, should it be the first one after a crash.
pub(super) fn keep_journal(connection: &Connection) -> Result<(), Fault> {
    // The mode is told by a read, which is already what rolls back, and only an exclusive lock keeps the journal then.
    connection.execute_batch("PRAGMA locking_mode = exclusive")?;
    examine(connection, Sharing::ManyMachines)?;
    connection.execute_batch("PRAGMA journal_mode = persist; PRAGMA locking_mode = normal")?;
    // The lock is let go by the next read.
    application_id(connection)?;
    Ok(())
}

fn has_journal(connection: &Connection) -> bool {
    let journal = connection.path().map(|path| OsString::from(format!("{path}-journal")));
    journal.is_some_and(|journal| Path::new(&journal).exists())
}

fn application_id(connection: &Connection) -> Result<i32, rusqlite::Error> {
    connection.pragma_query_value(None, "application_id", |row| row.get(0))
}

fn journal_mode(connection: &Connection) -> Result<String, rusqlite::Error> {
    connection.pragma_query_value(None, "journal_mode", |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::sqlite::open::writer;
    use std::path::PathBuf;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("queue.db");
        (directory, path)
    }

    fn files(directory: &tempfile::TempDir) -> Vec<String> {
        let entries = std::fs::read_dir(directory.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn refusal(path: &Path, sharing: Sharing) -> String {
        writer(path, sharing).unwrap_err().at(path).to_string()
    }

    #[test]
    fn a_file_for_several_machines_has_a_journal_that_stays_and_no_write_ahead_log() {
        let (directory, path) = place();
        for _ in 0..2 {
            let writer = writer(&path, Sharing::ManyMachines).unwrap();
            assert_eq!(journal_mode(&writer).unwrap(), "persist");
            let synchronous: i32 = writer.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
            assert_eq!(synchronous, 3, "EXTRA");
            assert_eq!(files(&directory), ["queue.db", "queue.db-journal"]);
            writer.execute_batch("DELETE FROM jobs; CREATE TABLE t (x); DROP TABLE t").unwrap();
        }
        assert_eq!(files(&directory), ["queue.db", "queue.db-journal"]);
        assert_ne!(std::fs::metadata(directory.path().join("queue.db-journal")).unwrap().len(), 0);
        std::fs::remove_file(directory.path().join("queue.db-journal")).unwrap();
        writer(&path, Sharing::ManyMachines).unwrap();
        assert_eq!(files(&directory), ["queue.db", "queue.db-journal"], "it is made again if somebody has removed it");
    }

    #[test]
    fn who_only_looks_after_a_crash_leaves_the_journal_where_it_is() {
        let (directory, path) = place();
        let dying = writer(&path, Sharing::ManyMachines).unwrap();
        dying
            .execute_batch("INSERT INTO paused VALUES ('night', 1, NULL); BEGIN; UPDATE paused SET since = 2")
            .unwrap();
        dying.cache_flush().unwrap();
        // What a machine leaves that goes down in the middle of a commit.
        let (copied, left) = place();
        for file in files(&directory) {
            std::fs::copy(directory.path().join(&file), copied.path().join(&file)).unwrap();
        }
        let looking = super::super::open::spectator(&left, Sharing::ManyMachines).unwrap();
        let since: i64 = looking.query_row("SELECT since FROM paused", [], |row| row.get(0)).unwrap();
        assert_eq!((since, files(&copied)), (1, vec!["queue.db".to_owned(), "queue.db-journal".to_owned()]));
        // Nor does it keep anybody from writing.
        let other = writer(&left, Sharing::ManyMachines).unwrap();
        other.execute_batch("UPDATE paused SET since = 3").unwrap();
        assert_eq!(looking.query_row("SELECT since FROM paused", [], |row| row.get::<_, i64>(0)).unwrap(), 3);
    }

    #[test]
    fn who_only_looks_for_several_machines_leaves_the_log_of_one() {
        let (_directory, path) = place();
        let mode = || {
            let looking = super::super::open::spectator(&path, Sharing::ManyMachines).unwrap();
            looking.query_row("SELECT COUNT(*) FROM jobs", [], |row| row.get::<_, u32>(0)).unwrap();
            std::fs::read(&path).unwrap()[18..20].to_vec()
        };
        let working = writer(&path, Sharing::OneMachine).unwrap();
        assert_eq!(mode(), [2, 2], "while somebody works");
        drop(working);
        assert_eq!(mode(), [2, 2], "and when nobody does");
    }

    #[test]
    fn a_file_for_several_machines_is_refused_without_sharing_and_stays_as_it_is() {
        let (directory, path) = place();
        let others = writer(&path, Sharing::ManyMachines).unwrap();
        for _ in 0..2 {
            let message = refusal(&path, Sharing::OneMachine);
            assert!(message.contains("give --shared"), "{message}");
            assert_eq!(journal_mode(&others).unwrap(), "persist");
            assert_eq!(files(&directory), ["queue.db", "queue.db-journal"]);
        }
        others.execute_batch("DELETE FROM jobs").unwrap();
        drop(others);
        assert!(refusal(&path, Sharing::OneMachine).contains("give --shared"), "also when nobody uses it");
    }

    #[test]
    fn a_file_with_a_write_ahead_log_is_converted_once_nobody_else_has_it_open() {
        let (directory, path) = place();
        let other = writer(&path, Sharing::OneMachine).unwrap();
        other.execute_batch("INSERT INTO paused VALUES ('night', 1, NULL)").unwrap();
        let message = refusal(&path, Sharing::ManyMachines);
        assert!(message.contains("started without --shared, stop them first"), "{message}");
        other.execute_batch("UPDATE paused SET since = 2").unwrap();
        drop(other);
        let shared = writer(&path, Sharing::ManyMachines).unwrap();
        let since: i64 = shared.query_row("SELECT since FROM paused", [], |row| row.get(0)).unwrap();
        assert_eq!(since, 2);
        assert_eq!(files(&directory), ["queue.db", "queue.db-journal"]);
    }

    #[test]
    fn however_many_open_a_new_file_at_once_all_who_may_use_it_use_it_alike() {
        for round in 0..3 {
            let (_directory, path) = place();
            let sharings = [Sharing::OneMachine, Sharing::ManyMachines].repeat(4);
            let opened: Vec<_> = std::thread::scope(|scope| {
                let open = |sharing| writer(&path, sharing).map(|writer| (sharing, writer)).ok();
                let openers: Vec<_> = sharings.into_iter().map(|sharing| scope.spawn(move || open(sharing))).collect();
                openers.into_iter().filter_map(|opener| opener.join().unwrap()).collect()
            });
            let (sharing, _) = opened[0];
            assert!(opened.iter().all(|(other, _)| *other == sharing), "round {round}: {opened:?}");
            assert_eq!(opened.len(), 4, "round {round}");
            let mode = match sharing {
                Sharing::OneMachine => "wal",
                Sharing::ManyMachines => "persist",
            };
            for (_, writer) in &opened {
                assert_eq!(journal_mode(writer).unwrap(), mode);
                writer.execute_batch("BEGIN IMMEDIATE; DELETE FROM jobs; COMMIT").unwrap();
            }
        }
    }
}
