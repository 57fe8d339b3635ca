//! What is published of an attempt.

use crate::job::{Job, Provenance, ResultDocument, State, Usage, Verdict};
use crate::sandbox::Tree;
use cap_std::fs::Dir;
use jiff::Timestamp;
use serde_json::value::RawValue;
use std::io;

/// What an attempt reports.
#[derive(Debug)]
pub struct Report {
    pub(super) verdict: Verdict,
    pub(super) result: Option<Box<RawValue>>,
    pub(super) tree: Option<Tree>,
    pub(super) usage: Usage,
    pub(super) provenance: Provenance,
}

impl Report {
    /// Puts the files of an attempt that is done, if there are any, into an empty directory that `target` opens, under their names, and makes the
    /// result document of an attempt after which the job is in `state`. It blocks.
    ///
    /// # Errors
    /// The disk's.
    pub fn publish<'a>(
        self,
        job: &Job,
        attempt: u32,
        state: State,
        target: impl FnOnce() -> io::Result<&'a Dir>,
    ) -> io::Result<ResultDocument> {
        let files = match self.tree {
            Some(tree) if self.verdict.is_done() && !tree.is_empty() => tree.publish(target()?)?,
            _ => Vec::new(),
        };
        let returned = self.result.as_ref().map_or(0, |result| result.get().len() as u64);
        let written: u64 = files.iter().map(|file| file.size).sum();
        Ok(ResultDocument {
            id: job.id,
            algorithm: job.document.algorithm.name.clone(),
            attempt,
            state,
            timestamp: Timestamp::now(),
            verdict: self.verdict,
            result: self.result,
            files,
            usage: Usage { result_bytes: returned + written, ..self.usage },
            provenance: self.provenance,
        })
    }
}
