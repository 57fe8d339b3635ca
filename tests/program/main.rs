//! The real program, through its command line: real processes, real files, real HTTP.
//!
//! Nothing here waits for a fixed time: what is waited for is a line, an exit or a record.

mod acts;
mod algorithms;
mod beanstalkd;
mod commands;
mod confinement;
mod determinism;
mod docs;
#[cfg(target_os = "linux")]
mod fencing;
#[cfg(target_os = "linux")]
mod full_disk;
mod guests;
mod hostile;
mod http;
mod imports;
mod inputs;
mod limits;
mod logs;
mod looking;
mod misbehaviour;
mod queue;
mod result_url;
mod retention;
mod run;
mod sdk;
mod shared;
mod submission;
mod support;
mod takeover;
mod tidy;
mod torture;
mod unheard;
mod updates;
mod upgrade;
mod upkeep;
mod wakeup;
mod worker;
