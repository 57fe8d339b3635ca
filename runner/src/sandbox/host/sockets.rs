//! `wasi:sockets`: there are none.
//!
//! Programs that were built with networking in mind may import it all the same. Whatever could give them a
//! socket answers `access-denied`; everything else needs a socket first and is never reached.

use super::Host;
use super::charge::{CALL, charge};
use wasmtime::StoreContextMut;
use wasmtime::component::types::{ComponentFunc, ComponentItem, Type};
use wasmtime::component::{Component, Linker, Resource, ResourceType, Val};

/// Stands for every kind of socket.
struct Socket;

/// Defines what `component` imports of sockets.
pub(super) fn refuse(linker: &mut Linker<Host>, component: &Component) -> wasmtime::Result<()> {
    let engine = component.engine();
    for (name, item) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(interface) = item.ty else { continue };
        if !name.starts_with("wasi:sockets/") {
            continue;
        }
        let mut instance = linker.instance(name)?;
        for (function, item) in interface.exports(engine) {
            match item.ty {
                ComponentItem::ComponentFunc(_) => instance.func_new(function, answer)?,
                ComponentItem::Resource(_) => {
                    instance.resource(function, ResourceType::host::<Socket>(), |mut store, handle| {
                        charge(&mut store, CALL)?;
                        store.data_mut().table.delete(Resource::<Socket>::new_own(handle))?;
                        Ok(())
                    })?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "the linker calls it so")]
fn answer(
    mut store: StoreContextMut<'_, Host>,
    function: ComponentFunc,
    _: &[Val],
    results: &mut [Val],
) -> wasmtime::Result<()> {
    charge(&mut store, CALL)?;
    for (result, ty) in results.iter_mut().zip(function.results()) {
        *result = match ty {
            Type::Result(ty) if ty.err().is_some() => {
                Val::Result(Err(Some(Box::new(Val::Enum("access-denied".to_owned())))))
            }
            // The network that `instance-network` hands out: a handle that opens nothing.
            Type::Own(_) => {
                let network = store.data_mut().table.push(Socket)?;
                Val::Resource(network.try_into_resource_any(&mut store)?)
            }
            _ => wasmtime::bail!("algorithms have no sockets"),
        };
    }
    Ok(())
}
