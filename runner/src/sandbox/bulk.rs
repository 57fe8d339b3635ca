//! Long fills, copies and initialisations of memory, cut into pieces.
//!
//! wasmtime makes one call of the host's `memset` or `memmove` of a `memory.fill`, `memory.copy` or
//! `memory.init`, however long it is, and nothing can stop it: a gigabyte of fresh pages takes seconds on a
//! busy machine, past the deadline and on a thread that other guests share. So each of these instructions is
//! replaced by a call of a function that works through the range in pieces; its loop looks at fuel and epoch
//! as any other does. What they do, and when they trap, stays as the WebAssembly specification has it: a
//! range that does not fit traps before anything is written.

mod helper;

use super::BadModule;
use super::not_valid;
use std::borrow::Cow;
use std::collections::BTreeMap;
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{CodeSection, Component, FunctionSection, Module, RawSection, TypeSection, ValType};
use wasmparser::{FunctionBody, MemoryType, Operator, Parser, Payload, TypeRef};

/// How a component's binary format numbers the sections that hold a module or a component.
const MODULE_SECTION: u8 = 1;
const COMPONENT_SECTION: u8 = 4;

/// An instruction that works on a range of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Bulk {
    Fill { memory: u32 },
    Copy { to: u32, from: u32 },
    Init { memory: u32, segment: u32 },
}

impl Bulk {
    fn of(operator: &Operator<'_>) -> Option<Self> {
        match *operator {
            Operator::MemoryFill { mem } => Some(Bulk::Fill { memory: mem }),
            Operator::MemoryCopy { dst_mem, src_mem } => Some(Bulk::Copy { to: dst_mem, from: src_mem }),
            Operator::MemoryInit { data_index, mem } => Some(Bulk::Init { memory: mem, segment: data_index }),
            _ => None,
        }
    }

    fn memories(self) -> [u32; 2] {
        match self {
            Bulk::Fill { memory } | Bulk::Init { memory, .. } => [memory; 2],
            Bulk::Copy { to, from } => [to, from],
        }
    }
}

/// The component with every one of its modules rewritten by [`in_pieces`].
///
/// # Errors
/// [`BadModule`] if it is not valid.
pub(super) fn component_in_pieces(component: &[u8]) -> Result<Vec<u8>, BadModule> {
    let mut rewritten = Component::new();
    let (mut parser, mut rest) = (Parser::new(0), component);
    while !rest.is_empty() {
        let wasmparser::Chunk::Parsed { consumed, payload } = parser.parse(rest, true).map_err(not_valid)? else {
            return Err(not_valid("it ends too early"));
        };
        rest = &rest[consumed..];
        let nested = match &payload {
            Payload::ModuleSection { unchecked_range: range, .. }
            | Payload::ComponentSection { unchecked_range: range, .. } => {
                let (nested, after) =
                    rest.split_at_checked(range.len()).ok_or_else(|| not_valid("it ends too early"))?;
                rest = after;
                nested
            }
            payload => {
                if let Some((id, range)) = payload.as_section() {
                    rewritten.section(&RawSection { id, data: &component[range] });
                }
                continue;
            }
        };
        match payload {
            Payload::ModuleSection { .. } => {
                rewritten.section(&RawSection { id: MODULE_SECTION, data: &in_pieces(nested)? });
            }
            _ => {
                let data = &component_in_pieces(nested)?;
                rewritten.section(&RawSection { id: COMPONENT_SECTION, data });
            }
        }
    }
    Ok(rewritten.finish())
}

/// The core module with functions in the place of its long fills and copies; unchanged if it has none.
///
/// # Errors
/// [`BadModule`] if it is not valid.
pub(super) fn in_pieces(module: &[u8]) -> Result<Cow<'_, [u8]>, BadModule> {
    let layout = Layout::of(module)?;
    if layout.helpers.is_empty() {
        return Ok(Cow::Borrowed(module));
    }
    let mut rewritten = Module::new();
    let mut rewriter = Rewriter { helpers: &layout.helpers };
    let mut code = CodeSection::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.map_err(not_valid)?;
        match payload {
            Payload::TypeSection(types) => {
                let mut section = TypeSection::new();
                rewriter.parse_type_section(&mut section, types).map_err(not_valid)?;
                // The type of every helper: where to, what or where from, and how many bytes.
                section.ty().function([ValType::I32; 3], []);
                rewritten.section(&section);
            }
            Payload::FunctionSection(functions) => {
                let mut section = FunctionSection::new();
                rewriter.parse_function_section(&mut section, functions).map_err(not_valid)?;
                layout.helpers.values().for_each(|_| {
                    section.function(layout.types);
                });
                rewritten.section(&section);
            }
            Payload::CodeSectionStart { .. } => {}
            Payload::CodeSectionEntry(body) => {
                if bulk_operators(&body)?.is_empty() {
                    code.raw(&module[body.range()]);
                } else {
                    rewriter.parse_function_body(&mut code, body).map_err(not_valid)?;
                }
                if code.len() == layout.functions {
                    layout.helpers.keys().for_each(|bulk| {
                        code.function(&helper::function(*bulk, &layout.segments));
                    });
                    rewritten.section(&code);
                }
            }
            payload => {
                if let Some((id, range)) = payload.as_section() {
                    rewritten.section(&RawSection { id, data: &module[range] });
                }
            }
        }
    }
    Ok(Cow::Owned(rewritten.finish()))
}

/// Where a module's helpers go: after everything that it has of its own, so that no index of its own
/// changes.
#[derive(Default)]
struct Layout {
    /// Types of its own.
    types: u32,
    /// Functions that it defines.
    functions: u32,
    /// The lengths of its data segments.
    segments: Vec<usize>,
    /// The index of the function for each kind of instruction that it uses.
    helpers: BTreeMap<Bulk, u32>,
}

impl Layout {
    fn of(module: &[u8]) -> Result<Self, BadModule> {
        let mut layout = Self::default();
        let (mut imported, mut memories) = (0, Vec::new());
        for payload in Parser::new(0).parse_all(module) {
            match payload.map_err(not_valid)? {
                Payload::TypeSection(types) => {
                    for group in types {
                        let types = group.map_err(not_valid)?.types().len();
                        layout.types = layout.types.saturating_add(u32::try_from(types).unwrap_or(u32::MAX));
                    }
                }
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        match import.map_err(not_valid)?.ty {
                            TypeRef::Func(_) | TypeRef::FuncExact(_) => imported += 1,
                            TypeRef::Memory(memory) => memories.push(memory),
                            _ => {}
                        }
                    }
                }
                Payload::MemorySection(own) => {
                    for memory in own {
                        memories.push(memory.map_err(not_valid)?);
                    }
                }
                Payload::FunctionSection(functions) => layout.functions = functions.count(),
                Payload::DataSection(segments) => {
                    for segment in segments {
                        layout.segments.push(segment.map_err(not_valid)?.data.len());
                    }
                }
                Payload::CodeSectionEntry(body) => {
                    layout.helpers.extend(bulk_operators(&body)?.into_iter().map(|bulk| (bulk, 0)));
                }
                _ => {}
            }
        }
        // Where addresses have other types the instruction stays as it is, and the engine does not run the
        // module.
        let is_plain = |memory: u32| memories.get(memory as usize).is_some_and(is_plain);
        layout.helpers.retain(|bulk, _| bulk.memories().into_iter().all(is_plain));
        // A segment that is one piece at most needs no cutting; a Python interpreter has hundreds of them.
        let is_long =
            |segment: u32| layout.segments.get(segment as usize).is_some_and(|length| *length > helper::PIECE as usize);
        layout.helpers.retain(|bulk, _| !matches!(bulk, Bulk::Init { segment, .. } if !is_long(*segment)));
        for (place, index) in (imported + layout.functions..).zip(layout.helpers.values_mut()) {
            *index = place;
        }
        Ok(layout)
    }
}

fn is_plain(memory: &MemoryType) -> bool {
    !memory.memory64 && !memory.shared && memory.page_size_log2.is_none()
}

fn bulk_operators(body: &FunctionBody<'_>) -> Result<Vec<Bulk>, BadModule> {
    let mut found = Vec::new();
    for operator in body.get_operators_reader().map_err(not_valid)? {
        found.extend(Bulk::of(&operator.map_err(not_valid)?));
    }
    found.dedup();
    Ok(found)
}

struct Rewriter<'a> {
    helpers: &'a BTreeMap<Bulk, u32>,
}

impl Reencode for Rewriter<'_> {
    type Error = std::convert::Infallible;

    fn instruction<'a>(&mut self, operator: Operator<'a>) -> Result<wasm_encoder::Instruction<'a>, Error<Self::Error>> {
        match Bulk::of(&operator).and_then(|bulk| self.helpers.get(&bulk)) {
            Some(helper) => Ok(wasm_encoder::Instruction::Call(*helper)),
            None => utils::instruction(self, operator),
        }
    }
}

#[cfg(test)]
mod tests;
