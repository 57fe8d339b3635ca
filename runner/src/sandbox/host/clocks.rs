//! `wasi:clocks` and `wasi:io/poll`: time that follows from what the guest did.
//!
//! Both clocks advance by a nanosecond with every unit of fuel and by what a sleep asked for; the sleep takes
//! that long for real. These functions need the store for its fuel, and polling must be able to wait, which is
//! more than `bindgen!` offers together, so they are written out here.

use super::Host;
use super::bindings::wasi::clocks::wall_clock::Datetime;
use super::io::Pollable;
use std::time::Duration;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType};

/// The version of WASI that the runner implements; linkers match compatible ones.
const VERSION: &str = "0.2.12";
/// The most pollables that one call may wait for.
const MAX_POLLED: usize = 1024;

/// Nanoseconds since the guest started.
fn now(store: &StoreContextMut<'_, Host>) -> wasmtime::Result<u64> {
    let burnt = store.data().fuel.saturating_sub(store.get_fuel()?);
    Ok(burnt.saturating_add(store.data().slept))
}

fn wall(store: &StoreContextMut<'_, Host>) -> wasmtime::Result<Datetime> {
    let start = store.data().clock.as_nanosecond().max(0);
    let nanoseconds = start.saturating_add(i128::from(now(store)?));
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
    let missing = first.unwrap_or(0).saturating_sub(now(&store)?);
    if missing > 0 {
        tokio::time::sleep(Duration::from_nanos(missing)).await;
        let host = store.data_mut();
        host.slept = host.slept.saturating_add(missing);
    }
    let now = now(&store)?;
    let is_ready = |pollable: &Pollable| if let Pollable::At(time) = pollable { *time <= now } else { true };
    Ok((0..).zip(&pollables).filter(|(_, pollable)| is_ready(pollable)).map(|(place, _)| place).collect())
}

/// Puts clocks and polling into a linker.
pub(super) fn add_to_linker(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let mut instance = linker.instance(&format!("wasi:io/poll@{VERSION}"))?;
    instance.resource("pollable", ResourceType::host::<Pollable>(), |mut store, handle| {
        store.data_mut().table.delete(Resource::<Pollable>::new_own(handle))?;
        Ok(())
    })?;
    instance.func_wrap("[method]pollable.ready", |store, (pollable,): (Resource<Pollable>,)| {
        let ready = match *store.data().table.get(&pollable)? {
            Pollable::Ready => true,
            Pollable::At(time) => time <= now(&store)?,
        };
        Ok((ready,))
    })?;
    instance.func_wrap_async("[method]pollable.block", |store, (pollable,): (Resource<Pollable>,)| {
        Box::new(async move { poll(store, vec![pollable]).await.map(|_| ()) })
    })?;
    instance.func_wrap_async("poll", |store, (pollables,): (Vec<Resource<Pollable>>,)| {
        Box::new(async move { Ok((poll(store, pollables).await?,)) })
    })?;

    let mut instance = linker.instance(&format!("wasi:clocks/monotonic-clock@{VERSION}"))?;
    instance.func_wrap("now", |store, (): ()| Ok((now(&store)?,)))?;
    instance.func_wrap("resolution", |_, (): ()| Ok((1_u64,)))?;
    instance.func_wrap("subscribe-instant", |mut store, (when,): (u64,)| {
        Ok((store.data_mut().table.push(Pollable::At(when))?,))
    })?;
    instance.func_wrap("subscribe-duration", |mut store, (duration,): (u64,)| {
        let when = now(&store)?.saturating_add(duration);
        Ok((store.data_mut().table.push(Pollable::At(when))?,))
    })?;

    let mut instance = linker.instance(&format!("wasi:clocks/wall-clock@{VERSION}"))?;
    instance.func_wrap("now", |store, (): ()| Ok((wall(&store)?,)))?;
    instance.func_wrap("resolution", |_, (): ()| Ok((Datetime { seconds: 0, nanoseconds: 1 },)))
}
