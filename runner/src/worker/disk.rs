//! Threads that wait for the disk.

use std::io;
use tokio::runtime::{Builder, Runtime};

/// A few threads for what blocks: more of them would only be in each other's way.
#[derive(Debug)]
pub(super) struct Disk(Option<Runtime>);

impl Disk {
    /// At most so many threads, started when they are needed.
    pub(super) fn new(threads: u32) -> io::Result<Self> {
        // Of this runtime nothing but the threads for blocking work is used, whose number no call can limit.
        let threads = usize::try_from(threads).unwrap_or(1).max(1);
        Builder::new_current_thread().thread_name("disk").max_blocking_threads(threads).build().map(Some).map(Self)
    }

    /// Does the work on one of the threads, after all that was asked for before.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        match &self.0 {
            Some(runtime) => runtime.spawn_blocking(work).await.map_err(io::Error::other),
            None => Err(io::Error::other("the worker has ended")),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Blocking here would be a panic on an asynchronous caller's thread.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
