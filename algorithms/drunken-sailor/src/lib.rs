//! x
use longboat_sdk::{algorithm, Failure, Job};
fn sail(job: Job<serde_json::Value>) -> Result<String, Failure> { std::fs::write("/result/x", "hello")?; Ok(job.id) }
algorithm!(sail);
