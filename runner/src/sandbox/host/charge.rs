//! What a guest pays for a call of the host, in fuel.
//!
//! A host function runs outside of the code that counts fuel. So each owes so much for the call, so much for
//! every byte that it moves either way, and so much for what it has the host's file system do. What is owed
//! is taken when the call returns. The prices follow the time that it takes, where compute burns from two to
//! seven units a nanosecond; the bench `calls` shows how far they hold.
//!
//! wasmtime tells of every way between guest and host, also when it grows a memory or gives the thread away. Nothing
//! may be taken there: the guest's code has its fuel in a register then, and fuel would depend on time. Usually nothing
//! is owed then. But a call that answers with a list has the guest allocate it before it returns, so the guest may come
//! to a tick of the epoch while it owes. So only the return of the outermost call takes what is owed.

use super::Host;
use crate::sandbox::{Metering, turns};
use async_trait::async_trait;
use wasmtime::{CallHook, CallHookHandler, Store, StoreContextMut, Trap};

/// A call that does next to nothing: from the guest into the host and back.
pub(super) const CALL: u64 = 500;
/// A byte that is copied, hashed or drawn.
pub(super) const BYTE: u64 = 2;
/// What an item of a list costs beside its own bytes, in bytes: it is lifted or lowered one by one.
pub(super) const ITEM: usize = 32;

impl Host {
    /// The host, which is owed for a call.
    pub(super) fn called(&mut self) -> &mut Self {
        self.owed += CALL;
        self
    }

    /// Owes the price of so many bytes.
    pub(super) fn moved(&mut self, bytes: usize) {
        self.owed = self.owed.saturating_add(BYTE.saturating_mul(bytes as u64));
    }
}

/// Has the guest of a store pay for its calls. Where it does not look at the epoch itself, it also gives its
/// thread away there: setting the fuel begins a new slice, so a guest that calls again and again would never
/// come to the end of one.
pub(in crate::sandbox) fn install(store: &mut Store<Host>, metering: Metering) {
    match metering {
        Metering { fuel: false, .. } => {}
        Metering { epoch: true, .. } => store.call_hook(|mut store, event| pass(&mut store, event).map(|_| ())),
        Metering { slice, .. } => store.call_hook_async(Turns { slice }),
    }
}

struct Turns {
    slice: Option<u64>,
}

#[async_trait]
impl CallHookHandler<Host> for Turns {
    async fn handle_call_event(&self, mut store: StoreContextMut<'_, Host>, event: CallHook) -> wasmtime::Result<()> {
        let (was_owed, Some(slice)) = (pass(&mut store, event)?, self.slice) else { return Ok(()) };
        let burnt = burnt(&store)?;
        if was_owed && burnt.saturating_sub(store.data().turn_began_at) >= slice {
            store.data_mut().turn_began_at = burnt;
            turns::give_way().await;
        }
        Ok(())
    }
}

/// Tells the host what has been burnt when it is called, and takes what it is owed when it returns. Answers
/// whether that was anything.
fn pass(store: &mut StoreContextMut<'_, Host>, event: CallHook) -> wasmtime::Result<bool> {
    let is_outermost = store.data().depth <= 1;
    match event {
        CallHook::CallingHost if is_outermost => {
            let burnt = burnt(store)?;
            store.data_mut().burnt = burnt;
        }
        CallHook::ReturningFromHost if is_outermost => return settle(store),
        CallHook::CallingHost | CallHook::ReturningFromHost => {}
        CallHook::CallingWasm => store.data_mut().depth += 1,
        CallHook::ReturningFromWasm => {
            let host = store.data_mut();
            host.depth = host.depth.saturating_sub(1);
        }
    }
    Ok(false)
}

fn burnt(store: &StoreContextMut<'_, Host>) -> wasmtime::Result<u64> {
    Ok(store.data().fuel.saturating_sub(store.get_fuel()?))
}

/// Takes what is owed, or ends the guest if there is not as much left.
pub(super) fn settle(store: &mut StoreContextMut<'_, Host>) -> wasmtime::Result<bool> {
    let host = store.data_mut();
    let work = host.tree.take_work();
    let owed = std::mem::take(&mut host.owed).saturating_add(work);
    if owed == 0 || !host.is_metered {
        return Ok(false);
    }
    match store.get_fuel()?.checked_sub(owed) {
        Some(left) => store.set_fuel(left)?,
        None => {
            store.set_fuel(0)?;
            return Err(Trap::OutOfFuel.into());
        }
    }
    Ok(true)
}
