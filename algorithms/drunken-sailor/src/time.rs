//! Ways to misuse time.

use crate::{Params, wasi};
use longboat_sdk::Failure;
use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// How many clocks are waited for at once.
const CLOCKS: u64 = 1000;

/// Sleeps for a while.
pub fn slow(params: &Params) -> Result<(), Failure> {
    let seconds = params.seconds.unwrap_or(2.0);
    let pause =
        Duration::try_from_secs_f64(seconds).map_err(|error| Failure::permanent(format!("seconds: {error}")))?;
    thread::sleep(pause);
    Ok(())
}

/// Sleeps for ever.
pub fn sleep() -> ! {
    loop {
        thread::sleep(Duration::MAX);
    }
}

/// Sleeps as shortly as one can, over and over.
pub fn naps() -> ! {
    loop {
        thread::sleep(Duration::from_nanos(1));
    }
}

/// Reads both clocks over and over.
pub fn clocks() -> ! {
    loop {
        black_box((Instant::now(), SystemTime::now()));
    }
}

/// Waits for many clocks at once, of which none will ever ring.
pub fn poll_clocks(params: &Params) -> ! {
    let count = usize::try_from(params.count.unwrap_or(CLOCKS)).unwrap_or(usize::MAX);
    loop {
        wasi::wait_for_clocks(count);
    }
}
