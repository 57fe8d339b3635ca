//! `wasi:clocks` and `wasi:io/poll`: time that follows from what the guest did.
//!
//! Both clocks advance by a nanosecond with every unit of fuel and by what a sleep asked for; the sleep
//! takes that long for real.

use super::Host;
use super::bindings::wasi::clocks::wall_clock::Datetime;
use super::bindings::wasi::clocks::{monotonic_clock, wall_clock};
use super::bindings::wasi::io::poll;
use super::charge::ITEM;
use super::io::Pollable;
use std::time::Duration;
use wasmtime::component::Resource;

/// The most pollables that one call may wait for.
pub(super) const MAX_POLLED: usize = 1024;

/// A time of the wall clock, from its nanoseconds.
pub(super) fn datetime(nanoseconds: u64) -> Datetime {
    Datetime { seconds: nanoseconds / 1_000_000_000, nanoseconds: (nanoseconds % 1_000_000_000) as u32 }
}

impl Host {
    /// What the monotonic clock shows: nanoseconds since the guest started. Where no fuel is counted, only
    /// sleeping takes time.
    pub(super) fn monotonic_time(&self) -> u64 {
        self.burnt.saturating_add(self.slept)
    }

    /// What the wall clock shows so many nanoseconds after the start, in nanoseconds since 1970.
    pub(super) fn wall_time(&self, since_start: u64) -> u64 {
        let start = u64::try_from(self.clock.as_nanosecond()).unwrap_or(0);
        start.saturating_add(since_start)
    }

    /// Waits for as long as it is until a time of the monotonic clock.
    pub(super) async fn sleep_until(&mut self, time: u64) {
        let missing = time.saturating_sub(self.monotonic_time());
        if missing > 0 {
            tokio::time::sleep(Duration::from_nanos(missing)).await;
            self.slept = self.slept.saturating_add(missing);
        }
    }

    fn ready_at(&self, pollable: &Resource<Pollable>) -> wasmtime::Result<u64> {
        Ok(match self.table.get(pollable)? {
            Pollable::Ready => 0,
            Pollable::At(time) => *time,
        })
    }

    fn alarm(&mut self, time: u64) -> wasmtime::Result<Resource<Pollable>> {
        Ok(self.table.push(Pollable::At(time))?)
    }
}

impl poll::Host for Host {
    /// Waits until one of `pollables` is ready, and returns the places of those that are.
    async fn poll(&mut self, pollables: Vec<Resource<Pollable>>) -> wasmtime::Result<Vec<u32>> {
        self.moved(ITEM * pollables.len());
        if pollables.is_empty() || pollables.len() > MAX_POLLED {
            wasmtime::bail!("from 1 to {MAX_POLLED} things can be waited for at once, not {}", pollables.len());
        }
        let times = pollables.iter().map(|pollable| self.ready_at(pollable)).collect::<wasmtime::Result<Vec<_>>>()?;
        self.sleep_until(times.iter().copied().min().unwrap_or(0)).await;
        let now = self.monotonic_time();
        Ok((0..).zip(times).filter(|(_, time)| *time <= now).map(|(place, _)| place).collect())
    }
}

impl poll::HostPollable for Host {
    fn ready(&mut self, pollable: Resource<Pollable>) -> wasmtime::Result<bool> {
        Ok(self.ready_at(&pollable)? <= self.monotonic_time())
    }

    async fn block(&mut self, pollable: Resource<Pollable>) -> wasmtime::Result<()> {
        let time = self.ready_at(&pollable)?;
        self.sleep_until(time).await;
        Ok(())
    }

    fn drop(&mut self, pollable: Resource<Pollable>) -> wasmtime::Result<()> {
        self.table.delete(pollable)?;
        Ok(())
    }
}

impl monotonic_clock::Host for Host {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.monotonic_time())
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(1)
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<Pollable>> {
        self.alarm(when)
    }

    fn subscribe_duration(&mut self, duration: u64) -> wasmtime::Result<Resource<Pollable>> {
        self.alarm(self.monotonic_time().saturating_add(duration))
    }
}

impl wall_clock::Host for Host {
    fn now(&mut self) -> wasmtime::Result<Datetime> {
        Ok(datetime(self.wall_time(self.monotonic_time())))
    }

    fn resolution(&mut self) -> wasmtime::Result<Datetime> {
        Ok(datetime(1))
    }
}
