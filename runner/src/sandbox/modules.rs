//! From a module's bytes to a component.
//!
//! A core module, as compilers make it for preview 1, is wrapped into a component with the preview 1 adapter.
//! What nobody can run is refused here, before anything is compiled.

use super::{BadModule, bulk};
use std::sync::LazyLock;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as PREVIEW1, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER as COMMAND_ADAPTER,
    WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER as REACTOR_ADAPTER,
};
use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{ImportSection, RawSection};
use wasmparser::{Encoding, Parser, Payload, TypeRef};
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::{Resolve, WorldId};

/// The largest module in bytes; a Python interpreter with its libraries has 18 MB.
pub const MAX_MODULE: usize = 64 << 20;
/// The interface that takes the place of `proc_exit`, and its function.
const PROCESS: (&str, &str) = ("longboat:algorithm/process@0.1.0", "exit");
/// Where the `algorithm` world's imports live.
const OWN_PACKAGE: &str = "longboat:algorithm/";

/// The component that these bytes are, or become.
///
/// # Errors
/// [`BadModule`], which says what is wrong and what an author can do about it.
pub fn componentize(bytes: &[u8]) -> Result<Vec<u8>, BadModule> {
    if bytes.len() > MAX_MODULE {
        return Err(BadModule(format!("it has {} bytes, and a module may have {MAX_MODULE}", bytes.len())));
    }
    if encoding(bytes)? == Encoding::Component {
        return bulk::component_in_pieces(bytes);
    }
    let adapter = adapter(bytes)?;
    let mut module = bulk::in_pieces(&rewrite(bytes)?)?.into_owned();
    let encode = |module: &mut Vec<u8>| {
        let (resolve, world) = &*PROCESS_WORLD;
        wit_component::embed_component_metadata(module, resolve, *world, StringEncoding::UTF8)?;
        ComponentEncoder::default().validate(true).module(module)?.adapter(PREVIEW1, adapter)?.encode()
    };
    encode(&mut module).map_err(|error| BadModule(format!("it cannot be made a component: {error:#}")))
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

/// The adapter for what the module exports, once its imports have been looked at.
fn adapter(bytes: &[u8]) -> Result<&'static [u8], BadModule> {
    let (mut is_command, mut has_world) = (false, false);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(not_valid)? {
            Payload::Version { encoding: Encoding::Component, .. } => unreachable!("the caller has looked"),
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import.map_err(not_valid)?;
                    let granted = import.module == PREVIEW1
                        || import.module.starts_with(OWN_PACKAGE)
                        || import.module.starts_with("wasi:");
                    if !granted {
                        return Err(BadModule(format!(
                            "it imports `{}` from `{}`, which nobody grants: algorithms get WASI preview 1, WASI 0.2 \
                             without sockets, and the interfaces of longboat-sdk",
                            import.name, import.module
                        )));
                    }
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    is_command |= export.map_err(not_valid)?.name == "_start";
                }
            }
            Payload::CustomSection(section) => has_world |= section.name().starts_with("component-type"),
            _ => {}
        }
    }
    match (is_command, has_world) {
        (true, _) => Ok(COMMAND_ADAPTER),
        (false, true) => Ok(REACTOR_ADAPTER),
        (false, false) => Err(BadModule(
            "it has no entry: it exports neither `_start`, as a program with `main` does, nor the `run` of \
             longboat-sdk's `algorithm!`"
                .to_owned(),
        )),
    }
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

pub(super) fn not_valid(error: impl std::fmt::Display) -> BadModule {
    BadModule(format!("it is not valid WebAssembly: {error}"))
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
