//! Misbehaves on request, or by the dice: the algorithm that tests whatever runs algorithms.

use longboat_sdk::{Failure, Job, algorithm};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How the sailor behaves. Params that it does not know are ignored, as msg-qworker's sailor did.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Params {
    /// One mode for all attempts, or a list with one for each attempt, whose last one goes on.
    pub mode: Option<Plan>,
    /// How long the mode `slow` sleeps, in seconds.
    pub seconds: Option<f64>,
}

/// What the sailor does at each attempt.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "a mode (normal, slow, exit, endless-loop) or a list of modes")]
pub enum Plan {
    /// The same every time.
    Always(Mode),
    /// One after the other.
    Each(Vec<Mode>),
}

/// A way to behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Returns at once.
    Normal,
    /// Sleeps for a while and returns.
    Slow,
    /// Exits with code 10.
    Exit,
    /// Never comes to an end.
    EndlessLoop,
}

/// What a sailor who found home says.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How the attempt was spent.
    pub mode: Mode,
    /// Which attempt it was.
    pub attempt: u32,
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

#[expect(clippy::needless_pass_by_value, reason = "an algorithm owns its job")]
fn sail(job: Job<Params>) -> Result<Report, Failure> {
    let mode = choose(&job.params, job.attempt, job.seed);
    match mode {
        Mode::Normal => eprintln!("Drunken sailor: normal execution."),
        Mode::Slow => {
            eprintln!("Drunken sailor: slow execution.");
            let seconds = job.params.seconds.unwrap_or(2.0);
            let pause = Duration::try_from_secs_f64(seconds)
                .map_err(|error| Failure::permanent(format!("seconds: {error}")))?;
            std::thread::sleep(pause);
        }
        Mode::Exit => {
            eprintln!("Drunken sailor: faulty execution.");
            std::process::exit(10);
        }
        Mode::EndlessLoop => {
            eprintln!("Drunken sailor: infinite loop.");
            loop {
                std::hint::spin_loop();
            }
        }
    }
    Ok(Report { mode, attempt: job.attempt })
}

algorithm!(sail);

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
    fn a_sober_sailor_reports() {
        let report = sail(Job::native(params(r#"{"mode": "normal"}"#))).expect("a sober sailor does not fail");
        assert_eq!(report, Report { mode: Mode::Normal, attempt: 1 });
    }
}
