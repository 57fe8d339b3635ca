//! What a module is made of, looked at before anything is compiled.
//!
//! The compiler cannot be stopped, and some of its steps take time and memory in the square of what they are
//! given. So everything that it is given is bounded here, over a module or component and all that is nested
//! in it, and the work that each body makes for it is estimated ([`effort`]). What passes is valid for the
//! engine, too.
//!
//! wasmparser's own limits hold the rest: names of 100,000 bytes, types of at most 1,000,000 parts when
//! spelled out and 100 levels ([`nesting`]), br_tables within their body, 10,000 cases or fields, 1,000
//! flags.

mod effort;
mod nesting;

use super::BadModule;
use super::engine::{FEATURES, MAX_INSTANCES, MAX_MEMORIES, MAX_TABLE_ELEMENTS, MAX_TABLES};
use super::modules::{MAX_MODULE, encoding};
use super::not_valid;
use bytesize::ByteSize;
use effort::Effort;
use wasmparser::{
    CanonicalFunction, CanonicalOption, CompositeInnerType, Encoding, FuncValidatorAllocations, FunctionBody, Instance,
    MemoryType, Parser, Payload, RecGroup, TableType, ValidPayload, Validator,
};

/// The bytes of the largest body. CPython's start-up code, one straight line of 427 kB, is the largest that
/// is known.
const MAX_BODY: usize = 512 << 10;
/// Parameters of a function or block; languages that compile to WASI pass what does not fit in memory.
const MAX_PARAMS: usize = 128;
/// Results of a function or block.
const MAX_RESULTS: usize = 16;
/// Modules and components within each other.
const MAX_NESTING: u64 = 8;
/// The size of a page of linear memory.
const PAGE: u64 = 64 << 10;

/// Something that is counted over a whole module, and how much of it there may be.
struct Tally {
    what: &'static str,
    most: u64,
    seen: u64,
}

impl Tally {
    const fn new(what: &'static str, most: u64) -> Self {
        Self { what, most, seen: 0 }
    }

    fn add(&mut self, more: impl TryInto<u64>) -> Result<(), BadModule> {
        self.seen = self.seen.saturating_add(more.try_into().unwrap_or(u64::MAX));
        within(self.what, self.seen, self.most)
    }
}

/// Refuses what is more than it may be.
fn within(what: &str, has: impl TryInto<u64>, most: u64) -> Result<(), BadModule> {
    let has = has.try_into().unwrap_or(u64::MAX);
    if has <= most {
        return Ok(());
    }
    Err(BadModule(format!(
        "its structure is too large to be compiled safely: it has at least {has} {what}, and may have {most}"
    )))
}

/// What has been seen of a module. Each bound of a count is at least twice what a whole Python interpreter
/// has, the largest program that is known to be wanted: 13,331 functions, 1,098 types, 2,246 imports, 4,182
/// exports, 871 globals, 1,770 data segments and 65 instances, 14 of them of its 14 modules. The bytes of
/// one function ([`MAX_BODY`]) have less room: its largest body has four fifths of them.
struct Structure {
    functions: Tally,
    code: Tally,
    types: Tally,
    imports: Tally,
    exports: Tally,
    globals: Tally,
    memories: Tally,
    tables: Tally,
    element_segments: Tally,
    elements: Tally,
    data_segments: Tally,
    modules: Tally,
    components: Tally,
    instances: Tally,
    instantiations: Tally,
    definitions: Tally,
    nested_lifts: Tally,
    names: Tally,
    initial_memory: u64,
    max_memory: u64,
    effort: u64,
}

/// Looks at a module or component, which starts with at most `max_memory` bytes of linear memory.
///
/// # Errors
/// [`BadModule`] with the bound that it passes, or the reason why it is not valid.
pub(super) fn check(bytes: &[u8], max_memory: u64) -> Result<(), BadModule> {
    encoding(bytes)?;
    within("bytes", bytes.len(), MAX_MODULE as u64)?;
    nesting::check(bytes)?;
    let mut structure = Structure::new(max_memory);
    let mut validator = Validator::new_with_features(FEATURES);
    let mut allocations = FuncValidatorAllocations::default();
    let mut nesting = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(not_valid)?;
        match &payload {
            Payload::Version { encoding, .. } => {
                nesting.push(*encoding);
                within("levels of modules within each other", nesting.len(), MAX_NESTING)?;
            }
            Payload::End(_) => drop(nesting.pop()),
            payload => structure.add(payload, &nesting)?,
        }
        if let ValidPayload::Func(function, body) = validator.payload(&payload).map_err(not_valid)? {
            let mut validator = function.into_validator(std::mem::take(&mut allocations));
            structure.body(&mut validator, &body)?;
            allocations = validator.into_allocations();
        }
    }
    Ok(())
}

impl Structure {
    fn new(max_memory: u64) -> Self {
        Self {
            functions: Tally::new("functions", 50_000),
            code: Tally::new("bytes of code", 32 << 20),
            types: Tally::new("types of functions", 10_000),
            imports: Tally::new("imports", 20_000),
            exports: Tally::new("exports", 50_000),
            globals: Tally::new("globals", 20_000),
            memories: Tally::new("memories", MAX_MEMORIES.into()),
            tables: Tally::new("tables", MAX_TABLES.into()),
            element_segments: Tally::new("element segments", 10_000),
            elements: Tally::new("elements", 200_000),
            data_segments: Tally::new("data segments", 20_000),
            modules: Tally::new("modules in it", 64),
            components: Tally::new("components in it", 64),
            instances: Tally::new("instances", 1_000),
            instantiations: Tally::new("instances of modules", MAX_INSTANCES.into()),
            definitions: Tally::new("definitions of components", 20_000),
            nested_lifts: Tally::new("functions that components within it lift", 64),
            names: Tally::new("bytes of names", 16 << 20),
            initial_memory: 0,
            max_memory,
            effort: 0,
        }
    }

    fn add(&mut self, payload: &Payload<'_>, nesting: &[Encoding]) -> Result<(), BadModule> {
        match payload {
            Payload::TypeSection(types) => {
                types.clone().into_iter().try_for_each(|group| self.group(&group.map_err(not_valid)?))
            }
            Payload::ImportSection(imports) => self.imports.add(imports.clone().into_imports().count()),
            Payload::FunctionSection(functions) => self.functions.add(functions.count()),
            Payload::TableSection(tables) => {
                tables.clone().into_iter().try_for_each(|table| self.table(table.map_err(not_valid)?.ty))
            }
            Payload::MemorySection(memories) => {
                memories.clone().into_iter().try_for_each(|memory| self.memory(memory.map_err(not_valid)?))
            }
            Payload::GlobalSection(globals) => self.globals.add(globals.count()),
            Payload::ExportSection(exports) => self.exports.add(exports.count()),
            Payload::ElementSection(segments) => {
                self.element_segments.add(segments.count())?;
                segments.clone().into_iter().try_for_each(|segment| self.segment(&segment.map_err(not_valid)?))
            }
            Payload::DataSection(segments) => self.data_segments.add(segments.count()),
            Payload::CustomSection(section) if section.name() == "name" => self.names.add(section.data().len()),
            Payload::ModuleSection { .. } => self.modules.add(1u64),
            Payload::ComponentSection { .. } => self.components.add(1u64),
            Payload::InstanceSection(instances) => {
                self.instances.add(instances.count())?;
                instances.clone().into_iter().try_for_each(|instance| match instance.map_err(not_valid)? {
                    Instance::Instantiate { .. } => self.instantiations.add(1u64),
                    Instance::FromExports(_) => Ok(()),
                })
            }
            Payload::ComponentInstanceSection(instances) => self.instances.add(instances.count()),
            Payload::CoreTypeSection(types) => self.definitions.add(types.count()),
            Payload::ComponentTypeSection(types) => self.definitions.add(types.count()),
            Payload::ComponentAliasSection(aliases) => self.definitions.add(aliases.count()),
            Payload::ComponentImportSection(imports) => self.definitions.add(imports.count()),
            Payload::ComponentExportSection(exports) => self.definitions.add(exports.count()),
            Payload::ComponentCanonicalSection(functions) => {
                self.definitions.add(functions.count())?;
                let is_nested = nesting.len() > 1;
                functions.clone().into_iter().filter(|_| is_nested).try_for_each(|function| {
                    match function.map_err(not_valid)? {
                        CanonicalFunction::Lift { options, .. } => self.nested_lift(&options),
                        _ => Ok(()),
                    }
                })
            }
            _ => Ok(()),
        }
    }

    /// A function that one component offers to another. What it takes and returns is copied by code that the
    /// engine makes of its type: the type's size decides how much, and nothing stops the copying of a long
    /// string.
    fn nested_lift(&mut self, options: &[CanonicalOption]) -> Result<(), BadModule> {
        if options.iter().any(|option| matches!(option, CanonicalOption::Memory(_))) {
            return Err(BadModule(
                "components in it pass strings, lists or large records to each other, and nothing could stop their \
                 copying; link them into one core module"
                    .to_owned(),
            ));
        }
        self.nested_lifts.add(1u64)
    }

    /// Each type of a function costs trampolines between guest and host.
    fn group(&mut self, group: &RecGroup) -> Result<(), BadModule> {
        self.types.add(group.types().len())?;
        for ty in group.types() {
            if let CompositeInnerType::Func(function) = &ty.composite_type.inner {
                within("parameters of one function", function.params().len(), MAX_PARAMS as u64)?;
                within("results of one function", function.results().len(), MAX_RESULTS as u64)?;
            }
        }
        Ok(())
    }

    fn table(&mut self, table: TableType) -> Result<(), BadModule> {
        self.tables.add(1u64)?;
        within("elements in one table", table.initial, MAX_TABLE_ELEMENTS as u64)
    }

    fn memory(&mut self, memory: MemoryType) -> Result<(), BadModule> {
        self.memories.add(1u64)?;
        self.initial_memory = self.initial_memory.saturating_add(memory.initial.saturating_mul(PAGE));
        if self.initial_memory > self.max_memory {
            return Err(BadModule(format!(
                "it starts with {} of memory, and no job here may have more than {}; build it with less initial memory, or \
                 raise the ceiling for `memory`",
                ByteSize::b(self.initial_memory).display().iec(),
                ByteSize::b(self.max_memory).display().iec()
            )));
        }
        Ok(())
    }

    fn segment(&mut self, segment: &wasmparser::Element<'_>) -> Result<(), BadModule> {
        match &segment.items {
            wasmparser::ElementItems::Functions(items) => self.elements.add(items.count()),
            wasmparser::ElementItems::Expressions(_, items) => self.elements.add(items.count()),
        }
    }

    fn body<T: wasmparser::WasmModuleResources>(
        &mut self,
        validator: &mut wasmparser::FuncValidator<T>,
        body: &FunctionBody<'_>,
    ) -> Result<(), BadModule> {
        let size = body.range().len();
        within("bytes in one function", size, MAX_BODY as u64)?;
        self.code.add(size)?;
        let effort = Effort::of(validator, body)?;
        self.effort = self.effort.saturating_add(effort);
        Effort::within(self.effort)
    }
}

#[cfg(test)]
mod tests;
