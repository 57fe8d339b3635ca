//! Texts of many job documents, as `submit --file` reads them.

use super::document::{WORDS, can_be_shown, holds};
use crate::{Target, text};
use longboat::job::{BatchError, read_jobs};

/// Texts of jobs.
pub const TARGET: Target =
    Target { name: "jobs", check, cases: 10_000, largest: 400, samples, words: WORDS, reached: &["jobs", "refused"] };

fn samples() -> Vec<Vec<u8>> {
    let documents = super::document::samples();
    let list = [b"[".as_slice(), &documents[..4].join(b",\n".as_slice()), b"]"].concat();
    vec![documents.join(b"\n".as_slice()), list, b"{\"algorithm\":\"a\"}\n\n{\"algorithm\":\"b\"}\n".to_vec()]
}

/// Jobs come out that read back as themselves, or a refusal with a line that the text has.
pub fn check(bytes: &[u8]) -> &'static str {
    let Some(text) = text(bytes) else { return "not text" };
    match read_jobs(text) {
        Ok(jobs) => {
            jobs.iter().for_each(holds);
            let written: String = jobs.iter().map(|job| job.canonical() + "\n").collect();
            assert_eq!(read_jobs(&written), Ok(jobs));
            "jobs"
        }
        Err(error) => {
            let line = match &error {
                BatchError::NotAJob { line, error } | BatchError::NotAJobInList { line, error, .. } => {
                    can_be_shown(error);
                    *line
                }
                BatchError::NotJson { line, .. } | BatchError::TooMany { line } => *line,
            };
            assert!((1..=text.matches('\n').count() + 1).contains(&line), "line {line}");
            assert!(error.to_string().contains(&format!("line {line}")), "{error}");
            "refused"
        }
    }
}
