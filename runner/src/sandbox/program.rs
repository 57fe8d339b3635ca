//! A compiled algorithm.

use super::host::{self, AlgorithmError, AlgorithmJob, Host};
use super::{BadModule, modules, structure};
use crate::job::{Digest, Shape};
use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker};

/// Parameters and results of the `algorithm` world's `run`.
pub(super) type RunParams = (AlgorithmJob,);
pub(super) type RunResults = (Result<String, AlgorithmError>,);

/// An algorithm, compiled and linked: ready to be instantiated any number of times.
pub struct Program {
    digest: Digest,
    pub(super) entry: Entry,
    pub(super) instance: InstancePre<Host>,
}

/// Where a program starts, and with it the shape that it has.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    /// The `algorithm` world's `run`.
    Algorithm(ComponentExportIndex),
    /// A WASI command's `run`.
    Command(ComponentExportIndex),
}

impl Program {
    /// Compiles a module that may start with so many bytes of memory. This takes from milliseconds to a minute and
    /// cannot be stopped: it is for [`Compiler`](super::compiler::Compiler)'s threads. With `yields` the program gives
    /// its thread away in calls of the host.
    ///
    /// # Errors
    /// [`BadModule`], which says why nobody could run it.
    pub(super) fn compile(engine: &Engine, max_memory: u64, yields: bool, bytes: &[u8]) -> Result<Self, BadModule> {
        structure::check(bytes, max_memory)?;
        let component = modules::componentize(bytes)?;
        let refused = |error: wasmtime::Error| BadModule(format!("it cannot be compiled: {error:#}"));
        let component = Component::new(engine, component).map_err(refused)?;
        let mut linker = Linker::new(engine);
        host::add_to_linker(&mut linker, yields).map_err(refused)?;
        host::refuse_sockets(&mut linker, &component, yields).map_err(refused)?;
        let instance = linker
            .instantiate_pre(&component)
            .map_err(|error| BadModule(format!("it needs something that nobody grants: {error:#}")))?;
        Ok(Self { digest: Digest::of(bytes), entry: entry(&instance)?, instance })
    }

    /// The digest of the module's bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How many bytes of machine code and data it holds in memory.
    pub(super) fn size(&self) -> usize {
        let image = self.instance.component().image_range();
        image.end.addr().saturating_sub(image.start.addr())
    }

    /// Which of the two shapes of an algorithm it has.
    pub fn shape(&self) -> Shape {
        match self.entry {
            Entry::Algorithm(_) => Shape::Algorithm,
            Entry::Command(_) => Shape::Command,
        }
    }
}

/// Where a component starts. Its type is looked at as well: otherwise each attempt would find out anew.
fn entry(instance: &InstancePre<Host>) -> Result<Entry, BadModule> {
    let (component, types) = (instance.component(), instance.instance_type());
    if let Some((ComponentItem::ComponentFunc(run), index)) = component.get_export(None, "run") {
        return run.typecheck::<RunParams, RunResults>(&types).map(|()| Entry::Algorithm(index)).map_err(|error| {
            BadModule(format!("its `run` is not that of the `algorithm` world; build it with longboat-sdk ({error:#})"))
        });
    }
    let ty = component.component_type();
    let mut names = ty.exports(component.engine()).map(|(name, _)| name.to_owned());
    let found = names.find(|name| name.starts_with("wasi:cli/run@0.2")).and_then(|name| {
        let interface = component.get_export_index(None, &name)?;
        component.get_export(Some(&interface), "run")
    });
    let Some((ComponentItem::ComponentFunc(run), index)) = found else {
        return Err(BadModule(
            "the component has no entry: it exports neither `wasi:cli/run` nor the `algorithm` world's `run`"
                .to_owned(),
        ));
    };
    run.typecheck::<(), (Result<(), ()>,)>(&types)
        .map(|()| Entry::Command(index))
        .map_err(|error| BadModule(format!("the `run` of its `wasi:cli/run` is not WASI's ({error:#})")))
}
