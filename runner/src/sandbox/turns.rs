//! How guests share a thread.
//!
//! A guest gives its thread away at every slice of fuel, some ten thousand times a second. Going back to the
//! runtime each time would cost more than the slice: it asks the kernel for events. So a guest goes on at
//! once until its turn is over, and only then others, timers and orders to stop are looked at. The epoch
//! ends turns as well, where guests look at it.

use super::stop::{Stop, StopReason};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};
use wasmtime::EngineWeak;

/// How long a guest has its thread for, where others wait for it.
pub(super) const TURN: Duration = Duration::from_millis(1);

/// Runs a guest in turns, until it ends or has to stop.
pub(super) async fn run<T>(guest: impl Future<Output = T>, stop: &Stop) -> Result<T, StopReason> {
    let mut guest = pin!(guest);
    let bell =
        Arc::new(Bell { rung: AtomicBool::new(false), listening: AtomicBool::new(false), outer: Mutex::new(None) });
    let waker = Waker::from(Arc::clone(&bell));
    poll_fn(|context| {
        bell.pass_on_to(context.waker());
        let began = Instant::now();
        loop {
            bell.listening.store(true, Ordering::SeqCst);
            let polled = guest.as_mut().poll(&mut Context::from_waker(&waker));
            bell.listening.store(false, Ordering::SeqCst);
            let gave_way = bell.rung.swap(false, Ordering::SeqCst);
            match polled {
                Poll::Ready(ended) => return Poll::Ready(Ok(ended)),
                Poll::Pending if !gave_way => return Poll::Pending,
                Poll::Pending => {}
            }
            if began.elapsed() >= TURN {
                if let Some(reason) = stop.reason() {
                    return Poll::Ready(Err(reason));
                }
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    })
    .await
}

/// Gives the thread away once.
pub(super) async fn give_way() {
    let mut gave_way = false;
    poll_fn(|context| {
        if std::mem::replace(&mut gave_way, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The waker of a guest. It tells a guest that gave its thread away, and wants to go on, from one that
/// waits.
struct Bell {
    rung: AtomicBool,
    /// Whether the guest is being polled: then ringing is all there is to do.
    listening: AtomicBool,
    outer: Mutex<Option<Waker>>,
}

impl Bell {
    fn pass_on_to(&self, waker: &Waker) {
        let mut outer = self.outer.lock().unwrap_or_else(PoisonError::into_inner);
        if !outer.as_ref().is_some_and(|outer| outer.will_wake(waker)) {
            *outer = Some(waker.clone());
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::SeqCst);
        if !self.listening.load(Ordering::SeqCst)
            && let Some(outer) = &*self.outer.lock().unwrap_or_else(PoisonError::into_inner)
        {
            outer.wake_by_ref();
        }
    }
}

/// Ticks while any guest runs, and sleeps otherwise.
#[derive(Debug, Clone)]
pub(super) struct Ticker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    running: Mutex<usize>,
    some: Condvar,
}

/// Keeps the ticker awake.
#[derive(Debug)]
pub(super) struct Ticking(Arc<Shared>);

impl Ticker {
    /// Starts the thread, which ticks once in every `tick`; it ends with the engine.
    pub(super) fn start(engine: EngineWeak, tick: Duration) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { running: Mutex::new(0), some: Condvar::new() });
        let own = Arc::clone(&shared);
        thread::Builder::new().name("epoch".to_owned()).spawn(move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                thread::sleep(tick);
                let running = own.running.lock().unwrap_or_else(PoisonError::into_inner);
                // Waking up once in a while is enough to notice that the engine is gone.
                let wait = own.some.wait_timeout_while(running, Duration::from_secs(1), |running| *running == 0);
                drop(wait);
            }
        })?;
        Ok(Self(shared))
    }

    /// Ticks as long as the answer lives.
    pub(super) fn keep(&self) -> Ticking {
        *self.0.running.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.some.notify_one();
        Ticking(Arc::clone(&self.0))
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        *self.0.running.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
    }
}
