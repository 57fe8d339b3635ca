//! Stopping guests whose jobs were cancelled, or are another worker's by now.

use super::{LOOK, PAUSE, Shared};
use crate::queue::Interest;
use std::sync::Arc;
use std::time::Duration;

/// How often the queue is asked at most: a cancel has 50 ms to stop its guest, some of which pass before another
/// process's commit is noticed.
const PERIOD: Duration = Duration::from_millis(10);

/// Asks the queue, whenever it has changed, which of the leases whose guests run are still this worker's.
///
/// A guest that starts is asked after as well: what it was recalled by may have come before.
pub(super) async fn recall(shared: Arc<Shared>) {
    let mut news = shared.queue.watch(Interest::Anything);
    loop {
        if shared.leases.running().0.is_empty() {
            shared.leases.started().await;
        } else {
            tokio::select! {
                () = shared.leases.started() => {}
                () = news.changed(LOOK) => {}
            }
        }
        tokio::time::sleep(PERIOD).await;
        let (running, asked) = shared.leases.running();
        if running.is_empty() {
            continue;
        }
        match shared.queue.recalled(&shared.id, &running).await {
            Ok(recalled) => shared.leases.recall(&recalled, asked),
            Err(error) => {
                shared.trouble("asking for recalled leases", &error);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
