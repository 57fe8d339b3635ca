//! How deep the types of components are nested, looked at before anything else reads them.
//!
//! wasmtime's own version of wasmparser, and with it the compiler and wit-component, reads a type within a
//! type by recursion, and only then compares the depth with its limit: 3 kB of types overflow a thread's
//! stack, which ends the process. Newer versions compare first, so one of them reads all such types here
//! once.

use crate::sandbox::BadModule;
use crate::sandbox::not_valid;
use newer_wasmparser::{Parser, Payload};

/// Custom sections that begin so hold a component, which describes a core module's imports and exports.
const DESCRIPTION: &str = "component-type";

/// Reads all types of components in a module or component.
///
/// # Errors
/// [`BadModule`] if they are nested too deep, or cannot be read.
pub(super) fn check(bytes: &[u8]) -> Result<(), BadModule> {
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(not_valid)? {
            Payload::ComponentTypeSection(types) => read_all(types)?,
            // What such a section holds is a component of types; it describes no module that would be
            // described again.
            Payload::CustomSection(section) if section.name().starts_with(DESCRIPTION) => described(section.data())?,
            _ => {}
        }
    }
    Ok(())
}

fn described(component: &[u8]) -> Result<(), BadModule> {
    for payload in Parser::new(0).parse_all(component) {
        if let Payload::ComponentTypeSection(types) = payload.map_err(not_valid)? {
            read_all(types)?;
        }
    }
    Ok(())
}

fn read_all(types: newer_wasmparser::ComponentTypeSectionReader<'_>) -> Result<(), BadModule> {
    for ty in types {
        ty.map_err(not_valid)?;
    }
    Ok(())
}
