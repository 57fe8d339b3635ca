//! The thread that advances an engine's epoch.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use wasmtime::EngineWeak;

/// How long a slice of a guest lasts.
pub(super) const TICK: Duration = Duration::from_millis(1);

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
    /// Starts the thread; it ends with the engine.
    pub(super) fn start(engine: EngineWeak) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { running: Mutex::new(0), some: Condvar::new() });
        let own = Arc::clone(&shared);
        thread::Builder::new().name("epoch".to_owned()).spawn(move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                thread::sleep(TICK);
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
