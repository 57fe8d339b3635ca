//! What can go wrong inside the queue's file, and how it is told.

use crate::queue::QueueError;
use rusqlite::{ErrorCode, ffi};
use std::fmt;
use std::path::Path;

/// A failure, before it is known to whom it will be told.
#[derive(Debug)]
pub(super) enum Fault {
    /// What SQLite says.
    Sql(rusqlite::Error),
    /// A row that no version of this program writes, or that only a newer one does.
    Corrupt(String),
    /// The file, or the machine, is not what a queue needs; in words that go on from the file's name.
    Unusable(String),
    /// The queue's own refusal; it is told as it is.
    Refused(QueueError),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Fault::Sql(error)
    }
}

impl From<QueueError> for Fault {
    fn from(error: QueueError) -> Self {
        Fault::Refused(error)
    }
}

/// What is wrong, without the file's name.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Sql(error) => error.fmt(f),
            Fault::Corrupt(what) | Fault::Unusable(what) => f.write_str(what),
            Fault::Refused(error) => error.fmt(f),
        }
    }
}

impl Fault {
    /// What is wrong with a row, if it is `what` that cannot be read.
    pub(super) fn corrupt(what: &str, why: impl std::fmt::Display) -> Self {
        Fault::Corrupt(format!("{what} cannot be read: {why}"))
    }

    /// Whether it is a row that cannot be read.
    pub(super) fn is_of_a_row(&self) -> bool {
        matches!(
            self,
            Fault::Corrupt(_)
                | Fault::Sql(
                    rusqlite::Error::FromSqlConversionFailure(..)
                        | rusqlite::Error::IntegralValueOutOfRange(..)
                        | rusqlite::Error::InvalidColumnType(..)
                        | rusqlite::Error::Utf8Error(..)
                )
        )
    }

    /// Whether another connection's lock is all that is in the way.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self, Fault::Sql(error) if matches!(
            error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
        ))
    }

    /// The same as callers are told it: which file, what is wrong with it, what to do.
    pub(super) fn at(self, path: &Path) -> QueueError {
        let file = path.display();
        let refusal = if self.is_busy() { QueueError::Busy } else { QueueError::Backend };
        match self {
            Fault::Refused(error) => error,
            Fault::Unusable(what) => QueueError::Backend(format!("queue {file}: {what}")),
            Fault::Corrupt(what) => QueueError::Backend(format!(
                "queue {file}: {what}; the file was damaged, or written by a newer longboat: \
                 see what `longboat queue check` says"
            )),
            Fault::Sql(error) => refusal(match error.sqlite_error() {
                Some(code) => format!("queue {file}: {} ({error})", advice(*code)),
                None => format!("queue {file}: {error}"),
            }),
        }
    }
}

const FULL: &str = "the disk is full; nothing was changed: make room and try again";

/// The operating system refuses a thread.
pub(super) fn no_thread(error: &std::io::Error) -> Fault {
    Fault::Unusable(format!("no thread could be started for it: {error}"))
}

fn advice(error: ffi::Error) -> &'static str {
    match error.code {
        // What is asked for is room for the index of the write-ahead log, when the first process opens the
        // file.
        _ if error.extended_code == ffi::SQLITE_IOERR_SHMSIZE => FULL,
        ErrorCode::NotADatabase => "this is not a queue, nor any SQLite database; name another file",
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            "another process has kept the file locked for too long; try again, or see what holds it open"
        }
        ErrorCode::ReadOnly => "the file or its directory cannot be written to; check owner, mode and mount",
        ErrorCode::PermissionDenied | ErrorCode::CannotOpen | ErrorCode::AuthorizationForStatementDenied => {
            "the file cannot be opened; check that its directory exists and who may write there"
        }
        ErrorCode::DiskFull => FULL,
        ErrorCode::DatabaseCorrupt => {
            "the file is damaged; restore a backup, or recover it with `sqlite3 FILE .recover`"
        }
        _ if matches!(error.extended_code, ffi::SQLITE_IOERR_READ | ffi::SQLITE_IOERR_WRITE) => {
            "the disk reports an error; nothing was changed: look into the system's log"
        }
        // A commit whose last sync fails may have been made.
        ErrorCode::SystemIoFailure => {
            "the disk reports an error, and what was asked for may have been done or not: look into the system's log"
        }
        _ => "SQLite refuses",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_by_sqlite_names_the_file_and_says_what_to_do() {
        for (code, part) in [
            (ffi::SQLITE_NOTADB, "name another file"),
            (ffi::SQLITE_BUSY, "locked for too long"),
            (ffi::SQLITE_READONLY, "check owner, mode and mount"),
            (ffi::SQLITE_FULL, "make room"),
            (ffi::SQLITE_IOERR_SHMSIZE, "make room"),
            (ffi::SQLITE_CORRUPT, "restore a backup"),
            (ffi::SQLITE_IOERR_WRITE, "nothing was changed: look into the system's log"),
            (ffi::SQLITE_IOERR_FSYNC, "may have been done or not: look into the system's log"),
        ] {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            let message = Fault::Sql(error).at(Path::new("/data/queue.db")).to_string();
            assert!(message.starts_with("queue /data/queue.db: ") && message.contains(part), "{message}");
        }
    }
}
