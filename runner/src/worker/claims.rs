//! Claiming jobs: as many as there are free slots, and some ahead while slots become free within milliseconds.
//!
//! A claim is a commit, so it takes milliseconds, in which slots would stand empty that small jobs leave sooner. What
//! is claimed ahead is kept from other workers, so it is no more than what ended in about the time that a claim
//! takes, and nothing if jobs are long; and it goes back if it has waited in vain. A queue that cannot undo that is asked
//! for no more than there are free slots.

use super::attempt::make;
use super::ending::give_back;
use super::{LOOK, PAUSE, Shared, Shutdown, WorkerOptions};
use crate::queue::{Claimed, Interest, QueueError, Watch};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

/// What ended in this time, and in the time that the last claim took, is claimed ahead.
const WINDOW: Duration = Duration::from_millis(20);
/// However long a claim takes, no more is claimed ahead than what ended in this time.
const LONGEST_WINDOW: Duration = Duration::from_millis(60);
/// How long a job that was claimed ahead waits for a slot before it is given back.
const PATIENCE: Duration = Duration::from_millis(100);

/// Documents of so many bytes may wait in memory; whoever has more claims no more ahead.
const MOST_BYTES: u64 = 16 << 20;

/// Claims jobs and gives them slots.
pub(super) struct Claims<'a> {
    shared: &'a Arc<Shared>,
    options: &'a WorkerOptions,
    attempts: &'a mut JoinSet<()>,
    slots: Arc<Semaphore>,
    /// Claimed, and not yet in a slot.
    ahead: VecDeque<Waiting>,
    /// The claim that is under way.
    asked: Option<Asked>,
    /// Why no claim is made for the moment.
    rest: Option<Rest>,
    /// How long the last claim took.
    latency: Duration,
    made: u64,
}

struct Waiting {
    claimed: Claimed,
    since: Instant,
}

struct Asked {
    most: usize,
    since: Instant,
    answer: JoinHandle<Result<Vec<Claimed>, QueueError>>,
}

#[derive(Clone, Copy)]
enum Rest {
    /// There was less than was asked for.
    UntilNews,
    /// The queue failed.
    Until(Instant),
}

enum Step {
    End,
    Slot(OwnedSemaphorePermit),
    Answer(Result<Vec<Claimed>, QueueError>),
    GiveBack,
    Rested,
}

impl<'a> Claims<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>, options: &'a WorkerOptions, attempts: &'a mut JoinSet<()>) -> Self {
        let slots = Arc::new(Semaphore::new(options.slots as usize));
        let (ahead, latency) = (VecDeque::new(), Duration::ZERO);
        Self { shared, options, attempts, slots, ahead, asked: None, rest: None, latency, made: 0 }
    }

    /// Claims and starts jobs until there is a reason to end. Returns how many were started.
    pub(super) async fn run(mut self, shutdown: &mut watch::Receiver<Shutdown>) -> u64 {
        let mut news = self.shared.queue.watch(Interest::Work(self.options.tubes.clone()));
        while self.options.max_jobs.is_none_or(|most| self.made < most) {
            self.ask();
            match self.step(&mut *news, shutdown).await {
                Step::End => break,
                Step::Slot(slot) => self.start(slot),
                Step::Answer(Ok(claimed)) => {
                    if self.take(claimed) && self.options.until_empty && self.is_empty().await {
                        break;
                    }
                }
                Step::Answer(Err(error)) => {
                    self.shared.trouble("claiming a job", &error);
                    self.asked = None;
                    self.rest = Some(Rest::Until(Instant::now() + PAUSE));
                }
                Step::GiveBack => self.give_back(),
                Step::Rested => self.rest = None,
            }
            while self.attempts.try_join_next().is_some() {}
        }
        self.stop().await
    }

    /// Asks for jobs if there is room for them.
    fn ask(&mut self) {
        if self.asked.is_some() || self.rest.is_some() {
            return;
        }
        let now = Instant::now();
        let window = (WINDOW + self.latency).min(LONGEST_WINDOW);
        let ahead = match self.shared.queue.undoes_claims() {
            true => self.shared.pace.within(window, now),
            false => 0,
        };
        let bytes: u64 = self.ahead.iter().map(|waiting| waiting.claimed.size).sum();
        // A claim for each job that starts would be a commit for each.
        if self.ahead.len() > ahead / 2 || bytes > MOST_BYTES {
            return;
        }
        let left = self.options.max_jobs.map_or(u64::MAX, |most| most - self.made);
        let left = usize::try_from(left).unwrap_or(usize::MAX).saturating_sub(self.ahead.len());
        let most = (self.slots.available_permits() + ahead).saturating_sub(self.ahead.len()).min(left);
        if most == 0 {
            return;
        }
        let (shared, tubes) = (Arc::clone(self.shared), self.options.tubes.clone());
        // A task, since a claim that is dropped may leave jobs leased.
        let answer = tokio::spawn(async move { shared.queue.claim(&shared.id, &tubes, most).await });
        self.asked = Some(Asked { most, since: now, answer });
    }

    /// Waits for what comes next.
    async fn step(&mut self, news: &mut dyn Watch, shutdown: &mut watch::Receiver<Shutdown>) -> Step {
        let oldest = self.ahead.front().map(|waiting| waiting.since + PATIENCE);
        // With nothing to start, a free slot matters only to the next claim.
        let wants_slot = oldest.is_some() || (self.asked.is_none() && self.rest.is_none());
        let rest = self.rest;
        tokio::select! {
            _ = shutdown.wait_for(|told| *told != Shutdown::No) => Step::End,
            slot = Arc::clone(&self.slots).acquire_owned(), if wants_slot => {
                Step::Slot(slot.expect("nobody closes the semaphore"))
            }
            answer = answer(&mut self.asked), if self.asked.is_some() => Step::Answer(answer),
            () = until(oldest), if oldest.is_some() => Step::GiveBack,
            () = rested(rest, news), if rest.is_some() => Step::Rested,
        }
    }

    fn start(&mut self, slot: OwnedSemaphorePermit) {
        if let Some(Waiting { claimed, .. }) = self.ahead.pop_front() {
            self.made += 1;
            self.attempts.spawn(make(Arc::clone(self.shared), claimed, slot));
        }
    }

    /// Takes what was claimed; whether that was nothing at all.
    fn take(&mut self, claimed: Vec<Claimed>) -> bool {
        let now = Instant::now();
        let Some(asked) = self.asked.take() else { return false };
        self.latency = now.duration_since(asked.since);
        if claimed.len() < asked.most {
            self.rest = Some(Rest::UntilNews);
        }
        let is_nothing = claimed.is_empty() && self.ahead.is_empty();
        for claimed in claimed {
            self.shared.leases.add(claimed.lease.clone());
            self.ahead.push_back(Waiting { claimed, since: now });
        }
        is_nothing
    }

    async fn is_empty(&self) -> bool {
        match self.shared.queue.has_work(&self.shared.id, &self.options.tubes).await {
            Ok(has_work) => !has_work,
            Err(error) => {
                self.shared.trouble("asking for work", &error);
                false
            }
        }
    }

    /// Gives back what has not been started.
    fn give_back(&mut self) {
        self.shared.pace.forget();
        for Waiting { claimed, .. } in self.ahead.drain(..) {
            self.attempts.spawn(give_back(Arc::clone(self.shared), claimed));
        }
    }

    async fn stop(mut self) -> u64 {
        if let Some(asked) = &mut self.asked {
            match answered(&mut asked.answer).await {
                Ok(claimed) => {
                    self.take(claimed);
                }
                Err(error) => self.shared.trouble("claiming a job", &error),
            }
        }
        self.give_back();
        self.made
    }
}

async fn answer(asked: &mut Option<Asked>) -> Result<Vec<Claimed>, QueueError> {
    match asked {
        Some(asked) => answered(&mut asked.answer).await,
        None => std::future::pending().await,
    }
}

async fn answered(answer: &mut JoinHandle<Result<Vec<Claimed>, QueueError>>) -> Result<Vec<Claimed>, QueueError> {
    answer.await.unwrap_or_else(|panic| Err(QueueError::Backend(format!("the queue failed: {panic}"))))
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

async fn rested(rest: Option<Rest>, news: &mut dyn Watch) {
    match rest {
        Some(Rest::UntilNews) => news.changed(LOOK).await,
        Some(Rest::Until(time)) => until(Some(time)).await,
        None => std::future::pending().await,
    }
}
