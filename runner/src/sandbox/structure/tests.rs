use super::*;
use proptest::prelude::*;
use wasm_encoder::{CodeSection, Component, Function, FunctionSection, ModuleSection, TypeSection, ValType};

const MEMORY: u64 = 16 << 20;

fn outcome(bytes: &[u8]) -> Result<(), String> {
    check(bytes, MEMORY).map_err(|error| error.to_string())
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

/// The one passes, and the other is refused with a message that has these parts.
fn assert_bound(inside: &[u8], outside: &[u8], parts: &[&str]) {
    outcome(inside).unwrap();
    let message = outcome(outside).unwrap_err();
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

/// A module that says the same so many times.
fn repeated(times: usize, item: &str) -> Vec<u8> {
    wat(&format!("(module (type (func)) (func) (memory 0) (table 1 funcref) {})", format!("{item} ").repeat(times)))
}

/// A module with so many functions of the type `[] -> []`, each with this body.
fn functions(times: usize, locals: &[(u32, ValType)], body: &[u8]) -> Vec<u8> {
    let (mut types, mut functions, mut code) = (TypeSection::new(), FunctionSection::new(), CodeSection::new());
    types.ty().function([], []);
    for _ in 0..times {
        functions.function(0);
        let mut function = Function::new(locals.iter().copied());
        function.raw(body.iter().copied()).instructions().end();
        code.function(&function);
    }
    let mut module = wasm_encoder::Module::new();
    module.section(&types).section(&functions).section(&code);
    module.finish()
}

#[test]
fn what_may_be_repeated_may_be_repeated_so_often_and_no_more() {
    for (item, most, what) in [
        ("(memory 0)", MAX_MEMORIES as usize - 1, "memories"),
        ("(table 0 funcref)", MAX_TABLES as usize - 1, "tables"),
        ("(type (func))", 10_000 - 1, "types of functions"),
        (r#"(import "a" "b" (func))"#, 20_000, "imports"),
        ("(global i32 (i32.const 0))", 20_000, "globals"),
        ("(elem func)", 10_000, "element segments"),
        (r#"(data "")"#, 20_000, "data segments"),
    ] {
        let module = |times| match what {
            "imports" => wat(&format!("(module {})", item.repeat(times))),
            _ => repeated(times, item),
        };
        assert_bound(&module(most), &module(most + 1), &[what, "may have"]);
    }
    let exports = |times: usize| {
        let exports: String = (0..times).map(|n| format!(r#"(export "{n}" (func 0))"#)).collect();
        wat(&format!("(module (func) {exports})"))
    };
    assert_bound(&exports(50_000), &exports(50_001), &["50001 exports", "50000"]);
    let elements = |times: usize| wat(&format!("(module (func) (elem func {}))", "0 ".repeat(times)));
    assert_bound(&elements(200_000), &elements(200_001), &["200001 elements"]);
}

#[test]
fn functions_have_bounds_in_number_and_in_size() {
    let body = |size| functions(1, &[], &vec![0x01; size]);
    // The count of the locals and the end are bytes of the body too.
    assert_bound(&body(MAX_BODY - 2), &body(MAX_BODY - 1), &["524289 bytes in one function"]);
    assert_bound(&functions(50_000, &[], &[]), &functions(50_001, &[], &[]), &["50001 functions"]);
    let ten = |count| functions(count, &[], &vec![0x01; MAX_BODY - 2]);
    assert_bound(&ten(64), &ten(65), &["bytes of code", "33554432"]);
}

#[test]
fn locals_are_counted_before_there_is_room_for_them() {
    let locals = |count| functions(1, &[(count, ValType::I32)], &[]);
    assert_bound(&locals(5_000), &locals(5_001), &["5001 locals", "5000"]);
    assert!(outcome(&locals(u32::MAX)).unwrap_err().contains("4294967295 locals"));
    let twice = functions(1, &[(5_000, ValType::I32), (1, ValType::I64)], &[]);
    assert!(outcome(&twice).unwrap_err().contains("5001 locals"));
}

#[test]
fn parameters_and_results_have_bounds() {
    let ty = |params: usize, results: usize| {
        let (params, results) = ("i32 ".repeat(params), "i32 ".repeat(results));
        wat(&format!("(module (type (func (param {params}) (result {results}))))"))
    };
    assert_bound(&ty(128, 16), &ty(129, 16), &["129 parameters"]);
    assert_bound(&ty(128, 16), &ty(128, 17), &["17 results"]);
}

#[test]
fn memory_and_tables_at_the_start_have_bounds() {
    let memory = |pages: u64| wat(&format!("(module (memory 1) (memory {pages}))"));
    assert_bound(&memory(255), &memory(256), &["starts with 16.1 MiB of memory", "more than 16.0 MiB"]);
    let table = |elements: usize| wat(&format!("(module (table {elements} funcref))"));
    assert_bound(&table(MAX_TABLE_ELEMENTS), &table(MAX_TABLE_ELEMENTS + 1), &["100001 elements in one table"]);
}

#[test]
fn what_is_nested_counts_too_and_nests_only_so_deep() {
    let modules = |count: usize| wat(&format!("(component {})", "(core module)".repeat(count)));
    assert_bound(&modules(64), &modules(65), &["65 modules in it"]);
    let parts = |count: usize| wat(&format!("(component {})", "(component)".repeat(count)));
    assert_bound(&parts(64), &parts(65), &["65 components in it"]);
    let memories = |count: usize| wat(&format!("(component {})", "(core module (memory 0))".repeat(count)));
    assert_bound(&memories(8), &memories(9), &["9 memories"]);
    let depth = |levels: usize| wat(&format!("{}{}", "(component ".repeat(levels), ")".repeat(levels)));
    assert_bound(&depth(8), &depth(9), &["9 levels"]);
    let instances = |count: usize| {
        wat(&format!("(component (core module $m) {})", "(core instance (instantiate $m))".repeat(count)))
    };
    assert_bound(&instances(MAX_INSTANCES as usize), &instances(MAX_INSTANCES as usize + 1), &["instances of modules"]);
    let types = |count: usize| wat(&format!("(component {})", "(type u8)".repeat(count)));
    assert_bound(&types(20_000), &types(20_001), &["20001 definitions"]);
}

#[test]
fn the_work_that_a_body_makes_has_a_bound_whatever_its_size() {
    // Each is at most a few kilobytes, and would take the compiler from seconds to minutes.
    let loops = |count: usize| functions(1, &[], &[0x03, 0x40, 0x0b].repeat(count));
    assert_bound(&loops(1_000), &loops(1_001), &["1001 loops in one function"]);
    let among_locals = |count: usize| functions(1, &[(1_000, ValType::I32)], &[0x03, 0x40, 0x0b].repeat(count));
    assert_bound(&among_locals(100), &among_locals(500), &["units of work in one function"]);
    let branches = |times: usize| functions(times, &[], &[0x41, 0x00, 0x0d, 0x00].repeat(1_000));
    assert_bound(&branches(1_000), &branches(5_000), &["units of work in all functions together"]);
}

#[test]
fn what_would_not_be_deterministic_or_not_be_counted_is_no_valid_module() {
    for text in [
        "(module (memory i64 1))",
        "(module (memory 1 1 shared))",
        "(module (type (struct)))",
        "(module (tag))",
        "(module (table 1 externref))",
    ] {
        let message = outcome(&wat(text)).unwrap_err();
        assert!(message.contains("not valid"), "{text}: {message}");
    }
}

#[test]
fn names_have_a_bound() {
    let named = |bytes: usize| {
        let mut module = wasm_encoder::Module::new();
        module.section(&wasm_encoder::CustomSection { name: "name".into(), data: vec![0; bytes].into() });
        module.finish()
    };
    assert_bound(&named(16 << 20), &named((16 << 20) + 1), &["bytes of names"]);
}

proptest! {
    #[test]
    fn foreign_bytes_are_refused_or_accepted_and_nothing_else(
        bytes in proptest::collection::vec(any::<u8>(), 0..512),
        is_component in any::<bool>(),
    ) {
        let header: &[u8] = if is_component { b"\0asm\x0d\0\x01\0" } else { b"\0asm\x01\0\0\0" };
        let _ = outcome(&[header, &bytes].concat());
    }

    #[test]
    fn damaged_modules_are_refused_or_accepted_and_nothing_else(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut component = Component::new();
        let mut module = wasm_encoder::Module::new();
        module.section(&wasm_encoder::RawSection { id: 0, data: b"\x01n" });
        component.section(&ModuleSection(&module));
        let mut inner = functions(3, &[(4, ValType::I64)], &[0x03, 0x40, 0x20, 0x00, 0x1a, 0x0b]);
        let at = at.index(inner.len());
        inner[at] = byte;
        let _ = outcome(&inner);
        component.section(&wasm_encoder::RawSection { id: 1, data: &inner });
        let _ = outcome(&component.finish());
    }
}
