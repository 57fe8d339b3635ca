//! What calls of the host cost their guest, and that none of them can be used to hold up others.

use super::*;
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Resolve, TypeDefKind, WorldItem};

/// A loop around a call.
fn endless(call: &str) -> String {
    command("", &format!("(loop {call} (br 0))"))
}

/// Calls that move much, or that the host's file system has to work for, for next to no instructions of the
/// guest's.
const CALLS: [(&str, &str); 6] = [
    ("random numbers", "(drop (call $random (i32.const 1024) (i32.const 32768)))"),
    ("the clock", "(drop (call $clock (i32.const 1) (i64.const 0) (i32.const 1024)))"),
    ("the log", "(call $print (i32.const 2) (i32.const 60000))"),
    ("a read of nothing", "(drop (call $fd_read (i32.const 0) (i32.const 1024) (i32.const 1) (i32.const 1032)))"),
    ("a bad descriptor", "(call $print (i32.const 77) (i32.const 8))"),
    ("refused memory", "(drop (memory.grow (i32.const 60000)))"),
];

#[tokio::test]
async fn no_loop_of_calls_is_cheap() {
    let ways = fixtures();
    for (fixture, (what, call)) in ways.iter().flat_map(|fixture| CALLS.map(|call| (fixture, call))) {
        let mut run = fixture.job();
        run.limits.fuel = 20_000_000;
        let started = Instant::now();
        let outcome = fixture.run(&endless(call), run).await;
        assert_eq!(outcome.verdict.kind(), "out-of-fuel", "{what}");
        // As long as pure compute takes for so much fuel, thirty times over.
        assert!(started.elapsed() < Duration::from_secs(3), "{what} took {:?}", started.elapsed());
        assert_eq!(outcome.fuel, 20_000_000, "{what}: all of it is gone, and no more");
    }
}

#[tokio::test]
async fn a_loop_of_calls_ends_at_its_deadline_and_takes_turns() {
    let meterings = [Metering::IN_GUEST, Metering::AT_SLICES];
    for (metering, way) in meterings.into_iter().flat_map(|one| [(one, Way::Core), (one, Way::Component)]) {
        let fixture = Fixture { way, ..fixture_with(&SandboxConfig { metering, threads: 1, ..CONFIG }) };
        let compile = |wat: &str| fixture.compile(wat);
        let honest = compile(&command("1", "(call $print (i32.const 1) (i32.const 1))"));
        for (what, call) in CALLS {
            let endless = compile(&endless(call));
            let mut run = fixture.job();
            run.limits.fuel = u64::MAX;
            run.stop = Arc::new(Stop::at(Instant::now() + Duration::from_millis(500)));
            let looping = async {
                let outcome = fixture.sandbox.run(endless, run).await;
                (outcome.verdict.kind(), Instant::now())
            };
            let beside = async {
                // Both must be on the one thread: the loop is there first.
                tokio::time::sleep(Duration::from_millis(50)).await;
                let outcome = fixture.sandbox.run(Arc::clone(&honest), fixture.job()).await;
                (outcome.verdict, Instant::now())
            };
            let ((kind, looped), (verdict, done)) = tokio::join!(looping, beside);
            assert_eq!((kind, verdict), ("deadline", Verdict::Done), "{what}, {metering:?}, {way:?}");
            assert!(done < looped, "{what}, {metering:?}, {way:?}: the honest guest waited for the other one's end");
        }
    }
}

#[tokio::test]
async fn a_table_that_does_not_grow_costs_nothing_of_what_was_asked_for() {
    let fixture = fixture();
    let grow = "(drop (table.grow $table (ref.null func) (i32.const -1)))".repeat(3);
    let body = format!("{grow} (call $print (i32.const 1) (i32.const 1))");
    let wat = command("1", &body).replacen("(memory", "(table $table 1 funcref) (memory", 1);
    let outcome = fixture.run(&wat, fixture.job()).await;
    assert_eq!(outcome.verdict, Verdict::Done);
    assert!(outcome.fuel < 1_000_000, "{} units", outcome.fuel);
}

#[tokio::test]
async fn what_is_moved_is_paid_for_byte_by_byte() {
    for fixture in fixtures() {
        let fuel = async |body: &str| fixture.run(&command("", body), fixture.job()).await.fuel;
        let (little, much) = (
            fuel("(call $print (i32.const 2) (i32.const 10))").await,
            fuel("(call $print (i32.const 2) (i32.const 50010))").await,
        );
        assert!((50_000..200_000).contains(&(much - little)), "50,000 bytes cost {} units", much - little);
    }
}

fn flat(ty: WasmType) -> &'static str {
    match ty {
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "i32",
        WasmType::I64 | WasmType::PointerOrI64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
    }
}

/// A component that imports every function of the `host` world, and does nothing.
fn imports_everything() -> Vec<u8> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit")).unwrap();
    let world = resolve.select_world(&[package], Some("host")).unwrap();
    let mut text = String::from("(module");
    let function = |module: &str, name: &str, parameters: &[WasmType], results: &[WasmType]| {
        let types = |types: &[WasmType]| types.iter().map(|ty| format!(" {}", flat(*ty))).collect::<String>();
        format!("(import {module:?} {name:?} (func (param{}) (result{})))", types(parameters), types(results))
    };
    for (key, item) in &resolve.worlds[world].imports {
        let WorldItem::Interface { id, .. } = item else { panic!("the world imports interfaces only") };
        let module = resolve.name_world_key(key);
        for (name, declared) in &resolve.interfaces[*id].functions {
            let signature = resolve.wasm_signature(AbiVariant::GuestImport, declared);
            text += &function(&module, name, &signature.params, &signature.results);
        }
        for (name, ty) in &resolve.interfaces[*id].types {
            if matches!(resolve.types[*ty].kind, TypeDefKind::Resource) {
                text += &function(&module, &format!("[resource-drop]{name}"), &[WasmType::I32], &[]);
            }
        }
    }
    text += r#"(memory (export "memory") 0)"#;
    text += r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable))"#;
    let mut module = wat::parse_str(text).unwrap();
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
}

#[test]
fn every_function_of_the_contract_is_linked_with_its_type() {
    let fixture = fixture();
    let component = wasmtime::component::Component::new(&fixture.sandbox.engine, imports_everything()).unwrap();
    let imports = component.component_type().imports(&fixture.sandbox.engine).count();
    assert!(imports >= 20, "the component imports {imports} interfaces");
    let mut linker = wasmtime::component::Linker::new(&fixture.sandbox.engine);
    host::add_to_linker(&mut linker).unwrap();
    linker.instantiate_pre(&component).unwrap();
}
