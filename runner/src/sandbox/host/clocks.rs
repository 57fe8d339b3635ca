//! `wasi:clocks` and `wasi:io/poll`: time that follows from what the guest did.
//!
//! Both clocks advance by a nanosecond with every unit of fuel and by what a sleep asked for; the sleep takes
//! that long for real.

use super::Host;
use super::bindings::wasi::clocks::wall_clock::Datetime;
use super::charge::Interface;
use super::io::Pollable;
use std::time::Duration;
use wasmtime::StoreContextMut;
use wasmtime::component::Resource;

/// The most pollables that one call may wait for.
const MAX_POLLED: usize = 1024;

/// Nanoseconds since the guest started. Where no fuel is counted, only sleeping takes time.
fn now(store: &StoreContextMut<'_, Host>) -> u64 {
    let host = store.data();
    let burnt = store.get_fuel().map_or(0, |left| host.fuel.saturating_sub(left));
    burnt.saturating_add(host.slept)
}

fn wall(store: &StoreContextMut<'_, Host>) -> wasmtime::Result<Datetime> {
    let start = store.data().clock.as_nanosecond().max(0);
    let nanoseconds = start.saturating_add(i128::from(now(store)));
    Ok(Datetime {
        seconds: u64::try_from(nanoseconds / 1_000_000_000)?,
        nanoseconds: u32::try_from(nanoseconds % 1_000_000_000)?,
    })
}

/// Waits until one of `pollables` is ready, and returns the places of those that are.
async fn poll(mut store: StoreContextMut<'_, Host>, pollables: Vec<Resource<Pollable>>) -> wasmtime::Result<Vec<u32>> {
    if pollables.is_empty() || pollables.len() > MAX_POLLED {
        wasmtime::bail!("from 1 to {MAX_POLLED} things can be waited for at once, not {}", pollables.len());
    }
    let table = &store.data().table;
    let pollables = pollables.iter().map(|pollable| table.get(pollable).copied()).collect::<Result<Vec<_>, _>>()?;
    let first = pollables.iter().map(|pollable| if let Pollable::At(time) = pollable { *time } else { 0 }).min();
    let missing = first.unwrap_or(0).saturating_sub(now(&store));
    if missing > 0 {
        tokio::time::sleep(Duration::from_nanos(missing)).await;
        let host = store.data_mut();
        host.slept = host.slept.saturating_add(missing);
    }
    let now = now(&store);
    let is_ready = |pollable: &Pollable| if let Pollable::At(time) = pollable { *time <= now } else { true };
    Ok((0..).zip(&pollables).filter(|(_, pollable)| is_ready(pollable)).map(|(place, _)| place).collect())
}

/// The functions of `wasi:io/poll`.
pub(super) fn add_poll(to: &mut Interface<'_>) -> wasmtime::Result<()> {
    to.resource("pollable", |host, pollable: Resource<Pollable>| {
        host.table.delete(pollable)?;
        Ok(())
    })?;
    to.with_store("[method]pollable.ready", |store, (pollable,): (Resource<Pollable>,)| {
        let ready = match *store.data().table.get(&pollable)? {
            Pollable::Ready => true,
            Pollable::At(time) => time <= now(store),
        };
        Ok((ready,))
    })?;
    to.waiting("[method]pollable.block", |store, (pollable,): (Resource<Pollable>,)| {
        Box::new(async move { poll(store, vec![pollable]).await.map(|_| ()) })
    })?;
    to.waiting("poll", |store, (pollables,): (Vec<Resource<Pollable>>,)| {
        Box::new(async move { Ok((poll(store, pollables).await?,)) })
    })
}

/// The functions of `wasi:clocks/monotonic-clock`.
pub(super) fn add_monotonic(to: &mut Interface<'_>) -> wasmtime::Result<()> {
    to.with_store("now", |store, (): ()| Ok((now(store),)))?;
    to.with_store("resolution", |_, (): ()| Ok((1_u64,)))?;
    to.with_store("subscribe-instant", |store, (when,): (u64,)| {
        Ok((store.data_mut().table.push(Pollable::At(when))?,))
    })?;
    to.with_store("subscribe-duration", |store, (duration,): (u64,)| {
        let when = now(store).saturating_add(duration);
        Ok((store.data_mut().table.push(Pollable::At(when))?,))
    })
}

/// The functions of `wasi:clocks/wall-clock`.
pub(super) fn add_wall(to: &mut Interface<'_>) -> wasmtime::Result<()> {
    to.with_store("now", |store, (): ()| Ok((wall(store)?,)))?;
    to.with_store("resolution", |_, (): ()| Ok((Datetime { seconds: 0, nanoseconds: 1 },)))
}
