use super::*;
use proptest::prelude::*;
use wasmtime::{Engine, Instance, Memory, Store, TypedFunc};

const PAGES: u32 = 24;
const SIZE: u32 = PAGES << 16;
const SEGMENT: usize = 700_000;

/// A fill, a copy, and a copy into a second memory, with functions and names around them.
fn module() -> Vec<u8> {
    let (segment, short) = ("0123456789abcdef".repeat(SEGMENT / 16), "short");
    let text = format!(
        r#"(module
          (import "a" "b" (func $imported))
          (memory (export "memory") {PAGES}) (memory (export "other") {PAGES})
          (func (export "fill") (param i32 i32 i32)
            (memory.fill (local.get 0) (local.get 1) (local.get 2)))
          (func (export "copy") (param i32 i32 i32)
            (memory.copy (local.get 0) (local.get 1) (local.get 2)))
          (func (export "across") (param i32 i32 i32)
            (memory.copy 1 0 (local.get 0) (local.get 1) (local.get 2)))
          (func (export "init") (param i32 i32 i32)
            (memory.init $segment (local.get 0) (local.get 1) (local.get 2)))
          (func (export "dropped") (param i32 i32 i32)
            (data.drop $segment) (memory.init $segment (local.get 0) (local.get 1) (local.get 2)))
          (func (memory.init $short (i32.const 0) (i32.const 0) (i32.const 1)))
          (data $segment "{segment}") (data $short "{short}")
          (func (export "calls") (result i32) (call $imported) (call $last))
          (func $last (result i32) (i32.const 7)))"#
    );
    wat::parse_str(text).unwrap()
}

struct Guest {
    store: Store<()>,
    instance: Instance,
}

impl Guest {
    fn new(engine: &Engine, module: &[u8]) -> Self {
        let module = wasmtime::Module::new(engine, module).unwrap();
        let mut store = Store::new(engine, ());
        let imported = wasmtime::Func::wrap(&mut store, || {});
        let instance = Instance::new(&mut store, &module, &[imported.into()]).unwrap();
        let mut guest = Self { store, instance };
        for (place, byte) in guest.memory("memory").iter_mut().enumerate() {
            *byte = (place % 251) as u8;
        }
        guest
    }

    fn memory(&mut self, name: &str) -> &mut [u8] {
        let memory: Memory = self.instance.get_memory(&mut self.store, name).unwrap();
        memory.data_mut(&mut self.store)
    }

    /// Whether it did not trap, and both memories afterwards.
    fn call(&mut self, function: &str, (to, what, length): (u32, u32, u32)) -> (bool, Vec<u8>, Vec<u8>) {
        let function: TypedFunc<(u32, u32, u32), ()> = self.instance.get_typed_func(&mut self.store, function).unwrap();
        let went_well = function.call(&mut self.store, (to, what, length)).is_ok();
        (went_well, self.memory("memory").to_vec(), self.memory("other").to_vec())
    }
}

#[test]
fn every_fill_and_copy_is_replaced_and_nothing_else_changes() {
    let rewritten = in_pieces(&module()).unwrap().into_owned();
    wasmparser::validate(&rewritten).unwrap();
    let counts = bulk_instructions(&rewritten);
    // One instruction in the short way of its helper, and two in the loop and after it; a copy has two
    // loops. The short segment's stays where it was.
    assert_eq!((counts.fills, counts.copies, counts.inits), (3, 2 * 5, 3 + 1));
    let mut guest = Guest::new(&Engine::default(), &rewritten);
    let calls: TypedFunc<(), i32> = guest.instance.get_typed_func(&mut guest.store, "calls").unwrap();
    assert_eq!(calls.call(&mut guest.store, ()).unwrap(), 7);
    let plain = wat::parse_str("(module (func (export \"_start\")))").unwrap();
    assert!(matches!(in_pieces(&plain).unwrap(), Cow::Borrowed(_)));
}

struct Counts {
    fills: usize,
    copies: usize,
    inits: usize,
}

fn bulk_instructions(module: &[u8]) -> Counts {
    let mut counts = Counts { fills: 0, copies: 0, inits: 0 };
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::CodeSectionEntry(body) = payload.unwrap() {
            for operator in body.get_operators_reader().unwrap() {
                match Bulk::of(&operator.unwrap()) {
                    Some(Bulk::Fill { .. }) => counts.fills += 1,
                    Some(Bulk::Copy { .. }) => counts.copies += 1,
                    Some(Bulk::Init { .. }) => counts.inits += 1,
                    None => {}
                }
            }
        }
    }
    counts
}

#[test]
fn modules_within_components_are_rewritten_too() {
    let inner = "(core module (memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 9))))";
    let component = wat::parse_str(format!("(component {inner} (component {inner}))")).unwrap();
    let rewritten = component_in_pieces(&component).unwrap();
    wasmparser::validate(&rewritten).unwrap();
    assert_eq!((bulk_instructions(&component).fills, bulk_instructions(&rewritten).fills), (2, 6));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn a_rewritten_module_does_what_it_did(
        function in prop::sample::select(vec!["fill", "copy", "across", "init", "dropped"]),
        to in 0..SIZE + 9,
        distance in prop::sample::select(vec![-700_001_i64, -262_144, -5, 0, 1, 262_144, 300_000]),
        length in prop::sample::select(vec![0, 1, 262_143, 262_144, 262_145, 524_288, 600_000, 1_000_000, u32::MAX]),
    ) {
        let engine = Engine::default();
        let from = if function == "init" { 0 } else { i64::from(to) };
        let what = u32::try_from((from + distance).max(0)).unwrap();
        let rewritten = in_pieces(&module()).unwrap().into_owned();
        let before = Guest::new(&engine, &module()).call(function, (to, what, length));
        let after = Guest::new(&engine, &rewritten).call(function, (to, what, length));
        prop_assert!(before == after, "{} ({}, {}, {})", function, to, what, length);
    }
}
