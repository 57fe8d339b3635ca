//! `wasi:sockets`: there are none.
//!
//! Programs that were built with networking in mind may import it all the same. Whatever could give them a
//! socket answers `access-denied`; everything else needs a socket first and is never reached.

use super::Host;
use super::bindings::wasi::io::error::HostError;
use super::bindings::wasi::io::streams::{HostInputStream, HostOutputStream};
use super::io::Pollable;
use wasmtime::StoreContextMut;
use wasmtime::component::types::{ComponentFunc, ComponentItem, Type};
use wasmtime::component::{Component, Linker, LinkerInstance, Resource, ResourceType, Val};

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
        for (export, item) in interface.exports(engine) {
            match item.ty {
                ComponentItem::ComponentFunc(_) => {
                    instance.func_new(export, |mut store, function, params, results| {
                        answer(&mut store, &function, params, results)
                    })?;
                }
                // Interfaces of sockets name again what those of streams define.
                ComponentItem::Resource(_) => match export {
                    "pollable" => resource(&mut instance, export, |host, handle: Resource<Pollable>| {
                        host.table.delete(handle)?;
                        Ok(())
                    })?,
                    "input-stream" => resource(&mut instance, export, HostInputStream::drop)?,
                    "output-stream" => resource(&mut instance, export, HostOutputStream::drop)?,
                    "error" => resource(&mut instance, export, HostError::drop)?,
                    _ => resource(&mut instance, export, |host, handle: Resource<Socket>| {
                        host.table.delete(handle)?;
                        Ok(())
                    })?,
                },
                _ => {}
            }
        }
    }
    Ok(())
}

fn resource<T: Send + 'static>(
    instance: &mut LinkerInstance<'_, Host>,
    name: &str,
    drop: fn(&mut Host, Resource<T>) -> wasmtime::Result<()>,
) -> wasmtime::Result<()> {
    instance.resource(name, ResourceType::host::<T>(), move |mut store, handle| {
        drop(store.data_mut().called(), Resource::new_own(handle))
    })
}

fn answer(
    store: &mut StoreContextMut<'_, Host>,
    function: &ComponentFunc,
    params: &[Val],
    results: &mut [Val],
) -> wasmtime::Result<()> {
    store.data_mut().called().moved(params.iter().map(moved).sum());
    for param in params {
        // A handle that is lent must be given back before the call ends.
        if let Val::Resource(handle) = param {
            handle.try_into_resource::<Socket>(&mut *store)?;
        }
    }
    for (result, ty) in results.iter_mut().zip(function.results()) {
        *result = match ty {
            Type::Result(ty) if ty.err().is_some() => {
                Val::Result(Err(Some(Box::new(Val::Enum("access-denied".to_owned())))))
            }
            // The network that `instance-network` hands out: a handle that opens nothing.
            Type::Own(_) => {
                let network = store.data_mut().table.push(Socket)?;
                Val::Resource(network.try_into_resource_any(&mut *store)?)
            }
            _ => wasmtime::bail!("algorithms have no sockets"),
        };
    }
    Ok(())
}

/// How many bytes a value moves. What is in a list is made a value one by one, and costs accordingly.
fn moved(value: &Val) -> usize {
    const VALUE: usize = 64;
    match value {
        Val::String(text) => text.len(),
        Val::List(values) | Val::FixedLengthList(values) | Val::Tuple(values) => {
            values.iter().map(|value| VALUE + moved(value)).sum()
        }
        Val::Map(entries) => entries.iter().map(|(key, value)| 2 * VALUE + moved(key) + moved(value)).sum(),
        Val::Record(fields) => fields.iter().map(|(_, value)| VALUE + moved(value)).sum(),
        Val::Variant(_, value) | Val::Option(value) | Val::Result(Ok(value) | Err(value)) => {
            value.as_ref().map_or(0, |value| VALUE + moved(value))
        }
        _ => 0,
    }
}
