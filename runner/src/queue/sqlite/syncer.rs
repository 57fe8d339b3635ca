//! A thread that syncs the write-ahead log, so that no commit waits for the disk under the file's lock.
//!
//! SQLite's own sync is part of the commit: nobody else can write until the disk has answered. Here a commit is only
//! written (`synchronous = NORMAL`), and the log is synced afterwards, once for all commits that came meanwhile. An
//! answer that promises durability waits for that sync. The log's frames have checksums, so a loss of power undoes
//! whole commits from the end, never parts of them (<https://www.sqlite.org/walformat.html>).

use super::fault::{Fault, no_thread};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A commit that promises no durability is synced at the latest after this time.
const SOON: Duration = Duration::from_secs(1);
/// Groups of answers that wait for a sync. A disk that is slower holds up the writer.
const WAITING: usize = 64;

/// Answers a group of commands, once it is known whether their commit is on disk.
type Answer = Box<dyn FnOnce(io::Result<()>) + Send>;

enum Order {
    /// Sync now, and then answer.
    Now(Answer),
    /// Sync soon.
    Soon,
}

/// The way to the thread.
pub(super) struct Syncer {
    orders: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<()>>,
    has_failed: Arc<AtomicBool>,
    /// How often the log was synced.
    #[cfg(test)]
    pub(super) syncs: Arc<std::sync::atomic::AtomicU32>,
}

impl Syncer {
    /// Starts a thread for the log of the file at `path`.
    pub(super) fn start(path: &Path) -> Result<Self, Fault> {
        let (orders, received) = sync_channel(WAITING);
        let has_failed = Arc::new(AtomicBool::new(false));
        let mut log = Log {
            path: log_of(path),
            file: None,
            has_failed: Arc::clone(&has_failed),
            #[cfg(test)]
            syncs: Arc::default(),
        };
        #[cfg(test)]
        let syncs = Arc::clone(&log.syncs);
        let thread = std::thread::Builder::new().name("queue-syncer".to_owned()).spawn(move || log.serve(&received));
        Ok(Self {
            orders: Some(orders),
            thread: Some(thread.map_err(|error| no_thread(&error))?),
            has_failed,
            #[cfg(test)]
            syncs,
        })
    }

    /// Has `answer` called after a sync that begins now or later.
    pub(super) fn now(&self, answer: Answer) {
        let orders = self.orders.as_ref().expect("the thread lives until this is dropped");
        // If the thread is gone, the answer is dropped, and with it the way to the callers.
        let _ = orders.send(Order::Now(answer));
    }

    /// Has what was committed be synced within a second.
    pub(super) fn soon(&self) {
        let orders = self.orders.as_ref().expect("the thread lives until this is dropped");
        // Where orders wait, a sync is about to begin.
        if let Err(TrySendError::Disconnected(_)) = orders.try_send(Order::Soon) {
            tracing::error!("the thread that syncs the queue's log has ended");
        }
    }

    /// Whether a sync has failed. The system may have dropped what it could not write, so a later sync proves nothing:
    /// everything in the log has to be brought to its place first.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::SeqCst)
    }

    /// Everything in the log was brought to its place, on disk.
    pub(super) fn is_mended(&self) {
        self.has_failed.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
impl Syncer {
    /// As if a sync had failed; the flag that says so.
    pub(super) fn fail(&self) -> Arc<AtomicBool> {
        self.has_failed.store(true, Ordering::SeqCst);
        Arc::clone(&self.has_failed)
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

/// The log, as the thread has it.
struct Log {
    path: PathBuf,
    /// Kept open: the system tells of a failed write only those that had the file open then.
    file: Option<File>,
    has_failed: Arc<AtomicBool>,
    #[cfg(test)]
    syncs: Arc<std::sync::atomic::AtomicU32>,
}

impl Log {
    fn serve(&mut self, orders: &Receiver<Order>) {
        // Since when a commit is to be synced that nobody waits for.
        let mut owed: Option<Instant> = None;
        let mut answers = Vec::new();
        loop {
            let order = match owed {
                Some(since) => orders.recv_timeout(SOON.saturating_sub(since.elapsed())),
                None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let is_last = matches!(order, Err(RecvTimeoutError::Disconnected));
            for order in order.into_iter().chain(orders.try_iter()) {
                match order {
                    Order::Now(answer) => answers.push(answer),
                    Order::Soon => owed = owed.or_else(|| Some(Instant::now())),
                }
            }
            let is_due = owed.is_some_and(|since| is_last || since.elapsed() >= SOON);
            if is_due || !answers.is_empty() {
                owed = None;
                let synced = self.sync();
                if let Err(error) = &synced {
                    tracing::error!(path = %self.path.display(), %error, "the queue's log cannot be synced");
                }
                for answer in answers.drain(..) {
                    answer(
                        synced.as_ref().map(|&()| ()).map_err(|error| io::Error::new(error.kind(), error.to_string())),
                    );
                }
            }
            if is_last {
                return;
            }
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.has_failed.load(Ordering::SeqCst) {
            return Err(io::Error::other("an earlier sync has failed"));
        }
        let file = match self.file.take() {
            Some(file) => file,
            None => File::open(&self.path)?,
        };
        #[cfg(test)]
        self.syncs.fetch_add(1, Ordering::SeqCst);
        let synced = self.file.insert(file).sync_data();
        if synced.is_err() {
            self.has_failed.store(true, Ordering::SeqCst);
        }
        synced
    }
}

/// The write-ahead log of the file at `path`.
fn log_of(path: &Path) -> PathBuf {
    let mut log = OsString::from(path);
    log.push("-wal");
    log.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn syncer() -> (tempfile::TempDir, Syncer) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("queue.db");
        File::create(log_of(&path)).unwrap();
        (directory, Syncer::start(&path).unwrap())
    }

    fn count(syncer: &Syncer) -> u32 {
        syncer.syncs.load(Ordering::SeqCst)
    }

    /// What the answer to an order says.
    fn ask(syncer: &Syncer) -> io::Result<()> {
        let (sender, answer) = mpsc::channel();
        syncer.now(Box::new(move |synced| sender.send(synced).unwrap()));
        answer.recv().unwrap()
    }

    #[test]
    fn an_answer_follows_a_sync() {
        let (_directory, syncer) = syncer();
        for expected in 1..=3 {
            ask(&syncer).unwrap();
            assert_eq!(count(&syncer), expected);
        }
    }

    #[test]
    fn what_nobody_waits_for_is_synced_once_within_a_second() {
        let (_directory, syncer) = syncer();
        let long = SOON + Duration::from_millis(500);
        (0..5).for_each(|_| syncer.soon());
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(count(&syncer), 0);
        std::thread::sleep(long);
        assert_eq!(count(&syncer), 1);
        syncer.soon();
        ask(&syncer).unwrap();
        std::thread::sleep(long);
        assert_eq!(count(&syncer), 2, "another sync has carried it along");
        syncer.soon();
        let syncs = Arc::clone(&syncer.syncs);
        drop(syncer);
        assert_eq!(syncs.load(Ordering::SeqCst), 3, "at the end nothing is owed");
    }

    #[test]
    fn nothing_is_promised_after_a_failure_until_it_is_mended() {
        let (directory, syncer) = syncer();
        std::fs::remove_file(log_of(&directory.path().join("queue.db"))).unwrap();
        assert_eq!(ask(&syncer).unwrap_err().kind(), io::ErrorKind::NotFound);
        File::create(log_of(&directory.path().join("queue.db"))).unwrap();
        ask(&syncer).unwrap();
        syncer.fail();
        assert!(ask(&syncer).is_err() && syncer.has_failed());
        syncer.is_mended();
        ask(&syncer).unwrap();
    }
}
