//! Jobs that fit a filter, a page at a time: memory does not grow with the queue.

use longboat::job::Record;
use longboat::queue::{Cursor, Filter, Queue, QueueError};

/// How many jobs are read, or acted on, at once.
pub const PAGE: usize = 500;

/// What is still to come of a listing.
pub struct Pages<'q> {
    queue: &'q dyn Queue,
    filter: Filter,
    after: Option<Cursor>,
    left: u64,
}

impl<'q> Pages<'q> {
    /// The jobs that fit, in the order in which they were submitted; at most so many.
    pub fn new(queue: &'q dyn Queue, filter: Filter, most: Option<u64>) -> Self {
        Self { queue, filter, after: None, left: most.unwrap_or(u64::MAX) }
    }

    /// The next page, which has at least one job; nothing once there are no more.
    ///
    /// # Errors
    /// The queue's.
    pub async fn next(&mut self) -> Result<Option<Vec<Record>>, QueueError> {
        while self.left > 0 {
            let most = usize::try_from(self.left).map_or(PAGE, |left| left.min(PAGE));
            let (page, next) = self.queue.list(&self.filter, self.after, most).await?;
            self.after = next;
            self.left = if next.is_some() { self.left.saturating_sub(page.len() as u64) } else { 0 };
            if !page.is_empty() {
                return Ok(Some(page));
            }
        }
        Ok(None)
    }
}
