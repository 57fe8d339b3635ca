//! Misbehaves on request, or by the dice: the algorithm that tests whatever runs algorithms.

mod calls;
mod endings;
#[cfg(target_family = "wasm")]
mod export;
mod files;
mod memory;
mod mode;
mod report;
mod time;
mod wasi;
mod words;

pub use mode::Mode;
pub use report::{Answer, Report, Seen};

use files::{handles, names, quota};
use longboat_sdk::{Failure, Job};
use serde::Deserialize;

/// How the sailor behaves. Params that it does not know are ignored, as msg-qworker's sailor did.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Params {
    /// One mode for all attempts, or a list with one for each attempt, whose last one goes on.
    pub mode: Option<Plan>,
    /// How long the mode `slow` sleeps, in seconds.
    pub seconds: Option<f64>,
    /// What the mode `exit` exits with.
    pub code: Option<i32>,
    /// Whether the mode `fail` says that every attempt would fail.
    pub permanent: bool,
    /// How many, in modes that count.
    pub count: Option<u64>,
    /// How large, in modes that have a size, in bytes.
    pub size: Option<u64>,
    /// What the mode `not-json` returns.
    pub text: Option<String>,
}

/// What the sailor does at each attempt.
#[derive(Debug, Clone, Deserialize)]
#[serde(
    untagged,
    expecting = "a mode (normal, slow, exit, endless-loop or another of the README's) or a list of modes"
)]
pub enum Plan {
    /// The same every time.
    Always(Mode),
    /// One after the other.
    Each(Vec<Mode>),
}

/// The mode of this attempt: what the params ask for, or one of the four by the job's seed.
pub fn choose(params: &Params, attempt: u32, seed: u64) -> Mode {
    const DICE: [Mode; 4] = [Mode::Normal, Mode::Slow, Mode::Exit, Mode::EndlessLoop];
    let place = attempt.saturating_sub(1) as usize;
    match &params.mode {
        Some(Plan::Always(mode)) => *mode,
        Some(Plan::Each(modes)) if !modes.is_empty() => modes[place.min(modes.len() - 1)],
        // The remainder is below 4, so it fits.
        _ => DICE[(seed % 4) as usize],
    }
}

/// Behaves as the job asks.
///
/// # Errors
/// What the mode is meant to fail with, or a permanent failure if something was permitted that must not be.
#[expect(clippy::needless_pass_by_value, reason = "an algorithm owns its job")]
pub fn sail(job: Job<Params>) -> Result<Answer, Failure> {
    let mode = choose(&job.params, job.attempt, job.seed);
    eprintln!("Drunken sailor: {}.", announcement(mode));
    let seen = match mode {
        Mode::NotJson => return Ok(Answer::Words(words::not_json(&job.params))),
        Mode::NestedResult => return Ok(Answer::Nested(words::Nested::new(&job.params))),
        Mode::HugeResult => return Ok(Answer::Long(words::Long::new(&job.params))),
        mode => behave(mode, &job)?,
    };
    Ok(Answer::Report(Report { mode, attempt: job.attempt, seen }))
}

/// What the log says first, in the words of msg-qworker's sailor where it had some.
fn announcement(mode: Mode) -> String {
    match mode {
        Mode::Normal => "normal execution".to_owned(),
        Mode::Slow => "slow execution".to_owned(),
        Mode::Exit => "faulty execution".to_owned(),
        Mode::EndlessLoop => "infinite loop".to_owned(),
        other => other.to_string(),
    }
}

/// Does what the mode is for; what came of it, where there is something to tell.
fn behave(mode: Mode, job: &Job<Params>) -> Result<Option<Seen>, Failure> {
    let params = &job.params;
    let seen = match mode {
        Mode::Normal | Mode::NotJson | Mode::NestedResult | Mode::HugeResult => return Ok(None),
        Mode::Slow => return time::slow(params).map(|()| None),
        Mode::Exit => endings::exit(params),
        Mode::EndlessLoop => endings::endless_loop(),
        Mode::EndlessRecursion => return Err(Failure::transient(endings::recurse::<16>(0))),
        Mode::LargeFrames => return Err(Failure::transient(endings::recurse::<8192>(0))),
        Mode::Panic => panic!("as it was asked to"),
        Mode::PanicInDrop => endings::panic_in_drop(),
        Mode::Abort => std::process::abort(),
        Mode::Fail => return Err(endings::fail(params)),
        Mode::Sleep => time::sleep(),
        Mode::Naps => time::naps(),
        Mode::Clocks => time::clocks(),
        Mode::PollClocks => time::poll_clocks(params),
        Mode::MemoryBomb => memory::bomb(),
        Mode::MemoryNibble => memory::nibble(),
        Mode::MemoryFill => memory::fill(params),
        Mode::MemoryCopy => memory::copy(params),
        Mode::MemoryFail => return Err(memory::fail()),
        Mode::MemoryCope => {
            let (made, refusal) = memory::take_all();
            Seen::until(made, &refusal)
        }
        Mode::ResultFiles => return Err(quota::files(job).1.into()),
        Mode::ResultBytes => return Err(quota::bytes(job).into()),
        Mode::Append => return Err(quota::append(job).into()),
        Mode::UnlinkOpen => return Err(quota::unlink_open(job).into()),
        Mode::WriteThenTrap => panic!("{}", quota::bytes(job)),
        Mode::FilesCope => {
            let (made, refusal) = quota::files(job);
            Seen::until(made, &refusal)
        }
        Mode::Sparse => quota::sparse(job)?,
        Mode::Seek => quota::seek(job)?,
        Mode::Rename => quota::rename(job)?,
        Mode::Truncate => quota::truncate(job)?,
        Mode::Overwrite => quota::overwrite(job)?,
        Mode::DeepDirectories => names::deep_directories(job),
        Mode::LongNames => names::long_names(job),
        Mode::OddNames => names::odd_names(job),
        Mode::Escape => names::escape(job)?,
        Mode::Links => names::links(job)?,
        Mode::OpenFiles => handles::open_files(job),
        Mode::OpenDirectories => handles::open_directories(job),
        Mode::ListForEver => handles::list_for_ever(job)?,
        Mode::LogFlood => {
            words::log(params);
            return Ok(None);
        }
        Mode::ProgressFlood => words::progress(job),
        Mode::Random => calls::random(params),
        Mode::Environment => calls::environment(),
        Mode::FuelLeft => calls::fuel_left(job),
        Mode::ReadInput => calls::read_input(job)?,
        Mode::Sockets => calls::sockets()?,
    };
    Ok(Some(seen))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(json: &str) -> Params {
        serde_json::from_str(json).expect("the test's params are good")
    }

    #[test]
    fn a_plan_gives_each_attempt_its_mode_and_its_last_one_goes_on() {
        let params = params(r#"{"mode": ["endless-loop", "exit", "normal"]}"#);
        let modes = [1, 2, 3, 4].map(|attempt| choose(&params, attempt, 0));
        assert_eq!(modes, [Mode::EndlessLoop, Mode::Exit, Mode::Normal, Mode::Normal]);
    }

    #[test]
    fn without_a_plan_the_seed_decides() {
        let params = params(r#"{"23": "42", "foo": "bar"}"#);
        let modes = [0, 1, 2, 3].map(|seed| choose(&params, 1, seed));
        assert_eq!(modes, [Mode::Normal, Mode::Slow, Mode::Exit, Mode::EndlessLoop]);
    }

    #[test]
    fn the_log_names_a_mode_as_it_is_written() {
        assert_eq!(announcement(Mode::MemoryBomb), "memory-bomb");
        assert_eq!(announcement(Mode::EndlessLoop), "infinite loop");
    }

    #[test]
    fn a_sober_sailor_reports() {
        let answer = sail(Job::native(params(r#"{"mode": "normal"}"#))).expect("a sober sailor does not fail");
        let json = serde_json::to_value(answer).expect("an answer is JSON");
        assert_eq!(json, serde_json::json!({"mode": "normal", "attempt": 1}));
    }

    #[test]
    fn a_result_can_be_nested_and_long() {
        let json = |text: &str| {
            serde_json::to_string(&sail(Job::native(params(text))).expect("it only returns")).expect("it is JSON")
        };
        assert_eq!(json(r#"{"mode": "nested-result", "count": 2}"#), "[[[]]]");
        assert_eq!(json(r#"{"mode": "huge-result", "size": 6}"#), "[0,0,0]");
    }

    #[test]
    fn what_is_permitted_and_must_not_be_is_a_permanent_failure() {
        let mut seen = Seen::default();
        assert!(seen.must_refuse("a", Err::<(), _>("no")).is_ok());
        let failure = seen.must_refuse("b", Ok::<_, String>(())).expect_err("it was permitted");
        assert!(failure.is_permanent() && failure.to_string().contains('b'));
    }
}
