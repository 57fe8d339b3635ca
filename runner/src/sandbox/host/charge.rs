//! What a guest pays for a call of the host, in fuel.
//!
//! A host function runs outside of the code that counts fuel, so each is paid for here: so much for the call, so
//! much for every byte that it moves either way, and so much for what it has the host's file system do. The prices
//! follow the time that it takes, where compute burns from two to seven units a nanosecond; the bench `calls` shows how
//! far they hold.
//!
//! [`Interface`] is the way by which functions get into the linker, so none is free; sockets, which are answered whatever
//! their types, charge for themselves.

mod moved;
mod reply;

pub(super) use moved::Moved;
pub(super) use reply::Reply;

use super::Host;
use std::future::Future;
use wasmtime::component::{ComponentNamedList, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType};
use wasmtime::{StoreContextMut, Trap};

/// A call that does next to nothing: from the guest into the host and back.
pub(super) const CALL: u64 = 500;
/// A byte that is copied, hashed or drawn.
pub(super) const BYTE: u64 = 2;

/// Takes `units` of fuel, or ends the guest if there are not as many left.
pub(super) fn charge(store: &mut StoreContextMut<'_, Host>, units: u64) -> wasmtime::Result<()> {
    if !store.data().is_metered {
        return Ok(());
    }
    match store.get_fuel()?.checked_sub(units) {
        Some(left) => store.set_fuel(left),
        None => {
            store.set_fuel(0)?;
            Err(Trap::OutOfFuel.into())
        }
    }
}

/// An interface of the host's in the making.
pub(super) struct Interface<'linker> {
    instance: LinkerInstance<'linker, Host>,
    yields: bool,
}

impl<'linker> Interface<'linker> {
    /// The interface with this full name. With `yields` its functions give the thread away in turn, as the guest's
    /// own loops do only where they look at the epoch.
    pub(super) fn new(linker: &'linker mut Linker<Host>, name: &str, yields: bool) -> wasmtime::Result<Self> {
        Ok(Self { instance: linker.instance(name)?, yields })
    }

    /// A function that answers.
    pub(super) fn function<P, R, F>(&mut self, name: &str, function: F) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lift + Moved + Send + 'static,
        R: Reply,
        F: Fn(&mut Host, P) -> R + Copy + Send + Sync + 'static,
    {
        self.with_store(name, move |store: &mut StoreContextMut<'_, Host>, params| {
            let host = store.data_mut();
            function(host, params).reply(host)
        })
    }

    /// A function that answers nothing.
    pub(super) fn procedure<P, F>(&mut self, name: &str, procedure: F) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lift + Moved + Send + 'static,
        F: Fn(&mut Host, P) -> wasmtime::Result<()> + Copy + Send + Sync + 'static,
    {
        self.with_store(name, move |store: &mut StoreContextMut<'_, Host>, params| procedure(store.data_mut(), params))
    }

    /// A function that needs to know how much fuel is left.
    pub(super) fn with_store<P, R, F>(&mut self, name: &str, function: F) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lift + Moved + Send + 'static,
        R: ComponentNamedList + Lower + Moved + Send + 'static,
        F: Fn(&mut StoreContextMut<'_, Host>, P) -> wasmtime::Result<R> + Copy + Send + Sync + 'static,
    {
        if self.yields {
            self.instance.func_wrap_async(name, move |mut store, params: P| {
                Box::new(async move {
                    let answer = paid(&mut store, params, function)?;
                    take_turns(&mut store).await?;
                    Ok(answer)
                })
            })
        } else {
            self.instance.func_wrap(name, move |mut store, params: P| paid(&mut store, params, function))
        }
    }

    /// A function that waits. What it answers is less than what it takes, and is paid for with that.
    pub(super) fn waiting<P, R, F>(&mut self, name: &str, function: F) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lift + Moved + Send + 'static,
        R: ComponentNamedList + Lower + Send + 'static,
        F: for<'a> Fn(StoreContextMut<'a, Host>, P) -> Box<dyn Future<Output = wasmtime::Result<R>> + Send + 'a>
            + Copy
            + Send
            + Sync
            + 'static,
    {
        self.instance.func_wrap_async(name, move |mut store, params: P| {
            Box::new(async move {
                charge(&mut store, CALL + BYTE * params.bytes())?;
                take_turns(&mut store).await?;
                Box::into_pin(function(store, params)).await
            })
        })
    }

    /// A resource, with what to do when the guest drops a handle.
    pub(super) fn resource<T: Send + 'static>(
        &mut self,
        name: &str,
        drop: impl Fn(&mut Host, Resource<T>) -> wasmtime::Result<()> + Send + Sync + 'static,
    ) -> wasmtime::Result<()> {
        self.instance.resource(name, ResourceType::host::<T>(), move |mut store, handle| {
            charge(&mut store, CALL)?;
            drop(store.data_mut(), Resource::new_own(handle))?;
            settle(&mut store)
        })
    }
}

fn paid<P: Moved, R: Moved>(
    store: &mut StoreContextMut<'_, Host>,
    params: P,
    function: impl Fn(&mut StoreContextMut<'_, Host>, P) -> wasmtime::Result<R>,
) -> wasmtime::Result<R> {
    charge(store, CALL + BYTE * params.bytes())?;
    let answer = function(store, params)?;
    charge(store, BYTE * answer.bytes())?;
    settle(store)?;
    Ok(answer)
}

/// Takes what the host's file system had to do.
fn settle(store: &mut StoreContextMut<'_, Host>) -> wasmtime::Result<()> {
    match store.data_mut().tree.take_work() {
        0 => Ok(()),
        work => charge(store, work),
    }
}

/// Gives the thread away once the guest has burnt a slice of fuel: setting the fuel at every call begins a new slice,
/// so a guest that calls the host again and again would never come to the end of one.
pub(super) async fn take_turns(store: &mut StoreContextMut<'_, Host>) -> wasmtime::Result<()> {
    let Some(slice) = store.data().slice else { return Ok(()) };
    let left = store.get_fuel()?;
    if store.data().turn_began_at.saturating_sub(left) >= slice {
        store.data_mut().turn_began_at = left;
        tokio::task::yield_now().await;
    }
    Ok(())
}
