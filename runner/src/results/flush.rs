//! Group sync: one thread makes durable what many attempts have put in place.
//!
//! Syncing costs nearly the same for one attempt and for a hundred. So whoever has placed an attempt asks for a sync
//! and waits; the thread takes all who ask, syncs once, and answers them. Those who ask meanwhile are next, so
//! nobody is answered by a sync that began before he had placed his attempt.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use tokio::sync::oneshot;

/// Makes these directories survive a power loss, with all that is in them and the names on the way to them.
pub(super) type Sync = Box<dyn FnMut(&[PathBuf]) -> io::Result<()> + Send>;

/// The way to the thread that syncs. When it is dropped, those who wait are answered first.
#[derive(Debug)]
pub(super) struct Flush {
    requests: Option<Sender<Request>>,
    failures: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

/// A directory that is to be synced.
struct Request {
    place: PathBuf,
    since: Since,
    answer: Box<dyn FnOnce(io::Result<()>) + Send>,
}

/// When somebody began to write what he will have synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Since(u64);

impl Flush {
    /// Starts the thread.
    pub(super) fn start(sync: Sync) -> io::Result<Self> {
        let (requests, receiver) = mpsc::channel();
        let failures = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&failures);
        let serve = move || serve(&receiver, sync, &counted);
        let thread = thread::Builder::new().name("results-flush".to_owned()).spawn(serve)?;
        Ok(Self { requests: Some(requests), failures, thread: Some(thread) })
    }

    /// To be asked for before anything is written.
    pub(super) fn since(&self) -> Since {
        Since(self.failures.load(Ordering::Acquire))
    }

    /// Waits until a sync is over that began after this was called; nobody writes to the directory any more.
    pub(super) async fn sync(&self, place: PathBuf, since: Since) -> io::Result<()> {
        let (sender, answer) = oneshot::channel();
        self.ask(place, since, move |synced| drop(sender.send(synced)));
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// The same, for threads that may block.
    pub(super) fn sync_blocking(&self, place: PathBuf, since: Since) -> io::Result<()> {
        let (sender, answer) = mpsc::channel();
        self.ask(place, since, move |synced| drop(sender.send(synced)));
        answer.recv().unwrap_or_else(|_| Err(stopped()))
    }

    /// A thread that is gone drops the request, and with it the answer.
    fn ask(&self, place: PathBuf, since: Since, answer: impl FnOnce(io::Result<()>) + Send + 'static) {
        if let Some(requests) = &self.requests {
            let _ = requests.send(Request { place, since, answer: Box::new(answer) });
        }
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

fn stopped() -> io::Error {
    io::Error::other("the thread that syncs results has stopped; see the log, and restart")
}

fn serve(requests: &Receiver<Request>, mut sync: Sync, failures: &AtomicU64) {
    while let Ok(first) = requests.recv() {
        let group: Vec<Request> = std::iter::once(first).chain(requests.try_iter()).collect();
        let places: Vec<PathBuf> = group.iter().map(|request| request.place.clone()).collect();
        let before = failures.load(Ordering::Acquire);
        let synced = sync(&places);
        if synced.is_err() {
            failures.store(before + 1, Ordering::Release);
        }
        for Request { since, answer, .. } in group {
            answer(match &synced {
                Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
                // The system tells of a write that failed once, to whoever syncs next, whosever it was.
                Ok(()) if since != Since(before) => Err(io::Error::other("a sync failed while it was being written")),
                Ok(()) => Ok(()),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::time::Duration;

    /// A sync that waits to be told its outcome, and tells of its groups.
    fn gated() -> (Flush, Sender<io::Result<()>>, Receiver<Vec<PathBuf>>) {
        let (outcomes, outcome) = mpsc::channel();
        let (began, groups) = mpsc::channel();
        let sync: Sync = Box::new(move |places| {
            began.send(places.to_vec()).unwrap();
            outcome.recv().unwrap()
        });
        (Flush::start(sync).unwrap(), outcomes, groups)
    }

    /// Asks, and goes on; the answer comes through the channel.
    fn ask(flush: &Flush, name: &str, since: Since) -> Receiver<io::Result<()>> {
        let (sender, answer) = mpsc::channel();
        flush.ask(place(name), since, move |synced| drop(sender.send(synced)));
        answer
    }

    fn place(name: &str) -> PathBuf {
        PathBuf::from(name)
    }

    fn failed() -> io::Result<()> {
        Err(io::Error::other("the disk is on fire"))
    }

    #[test]
    fn those_who_ask_during_a_sync_share_the_next_one() {
        let (flush, outcomes, groups) = gated();
        let first = ask(&flush, "a", flush.since());
        assert_eq!(groups.recv().unwrap(), [place("a")]);
        let late = ["b", "c"].map(|name| ask(&flush, name, flush.since()));
        outcomes.send(Ok(())).unwrap();
        first.recv().unwrap().unwrap();
        assert_eq!(groups.recv().unwrap(), [place("b"), place("c")]);
        let answered_early = late.iter().any(|ticket| ticket.try_recv().is_ok());
        assert!(!answered_early, "the sync that covers them is not over");
        outcomes.send(Ok(())).unwrap();
        late.into_iter().for_each(|ticket| ticket.recv().unwrap().unwrap());
    }

    #[test]
    fn a_sync_that_fails_fails_for_all_of_its_group_and_for_those_who_were_writing() {
        let (flush, outcomes, groups) = gated();
        let writing = flush.since();
        let gate = ask(&flush, "gate", flush.since());
        groups.recv().unwrap();
        let group = ["a", "b"].map(|name| ask(&flush, name, flush.since()));
        outcomes.send(Ok(())).unwrap();
        gate.recv().unwrap().unwrap();
        outcomes.send(failed()).unwrap();
        for ticket in group {
            assert_eq!(ticket.recv().unwrap().unwrap_err().to_string(), "the disk is on fire");
        }
        outcomes.send(Ok(())).unwrap();
        let told = ask(&flush, "c", writing).recv().unwrap().unwrap_err().to_string();
        assert!(told.contains("while it was being written"), "{told}");
        outcomes.send(Ok(())).unwrap();
        ask(&flush, "d", flush.since()).recv().unwrap().unwrap();
    }

    #[test]
    fn whoever_waits_when_it_is_dropped_is_answered() {
        let count = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&count);
        let sync: Sync = Box::new(move |places| {
            std::thread::sleep(Duration::from_millis(20));
            *counted.lock().unwrap() += places.len();
            Ok(())
        });
        let flush = Flush::start(sync).unwrap();
        let tickets = ["a", "b", "c"].map(|name| ask(&flush, name, flush.since()));
        drop(flush);
        tickets.into_iter().for_each(|ticket| ticket.recv().unwrap().unwrap());
        assert_eq!(*count.lock().unwrap(), 3);
    }

    #[test]
    fn a_thread_that_is_gone_is_an_error() {
        let flush = Flush::start(Box::new(|_| panic!("a bug"))).unwrap();
        let told = flush.sync_blocking(place("a"), flush.since()).unwrap_err().to_string();
        assert!(told.contains("has stopped"), "{told}");
        assert!(flush.sync_blocking(place("b"), flush.since()).is_err());
    }
}
