//! A thread that owns a connection and does what it is sent, one thing after the other.

use super::fault::{Fault, no_thread};
use std::thread::JoinHandle;
use tokio::sync::mpsc;

/// As many commands may wait; whoever sends more waits too.
const WAITING: usize = 1024;

/// The way to such a thread. When it is dropped, the thread does what is still waiting, and ends.
pub(super) struct Lane<C> {
    sender: Option<mpsc::Sender<C>>,
    thread: Option<JoinHandle<()>>,
}

impl<C: Send + 'static> Lane<C> {
    /// Starts a thread that runs `serve` until no more commands can come.
    pub(super) fn start(name: &str, serve: impl FnOnce(mpsc::Receiver<C>) + Send + 'static) -> Result<Self, Fault> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || serve(receiver));
        let thread = thread.map_err(|error| no_thread(&error))?;
        Ok(Self { sender: Some(sender), thread: Some(thread) })
    }

    /// Sends a command. If the thread is gone, the command is dropped, and with it its way to answer.
    pub(super) async fn send(&self, command: C) {
        if let Some(sender) = &self.sender {
            let _ = sender.send(command).await;
        }
    }
}

impl<C> Drop for Lane<C> {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}
