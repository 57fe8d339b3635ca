//! From a module's bytes to what is compiled.
//!
//! A command that is a core module stays one. An algorithm of the SDK becomes a component by the preview 1
//! adapter. What nobody can run is refused here, before anything is compiled.

use super::host::PREVIEW1;
use super::{BadModule, bulk, not_valid};
use std::sync::LazyLock;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER as COMMAND_ADAPTER,
    WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER as REACTOR_ADAPTER,
};
use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{ImportSection, RawSection};
use wasmparser::{Encoding, ExternalKind, Import, Parser, Payload, TypeRef};
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::{Resolve, WorldId};

/// The largest module in bytes; a Python interpreter with its libraries has 18 MB.
pub const MAX_MODULE: usize = 64 << 20;
/// The interface that takes the place of `proc_exit`, and its function.
const PROCESS: (&str, &str) = ("longboat:algorithm/process@0.1.0", "exit");
/// Where the `algorithm` world's imports live.
const OWN_PACKAGE: &str = "longboat:algorithm/";

/// What the preview 1 adapter of a component keeps from its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wrapped {
    /// It copies the environment into little room.
    pub reads_environment: bool,
    /// It tells success and failure only.
    pub loses_exit_codes: bool,
}

/// What is compiled of a module.
#[derive(Debug)]
pub enum Prepared {
    /// A command on preview 1.
    Core(Vec<u8>),
    /// A component, and what the adapter in it does if there is one.
    Component(Vec<u8>, Option<Wrapped>),
}

impl Prepared {
    /// The bytes that are compiled.
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Prepared::Core(bytes) | Prepared::Component(bytes, _) => bytes,
        }
    }
}

/// What is compiled of these bytes.
///
/// # Errors
/// [`BadModule`], which says what is wrong and what an author can do about it.
pub fn prepare(bytes: &[u8]) -> Result<Prepared, BadModule> {
    if bytes.len() > MAX_MODULE {
        return Err(BadModule(format!("it has {} bytes, and a module may have {MAX_MODULE}", bytes.len())));
    }
    if encoding(bytes)? == Encoding::Component {
        return Ok(Prepared::Component(bulk::component_in_pieces(bytes)?, wrapped(bytes)?));
    }
    let adapter = match look(bytes)? {
        Kind::Command => return Ok(Prepared::Core(bulk::in_pieces(bytes)?.into_owned())),
        Kind::CommandOfComponents => COMMAND_ADAPTER,
        Kind::Algorithm => REACTOR_ADAPTER,
    };
    let mut module = bulk::in_pieces(&rewrite(bytes)?)?.into_owned();
    let wrapped = wrapped(&module)?;
    let encode = |module: &mut Vec<u8>| {
        let (resolve, world) = &*PROCESS_WORLD;
        wit_component::embed_component_metadata(module, resolve, *world, StringEncoding::UTF8)?;
        ComponentEncoder::default().validate(true).module(module)?.adapter(PREVIEW1, adapter)?.encode()
    };
    let component =
        encode(&mut module).map_err(|error| BadModule(format!("it cannot be made a component: {error:#}")))?;
    Ok(Prepared::Component(component, wrapped))
}

/// Whether these bytes are a core module or a component, by how they begin.
///
/// # Errors
/// [`BadModule`] if they are neither.
pub(super) fn encoding(bytes: &[u8]) -> Result<Encoding, BadModule> {
    if Parser::is_core_wasm(bytes) {
        Ok(Encoding::Module)
    } else if Parser::is_component(bytes) {
        Ok(Encoding::Component)
    } else {
        Err(BadModule(
            "it is not WebAssembly; build the program with `cargo build --target wasm32-wasip1`, \
             or with another compiler for wasm32-wasi"
                .to_owned(),
        ))
    }
}

/// What a core module is, by its imports and exports.
enum Kind {
    /// It has a `main` and uses preview 1 alone.
    Command,
    /// It has a `main` and uses interfaces of components.
    CommandOfComponents,
    /// It exports the `algorithm` world.
    Algorithm,
}

/// Looks at a core module's imports and exports.
fn look(bytes: &[u8]) -> Result<Kind, BadModule> {
    let (mut is_command, mut has_world, mut is_plain, mut calls) = (false, false, true, false);
    let (mut has_memory, mut reallocates) = (false, false);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(not_valid)? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import.map_err(not_valid)?;
                    granted(&import)?;
                    is_plain &= import.module == PREVIEW1;
                    calls = true;
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export.map_err(not_valid)?;
                    is_command |= export.name == "_start";
                    reallocates |= export.name == "cabi_realloc";
                    has_memory |= export.name == "memory" && export.kind == ExternalKind::Memory;
                }
            }
            Payload::CustomSection(section) => has_world |= section.name().starts_with("component-type"),
            _ => {}
        }
    }
    let refused = |message: &str| Err(BadModule(message.to_owned()));
    match (is_command, has_world) {
        (true, _) if is_plain && calls && !has_memory => {
            refused("it exports no `memory`, and without one no function of WASI can be called")
        }
        (true, _) if is_plain => Ok(Kind::Command),
        (false, false) => refused(
            "it has no entry: it exports neither `_start`, as a program with `main` does, nor the `run` of \
             longboat-sdk's `algorithm!`",
        ),
        // Without `cabi_realloc` the adapter takes its memory behind the back of the program's allocator.
        _ if !reallocates => refused(
            "it uses interfaces of components, and exports no `cabi_realloc` by which they are given memory; build it \
             with longboat-sdk, or with wit-bindgen",
        ),
        (true, _) => Ok(Kind::CommandOfComponents),
        (false, true) => Ok(Kind::Algorithm),
    }
}

/// Refuses what nobody grants.
fn granted(import: &Import<'_>) -> Result<(), BadModule> {
    let Import { module, name, .. } = import;
    if *module == PREVIEW1 || module.starts_with(OWN_PACKAGE) || module.starts_with("wasi:") {
        return Ok(());
    }
    if *module == "wasi_unstable" {
        return Err(BadModule(format!(
            "it imports `{name}` from `wasi_unstable`, WASI as it was in 2019; build it for `{PREVIEW1}`, which compilers \
             of today call wasm32-wasip1 or wasm32-wasi"
        )));
    }
    Err(BadModule(format!(
        "it imports `{name}` from `{module}`, which nobody grants: algorithms get WASI preview 1, WASI 0.2 without \
         sockets, and the interfaces of longboat-sdk"
    )))
}

/// What the preview 1 adapter in a component does, if there is one: then one of its modules imports preview
/// 1.
fn wrapped(component: &[u8]) -> Result<Option<Wrapped>, BadModule> {
    let mut wrapped = None;
    for payload in Parser::new(0).parse_all(component) {
        let Payload::ImportSection(imports) = payload.map_err(not_valid)? else { continue };
        for import in imports.into_imports() {
            let import = import.map_err(not_valid)?;
            if import.module == PREVIEW1 {
                let nothing = Wrapped { reads_environment: false, loses_exit_codes: false };
                let wrapped = wrapped.get_or_insert(nothing);
                wrapped.reads_environment |= import.name.starts_with("environ_");
                wrapped.loses_exit_codes |= import.name == "proc_exit";
            }
        }
    }
    Ok(wrapped)
}

/// The module with `proc_exit` imported from [`PROCESS`] and without its debug sections.
fn rewrite(bytes: &[u8]) -> Result<Vec<u8>, BadModule> {
    let mut module = wasm_encoder::Module::new();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(not_valid)?;
        match &payload {
            Payload::ImportSection(imports) => {
                let mut section = ImportSection::new();
                for import in imports.clone().into_imports() {
                    let import = import.map_err(not_valid)?;
                    let is_exit = import.module == PREVIEW1
                        && import.name == "proc_exit"
                        && matches!(import.ty, TypeRef::Func(_));
                    let (from, name) = if is_exit { PROCESS } else { (import.module, import.name) };
                    let ty = RoundtripReencoder.entity_type(import.ty).map_err(not_valid)?;
                    section.import(from, name, ty);
                }
                module.section(&section);
            }
            Payload::CustomSection(section) if section.name().starts_with(".debug") => {}
            payload => {
                if let Some((id, range)) = payload.as_section() {
                    module.section(&RawSection { id, data: &bytes[range] });
                }
            }
        }
    }
    Ok(module.finish())
}

/// The `process-exit` world, from the one copy of the contract.
static PROCESS_WORLD: LazyLock<(Resolve, WorldId)> = LazyLock::new(|| {
    let mut resolve = Resolve::default();
    let mut push = |name: &str, text: &str| {
        resolve.push_source(name, text).expect("the contract's own text parses, as every build of the host shows")
    };
    push("io.wit", include_str!("../../../wit/deps/io.wit"));
    push("clocks.wit", include_str!("../../../wit/deps/clocks.wit"));
    push("random.wit", include_str!("../../../wit/deps/random.wit"));
    push("filesystem.wit", include_str!("../../../wit/deps/filesystem.wit"));
    push("sockets.wit", include_str!("../../../wit/deps/sockets.wit"));
    push("cli.wit", include_str!("../../../wit/deps/cli.wit"));
    let package = push("world.wit", include_str!("../../../wit/world.wit"));
    let world = resolve.select_world(&[package], Some("process-exit")).expect("the contract has this world");
    (resolve, world)
});
