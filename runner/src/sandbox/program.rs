//! A compiled algorithm.

use super::host::{self, AlgorithmError, AlgorithmJob, Host};
use super::modules::{Prepared, Wrapped};
use super::{BadModule, modules, structure};
use crate::job::{Digest, Shape};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker};
use wasmtime::{Engine, FuncType, Module};

/// Parameters and results of the `algorithm` world's `run`.
pub(super) type RunParams = (AlgorithmJob,);
pub(super) type RunResults = (Result<String, AlgorithmError>,);
/// The results of a WASI command's `run`.
pub(super) type CommandResults = (Result<(), ()>,);

/// An algorithm, compiled and linked: ready to be instantiated any number of times.
pub struct Program {
    digest: Digest,
    pub(super) entry: Entry,
    /// What a preview 1 adapter in it keeps from it.
    pub(super) wrapped: Option<Wrapped>,
}

/// Where a program starts, and with it the shape that it has.
pub(super) enum Entry {
    /// The `algorithm` world's `run`.
    Algorithm(InstancePre<Host>, ComponentExportIndex),
    /// The `run` of a component that is a WASI command.
    Command(InstancePre<Host>, ComponentExportIndex),
    /// The `_start` of a core module.
    Core(wasmtime::InstancePre<Host>),
}

impl Program {
    /// Compiles a module that may start with so many bytes of memory. This takes from milliseconds to a
    /// minute and cannot be stopped: it is for [`Compiler`](super::compiler::Compiler)'s threads.
    ///
    /// # Errors
    /// [`BadModule`], which says why nobody could run it.
    pub(super) fn compile(engine: &Engine, max_memory: u64, bytes: &[u8]) -> Result<Self, BadModule> {
        structure::check(bytes, max_memory)?;
        let (entry, wrapped) = match modules::prepare(bytes)? {
            Prepared::Core(module) => (Entry::Core(link_core(engine, &module)?), None),
            Prepared::Component(component, wrapped) => (link(engine, &component)?, wrapped),
        };
        Ok(Self { digest: Digest::of(bytes), entry, wrapped })
    }

    /// The digest of the module's bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How many bytes of machine code and data it holds in memory.
    pub(super) fn size(&self) -> usize {
        let image = match &self.entry {
            Entry::Algorithm(instance, _) | Entry::Command(instance, _) => instance.component().image_range(),
            Entry::Core(instance) => instance.module().image_range(),
        };
        image.end.addr().saturating_sub(image.start.addr())
    }

    /// Which of the two shapes of an algorithm it has.
    pub fn shape(&self) -> Shape {
        match self.entry {
            Entry::Algorithm(..) => Shape::Algorithm,
            Entry::Command(..) | Entry::Core(_) => Shape::Command,
        }
    }
}

fn not_compiled(error: &wasmtime::Error) -> BadModule {
    BadModule(format!("it cannot be compiled: {error:#}"))
}

fn not_granted(error: &wasmtime::Error) -> BadModule {
    BadModule(format!("it needs something that nobody grants: {error:#}"))
}

fn link_core(engine: &Engine, module: &[u8]) -> Result<wasmtime::InstancePre<Host>, BadModule> {
    let module = Module::new(engine, module).map_err(|error| not_compiled(&error))?;
    let start = module.get_export("_start");
    let is_entry = |ty: &FuncType| ty.params().len() == 0 && ty.results().len() == 0;
    if !start.as_ref().and_then(|start| start.func()).is_some_and(is_entry) {
        return Err(BadModule("its `_start` is not a function that takes and gives nothing".to_owned()));
    }
    let mut linker = wasmtime::Linker::new(engine);
    host::add_preview1(&mut linker).map_err(|error| not_compiled(&error))?;
    linker.instantiate_pre(&module).map_err(|error| not_granted(&error))
}

fn link(engine: &Engine, component: &[u8]) -> Result<Entry, BadModule> {
    let component = Component::new(engine, component).map_err(|error| not_compiled(&error))?;
    let mut linker = Linker::new(engine);
    host::add_to_linker(&mut linker).map_err(|error| not_compiled(&error))?;
    host::refuse_sockets(&mut linker, &component).map_err(|error| not_compiled(&error))?;
    entry(linker.instantiate_pre(&component).map_err(|error| not_granted(&error))?)
}

/// Where a component starts. Its type is looked at as well: otherwise each attempt would find out anew.
fn entry(instance: InstancePre<Host>) -> Result<Entry, BadModule> {
    let (component, types) = (instance.component(), instance.instance_type());
    if let Some((ComponentItem::ComponentFunc(run), index)) = component.get_export(None, "run") {
        run.typecheck::<RunParams, RunResults>(&types).map_err(|error| {
            BadModule(format!("its `run` is not that of the `algorithm` world; build it with longboat-sdk ({error:#})"))
        })?;
        return Ok(Entry::Algorithm(instance, index));
    }
    let ty = component.component_type();
    let name = ty.exports(component.engine()).map(|(name, _)| name).find(|name| name.starts_with("wasi:cli/run@0.2"));
    let found = name.and_then(|name| {
        let interface = component.get_export_index(None, name)?;
        component.get_export(Some(&interface), "run")
    });
    let Some((ComponentItem::ComponentFunc(run), index)) = found else {
        return Err(BadModule(
            "the component has no entry: it exports neither `wasi:cli/run` nor the `algorithm` world's `run`"
                .to_owned(),
        ));
    };
    run.typecheck::<(), CommandResults>(&types)
        .map_err(|error| BadModule(format!("the `run` of its `wasi:cli/run` is not WASI's ({error:#})")))?;
    Ok(Entry::Command(instance, index))
}
