//! Connections to a queue's file: who uses it and how, where it may lie, and how it is opened.
//!
//! Processes of one machine use a write-ahead log: readers and the writer do not wait for each other. Its
//! index is in memory that they share, which machines cannot. Processes of several machines use a rollback
//! journal, which needs nothing but the file system's locks. A process of the first kind would damage the
//! file of the second kind, so that file carries a mark. The mark and the journal's mode are changed only
//! under a lock under which the other of them was looked at.

use super::fault::Fault;
use super::schema;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::cell::{Cell, RefCell};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

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
    /// How much is synced at a commit. EXTRA also syncs the directory in which a journal was deleted, as
    /// SQLite itself does after a crash, whatever mode it is told later.
    fn synchronous(self) -> &'static str {
        match self {
            Sharing::OneMachine => "full",
            Sharing::ManyMachines => "extra",
        }
    }
}

/// How long another process may keep the file locked before that is an error.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same where a lock is a request to a file server, which many machines send.
const SHARED_PATIENCE: Duration = Duration::from_secs(30);

/// Whoever waits is asked every few milliseconds, so whoever was asked so lately still waits.
const LATELY: Duration = Duration::from_millis(100);
/// How often it is looked whether a thread waits.
const LOOK: Duration = Duration::from_millis(10);
/// In this time after a long lock all who were kept out have their turn.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// Makes the directory of a queue's file if there is none.
pub(super) fn make_directory(path: &Path) -> Result<(), Fault> {
    path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(|error| {
        Fault::Unusable(format!("its directory cannot be made ({error}); check the path and who may write there"))
    })
}

/// Opens the connection that writes, makes the file if there is none, and brings it to the newest schema.
///
/// # Errors
/// A file that is no database, or another program's, or of a newer version of this one; a place or a use
/// that does not go with `sharing`.
pub(super) fn writer(path: &Path, sharing: Sharing) -> Result<Connection, Fault> {
    check_place(path, sharing)?;
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
        let mut connection = agreed(path, sharing)?;
        connection.set_transaction_behavior(TransactionBehavior::Immediate);
        schema::migrate(&mut connection)?;
        if sharing == Sharing::OneMachine || mark(&connection)? {
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
    check_place(path, sharing)?;
    if !path.exists() {
        return Err(Fault::Unusable("there is no such file; name the queue with --queue or --data-dir".to_owned()));
    }
    let connection = raw(path, OpenFlags::empty(), sharing)?;
    connection.pragma_update(None, "query_only", true)?;
    if sharing == Sharing::ManyMachines && !has_log(path) {
        keep_journal(&connection)?;
    }
    examine(&connection, sharing)?;
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
        // These are the connection's own, so each has to be told. PERSIST leaves the journal where it is
        // (see `mark`); memory that is mapped would not show what other machines write.
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
    // What does not fit into the page cache would else go to the system's temporary directory, where a
    // confined worker has no business.
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.set_prepared_statement_cache_capacity(128);
    // Else a statement is compiled anew whenever a value is bound on which its plan might depend.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

fn handler(sharing: Sharing) -> fn(i32) -> bool {
    match sharing {
        Sharing::OneMachine => wait_for_lock,
        Sharing::ManyMachines => wait_for_shared_lock,
    }
}

/// Waits one millisecond at a time: SQLite's own handler sleeps up to 100, and so hardly ever meets the
/// moment between two commits of a busy neighbour.
fn wait_for_lock(attempt: i32) -> bool {
    if !waits() {
        return false;
    }
    found();
    std::thread::sleep(Duration::from_millis(1));
    u128::try_from(attempt).is_ok_and(|waited| waited < PATIENCE.as_millis())
}

/// Waits from one to eight milliseconds in turn, so that two who wait do not always come at the same time.
fn wait_for_shared_lock(attempt: i32) -> bool {
    if !waits() {
        return false;
    }
    found();
    let attempt = u64::try_from(attempt).unwrap_or(0);
    std::thread::sleep(Duration::from_millis(1 + attempt % 8));
    Duration::from_millis(attempt * 9 / 2) < SHARED_PATIENCE
}

// Whether another process has the file locked is to be known before the waiting for that is over, and for a
// while afterwards. SQLite asks a function again and again whether to go on waiting, and gives it nothing
// but a count. So each thread has a place of its own where that function leaves word.

thread_local! {
    static HERE: RefCell<Option<Locked>> = const { RefCell::new(None) };
    static WAITS: Cell<bool> = const { Cell::new(true) };
}

/// Does something without waiting for any lock.
pub(super) fn without_waiting<T>(work: impl FnOnce() -> T) -> T {
    WAITS.set(false);
    let done = work();
    WAITS.set(true);
    done
}

/// Whether this thread waits for locks.
fn waits() -> bool {
    WAITS.get()
}

/// How somebody else's locks have kept a thread from the file.
#[derive(Debug, Clone, Default)]
pub(super) struct Locked(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    /// Since when the thread waits, and when it last found the file locked, if it has not got it since.
    waits: Option<(Instant, Instant)>,
    /// How long the last wait was that was no ordinary one, and when it was over.
    over: Option<(Duration, Instant)>,
}

impl Locked {
    /// From now on it is told here when this thread finds the file locked, and when it gets it.
    pub(super) fn watch_this_thread(&self) {
        HERE.set(Some(self.clone()));
    }

    fn is_now(&self) -> bool {
        guard(&self.0).waits.is_some_and(|(_, found)| found.elapsed() < LATELY)
    }

    /// Waits for `patience`, and then until the thread finds the file locked.
    pub(super) async fn after(&self, patience: Duration) {
        tokio::time::sleep(patience).await;
        while !self.is_now() {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether the thread has got the file just now, after having been kept out for longer than this.
    pub(super) fn is_just_over(&self, long: Duration) -> bool {
        guard(&self.0).over.is_some_and(|(lasted, over)| lasted > long && over.elapsed() < AFTERWARDS)
    }
}

/// Leaves word that this thread finds the file locked.
fn found() {
    tell(|seen, now| {
        let waits = seen.waits.filter(|(_, found)| now.duration_since(*found) < LATELY);
        seen.waits = Some((waits.map_or(now, |(since, _)| since), now));
    });
}

/// Leaves word that this thread has got the file.
pub(super) fn got_lock() {
    tell(|seen, _| {
        let over = seen.waits.take().map(|(since, found)| (found.duration_since(since), found));
        // What is ordinary in the crowd after a long lock is not to hide it.
        seen.over = over.filter(|(lasted, _)| *lasted >= AFTERWARDS).or(seen.over);
    });
}

fn tell(what: impl FnOnce(&mut Seen, Instant)) {
    HERE.with_borrow(|here| {
        if let Some(locked) = here {
            what(&mut guard(&locked.0), Instant::now());
        }
    });
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens the connection that writes, in the journal mode that goes with `sharing`.
fn agreed(path: &Path, sharing: Sharing) -> Result<Connection, Fault> {
    if sharing == Sharing::ManyMachines {
        leave_wal(path)?;
        return connect(path, OpenFlags::SQLITE_OPEN_CREATE, sharing);
    }
    loop {
        let connection = connect(path, OpenFlags::SQLITE_OPEN_CREATE, sharing)?;
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
fn examine(connection: &Connection, sharing: Sharing) -> Result<(), Fault> {
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

/// Gives a file that has no write-ahead log one, for those who open it next. This connection is to be
/// closed.
fn enter_wal(connection: &Connection) -> Result<(), Fault> {
    connection.execute_batch("BEGIN EXCLUSIVE")?;
    if journal_mode(connection)? == "wal" {
        return Ok(());
    }
    examine(connection, Sharing::OneMachine)?;
    // The lock outlasts the commit, so that no mark comes in between. A log that was begun under such a
    // lock cannot be shared, not even with this process's other connections.
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
    let connection = raw(path, OpenFlags::SQLITE_OPEN_CREATE, Sharing::OneMachine)?;
    // Under an exclusive lock a log is read without memory that is shared.
    connection.execute_batch("PRAGMA locking_mode = exclusive")?;
    examine(&connection, Sharing::ManyMachines)?;
    connection.execute_batch("PRAGMA journal_mode = persist")?;
    Ok(())
}

/// Marks a file as used by several machines, unless somebody has given it a write-ahead log meanwhile;
/// whether it is marked now.
///
/// The journal is there from then on, and neither comes nor goes. An NFS client that has looked for a file
/// knows for up to a minute that it was not there, or was empty; but it asks the server when it opens one,
/// and what SQLite has to know after a crash is then in the journal's first byte.
fn mark(connection: &Connection) -> Result<bool, Fault> {
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

/// Whether a file has a write-ahead log. It is asked by a connection that can roll nothing back: a file
/// whose journal is to be rolled back cannot be read by it, and has no log.
fn has_log(path: &Path) -> bool {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // The mode is known once something was read.
    let mode = Connection::open_with_flags(path, flags)
        .and_then(|connection| application_id(&connection).and_then(|_| journal_mode(&connection)));
    mode.is_ok_and(|mode| mode == "wal")
}

/// Has a connection that only reads leave the journal where it is, should it be the first one after a crash.
fn keep_journal(connection: &Connection) -> Result<(), Fault> {
    // The mode is told by a read, which is already what rolls back, and only an exclusive lock keeps the
    // journal then.
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

/// File systems that other machines may write to at the same time, by the numbers that `statfs` gives them.
///
/// What is behind FUSE nobody can tell: GlusterFS, sshfs and the directories of virtual machines among
/// others. Those that share one disk (GFS2, OCFS2, ACFS, VxFS) are among them because they need not share
/// memory. Sources: `linux/magic.h`, and what `stat.c` of the GNU coreutils calls remote.
const NETWORK: [(u32, &str); 25] = [
    (0x0000_517B, "SMB"),
    (0x0000_564C, "NCP"),
    (0x0000_6969, "NFS"),
    (0x00C3_6400, "Ceph"),
    (0x0102_1997, "9p"),
    (0x0116_1970, "GFS2"),
    (0x0131_11A8, "IBRIX"),
    (0x0BD0_0BD0, "Lustre"),
    (0x1983_0326, "BeeGFS"),
    (0x2003_0528, "OrangeFS"),
    (0x4750_4653, "GPFS"),
    (0x5346_414F, "AFS"),
    (0x6163_6673, "ACFS"),
    (0x6573_5546, "FUSE"),
    (0x6B41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x7461_636F, "OCFS2"),
    (0x786F_4256, "VirtualBox's shared folders"),
    (0x7C7C_6673, "Parallels' shared folders"),
    (0xA501_FCF5, "VxFS"),
    (0xAAD7_AAEA, "PanFS"),
    (0xBACB_ACBC, "VMware's shared folders"),
    (0xBEEF_DEAD, "StorNext"),
    (0xFE53_4D42, "SMB"),
    (0xFF53_4D42, "SMB"),
];

/// Options of mounts with which a lock is not told to the server, by the beginning of the file system's
/// type.
const LOCKS_STAY_HERE: [(&str, &[&str]); 3] = [
    ("nfs", &["nolock", "local_lock=all", "local_lock=posix", "local_lock=flock"]),
    ("cifs", &["nobrl"]),
    ("lustre", &["localflock"]),
];

/// Refuses a place where a file cannot be used in this way.
fn check_place(path: &Path, sharing: Sharing) -> Result<(), Fault> {
    let directory = directory_of(path);
    match sharing {
        Sharing::OneMachine => match network(&directory) {
            Some(name) => Err(Fault::Unusable(format!(
                "its directory is on {name}, where other machines may use it too, and the write-ahead log of a file that \
                 several machines use is damaged sooner or later; give --shared (or LONGBOAT_SHARED=1) to every command \
                 that uses it, or keep it on a local disk with --queue sqlite:PATH or --data-dir DIR"
            ))),
            None => Ok(()),
        },
        Sharing::ManyMachines => match unlocked(&directory) {
            Some(option) => Err(Fault::Unusable(format!(
                "its directory is mounted with the option {option}, so no other machine sees this one's locks, and they \
                 would damage the file; mount it without that option"
            ))),
            None => Ok(()),
        },
    }
}

/// Whether other machines may write to the directory of a queue's file, as far as can be told.
pub(super) fn is_on_network(path: &Path) -> bool {
    network(&directory_of(path)).is_some()
}

/// The directory in which SQLite makes its files; behind a link, if the queue's file is one.
fn directory_of(path: &Path) -> PathBuf {
    let file = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    match file.parent() {
        Some(directory) if directory != Path::new("") => directory.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// The network file system that a directory is on. If that cannot be found out, opening the file will say
/// why.
#[cfg(target_os = "linux")]
fn network(directory: &Path) -> Option<&'static str> {
    // The numbers have 32 bits, in a field whose width and sign depend on the machine.
    rustix::fs::statfs(directory).ok().and_then(|answer| named(answer.f_type as u32))
}

/// Nothing is known of other systems' numbers.
#[cfg(not(target_os = "linux"))]
fn network(_: &Path) -> Option<&'static str> {
    None
}

fn named(number: u32) -> Option<&'static str> {
    NETWORK.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}

/// The option by which the locks on a directory's files stay on this machine.
fn unlocked(directory: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let device = directory.metadata().ok()?.dev();
    let device = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    option_in(&std::fs::read_to_string("/proc/self/mountinfo").ok()?, &device).map(str::to_owned)
}

/// That option in a text like `/proc/self/mountinfo`: device in the third column, type and options after a
/// dash.
fn option_in<'a>(mounts: &'a str, device: &str) -> Option<&'a str> {
    let mounts = mounts.lines().filter(|line| line.split(' ').nth(2) == Some(device));
    mounts.filter_map(|line| line.split_once(" - ")).find_map(|(_, rest)| {
        let mut columns = rest.split(' ');
        let (kind, options) = (columns.next()?, columns.nth(1)?);
        let (_, bad) = LOCKS_STAY_HERE.iter().find(|(known, _)| kind.starts_with(known))?;
        options.split(',').find(|option| bad.contains(option))
    })
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
        let looking = spectator(&left, Sharing::ManyMachines).unwrap();
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
            let looking = spectator(&path, Sharing::ManyMachines).unwrap();
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

    #[test]
    fn network_file_systems_are_known_by_their_numbers_and_local_ones_are_none() {
        let network = [
            (0x6969, "NFS"),
            (0xFF53_4D42, "SMB"),
            (0x0102_1997, "9p"),
            (0x6573_5546, "FUSE"),
            (0x0BD0_0BD0, "Lustre"),
        ];
        for (number, name) in network {
            assert_eq!(named(number), Some(name));
        }
        let (ext4, xfs, btrfs, tmpfs, overlay, zfs) =
            (0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x794C_7630, 0x2FC1_2FC1);
        assert!([ext4, xfs, btrfs, tmpfs, overlay, zfs, 0].iter().all(|number| named(*number).is_none()));
        let mut numbers: Vec<_> = NETWORK.iter().map(|(number, _)| number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), NETWORK.len(), "no number stands there twice");
    }

    #[test]
    fn a_mount_whose_locks_do_not_leave_the_machine_is_found_by_its_device() {
        let mounts = "\
            36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n\
            41 35 0:52 / /srv/q rw,relatime shared:1 - nfs4 host:/q rw,vers=4.2,local_lock=none,addr=192.0.2.7\n\
            42 35 0:53 / /srv/r rw,relatime - nfs host:/r rw,vers=3,nolock,local_lock=all,addr=192.0.2.7\n\
            43 35 0:54 / /srv/s rw - cifs //host/s rw,vers=3.0,nobrl\n\
            44 35 0:55 / /srv/t rw,nolock - ext4 /dev/sdb rw,nolock\n\
            garbage\n";
        for (device, option) in
            [("98:0", None), ("0:52", None), ("0:53", Some("nolock")), ("0:54", Some("nobrl")), ("0:55", None)]
        {
            assert_eq!(option_in(mounts, device), option, "{device}");
        }
        assert_eq!(option_in("", "0:52"), None);
    }

    #[test]
    fn the_disk_of_the_tests_is_good_for_either_use() {
        let directory = tempfile::tempdir().unwrap();
        for sharing in [Sharing::OneMachine, Sharing::ManyMachines] {
            check_place(&directory.path().join("queue.db"), sharing).unwrap();
        }
        assert_eq!(directory_of(Path::new("queue.db")), Path::new("."));
        let link = directory.path().join("link");
        let elsewhere = tempfile::tempdir().unwrap();
        std::fs::write(elsewhere.path().join("q"), "").unwrap();
        std::os::unix::fs::symlink(elsewhere.path().join("q"), &link).unwrap();
        assert_eq!(directory_of(&link), elsewhere.path().canonicalize().unwrap());
    }
}
