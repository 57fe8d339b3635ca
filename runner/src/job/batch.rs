//! Many job documents in one text.

use super::{Document, DocumentError};
use serde::Deserializer;
use serde::de::{self, Deserialize, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// The most jobs that are read from one text: all of them are kept in memory until they are submitted as one.
pub const MAX_JOBS: usize = 1_000_000;

/// Why a text is not a text of jobs, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// It is not JSON from here on.
    #[error("what starts at line {line} is not JSON: {reason}")]
    NotJson {
        /// Counted from 1.
        line: usize,
        /// What the JSON reader says.
        reason: String,
    },
    /// A value is no job.
    #[error("line {line}: {error}")]
    NotAJob {
        /// Where the value starts.
        line: usize,
        /// What is wrong with it.
        error: DocumentError,
    },
    /// An element of a list is no job.
    #[error("line {line}, job {place} of the list: {error}")]
    NotAJobInList {
        /// Where the list starts.
        line: usize,
        /// Counted from 1.
        place: usize,
        /// What is wrong with it.
        error: DocumentError,
    },
    /// There are more than [`MAX_JOBS`].
    #[error("line {line}: at most {MAX_JOBS} jobs can be submitted as one; submit them in parts")]
    TooMany {
        /// Where the first is that is too many, or the list that it is in.
        line: usize,
    },
}

/// Reads the jobs in a text: values one after the other, each a job or an array of jobs.
///
/// # Errors
/// [`BatchError`] for the first that is not a job.
pub fn read_jobs(text: &str) -> Result<Vec<Document>, BatchError> {
    let mut documents = Vec::new();
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    let (mut line, mut counted) = (1, 0);
    loop {
        let end = values.byte_offset();
        let start = end + text[end..].len() - text[end..].trim_start().len();
        line += text[counted..start].matches('\n').count();
        counted = start;
        let Some(value) = values.next() else { return Ok(documents) };
        let value = value.map_err(|error| BatchError::NotJson { line, reason: error.to_string() })?.get();
        match serde_json::from_str(value) {
            Ok(List(jobs)) => {
                for (place, job) in (1..).zip(jobs) {
                    let document = Document::read(job.get());
                    documents.push(document.map_err(|error| BatchError::NotAJobInList { line, place, error })?);
                }
            }
            Err(_) => documents.push(Document::read(value).map_err(|error| BatchError::NotAJob { line, error })?),
        }
        if documents.len() > MAX_JOBS {
            return Err(BatchError::TooMany { line });
        }
    }
}

/// An array whose elements all name an algorithm, as neither half of msg-qworker's array does.
struct List<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for List<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor)
    }
}

struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = List<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of jobs")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<List<'de>, A::Error> {
        let mut jobs = Vec::new();
        // One more than can be taken shows that there are too many.
        while jobs.len() <= MAX_JOBS {
            match elements.next_element::<&RawValue>()? {
                Some(element) if names_algorithm(element) => jobs.push(element),
                Some(_) => return Err(de::Error::custom("an element names no algorithm")),
                None => return Ok(List(jobs)),
            }
        }
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(List(jobs))
    }
}

fn names_algorithm(element: &RawValue) -> bool {
    #[derive(serde::Deserialize)]
    struct Algorithm {
        #[serde(rename = "algorithm")]
        _name: IgnoredAny,
    }
    serde_json::from_str::<Algorithm>(element.get()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn names(text: &str) -> Vec<String> {
        read_jobs(text).unwrap().iter().map(|document| document.algorithm.to_string()).collect()
    }

    fn refusal(text: &str) -> String {
        read_jobs(text).unwrap_err().to_string()
    }

    #[test]
    fn jobs_come_one_a_line_or_pretty_or_in_a_list() {
        assert_eq!(names("{\"algorithm\":\"a\"}\n\n{\"algorithm\":\"b\"}\n"), ["a", "b"]);
        assert_eq!(names("{\n \"algorithm\":\n \"a\"\n}"), ["a"]);
        assert_eq!(names("[{\"algorithm\":\"a\"},{\"algorithm\":\"b\"}]"), ["a", "b"]);
        let qworker = r#"[{"uuid":"bc3a925099b9012e0f06549a20077664","type":"drunken_sailor"},{"23":"42"}]"#;
        assert_eq!(names(&format!("{qworker}\n{qworker}")), ["drunken-sailor", "drunken-sailor"]);
        assert_eq!((names("").len(), names("[]").len()), (0, 0));
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        let message = refusal("{\"algorithm\":\"a\"}\n{\"algorithm\":\"a\",\"prority\":1}");
        assert!(message.contains("line 2") && message.contains("prority"), "{message}");
        assert!(refusal("{\"algorithm\":\"a\"}\n\nnonsense").contains("line 3"));
        assert!(refusal("\n[{\"algorithm\":\"a\"},\n{\"algorithm\":\"B\"}]").contains("line 2, job 2 of the list"));
    }

    #[test]
    fn more_jobs_than_fit_in_memory_are_refused_in_a_list_and_in_lines() {
        let job = "{\"algorithm\":\"a\"}";
        let list = format!("[{job}{}]", format!(",{job}").repeat(MAX_JOBS));
        assert_eq!(read_jobs(&list), Err(BatchError::TooMany { line: 1 }));
        let numbers = format!("[1{}]", ",1".repeat(2 * MAX_JOBS));
        assert!(refusal(&numbers).contains("line 1"), "what is no list of jobs is not kept as one");
    }

    #[test]
    fn the_time_grows_with_the_text_and_not_with_its_square() {
        let text = "{\"algorithm\":\"a\"}\n".repeat(100_000);
        let start = Instant::now();
        assert_eq!(read_jobs(&text).map(|jobs| jobs.len()), Ok(100_000));
        // Counting all lines before each job took minutes.
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    }
}
