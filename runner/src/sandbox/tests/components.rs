//! Components, which call WASI 0.2 without the preview 1 adapter, and what they could do to the compiler.

use super::*;

/// A command that asks for a network and resolves a name of `length` bytes with it; then `after` decides.
fn resolver(length: u32, after: &str) -> String {
    format!(
        r#"(component
          (import "wasi:sockets/network@0.2.12" (instance $net
            (export "network" (type (sub resource)))
            (type $code (enum "unknown" "access-denied"))
            (export "error-code" (type (eq $code)))))
          (alias export $net "network" (type $network))
          (alias export $net "error-code" (type $error-code))
          (import "wasi:sockets/instance-network@0.2.12" (instance $in
            (alias outer 1 $network (type $n))
            (export "network" (type $own (eq $n)))
            (export "instance-network" (func (result (own $own))))))
          (import "wasi:sockets/ip-name-lookup@0.2.12" (instance $look
            (alias outer 1 $network (type $n))
            (export "network" (type $lent (eq $n)))
            (alias outer 1 $error-code (type $c))
            (export "error-code" (type $cc (eq $c)))
            (export "resolve-addresses"
              (func (param "network" (borrow $lent)) (param "name" string) (result (result (error $cc)))))))
          (core module $libc (memory (export "memory") 200))
          (core instance $libc (instantiate $libc))
          (core func $get (canon lower (func $in "instance-network")))
          (core func $resolve (canon lower (func $look "resolve-addresses") (memory (core memory $libc "memory"))))
          (core module $main
            (import "libc" "memory" (memory 200))
            (import "host" "get" (func $get (result i32)))
            (import "host" "resolve" (func $resolve (param i32 i32 i32 i32)))
            (func (export "run") (result i32)
              (local $network i32)
              (local.set $network (call $get))
              (loop $again
                (call $resolve (local.get $network) (i32.const 64) (i32.const {length}) (i32.const 0))
                {after})
              (i32.const 1)))
          (core instance $host (export "get" (func $get)) (export "resolve" (func $resolve)))
          (core instance $main (instantiate $main (with "libc" (instance $libc)) (with "host" (instance $host))))
          (func $run (result (result)) (canon lift (core func $main "run")))
          (instance $command (export "run" (func $run)))
          (export "wasi:cli/run@0.2.12" (instance $command)))"#
    )
}

#[tokio::test]
async fn sockets_answer_access_denied_and_give_back_what_was_lent() {
    let fixture = fixture();
    // Twice, and then it traps unless the answer is an error, and that error the second of its kind.
    let look = "(if (i32.ne (i32.load16_u (i32.const 0)) (i32.const 0x0101)) (then unreachable))
        (i32.store (i32.const 32) (i32.add (i32.load (i32.const 32)) (i32.const 1)))
        (br_if $again (i32.lt_u (i32.load (i32.const 32)) (i32.const 2)))";
    let outcome = fixture.run(&resolver(8, look), fixture.job_with_memory()).await;
    let Verdict::Failed { exit_code, .. } = outcome.verdict else { panic!("{:?}", outcome.verdict) };
    assert_eq!(exit_code, Some(1), "the program's own end");
}

#[test]
fn a_component_that_waits_for_sockets_as_for_streams_is_linked() {
    let fixture = fixture();
    let streams = r#"(component
        (import "wasi:io/poll@0.2.0" (instance $poll (export "pollable" (type (sub resource)))))
        (alias export $poll "pollable" (type $pollable))
        (import "wasi:io/streams@0.2.0" (instance $streams (export "input-stream" (type (sub resource)))))
        (alias export $streams "input-stream" (type $input))
        (import "wasi:sockets/tcp@0.2.0" (instance
          (export "tcp-socket" (type $socket (sub resource)))
          (alias outer 1 $pollable (type $p)) (export "pollable" (type $pp (eq $p)))
          (alias outer 1 $input (type $i)) (export "input-stream" (type $ii (eq $i)))
          (export "[method]tcp-socket.subscribe" (func (param "self" (borrow $socket)) (result (own $pp)))))))"#;
    assert!(fixture.refuse(streams).contains("no entry"), "and so it was linked");
}

#[tokio::test]
async fn a_loop_of_socket_calls_is_paid_for_and_ends_at_its_deadline() {
    for metering in [Metering::IN_GUEST, Metering::AT_SLICES] {
        let fixture = fixture_with(&SandboxConfig { metering, ..CONFIG });
        let mut run = fixture.job_with_memory();
        run.limits.fuel = 20_000_000;
        let outcome = fixture.run(&resolver(1_000_000, "(br $again)"), run).await;
        assert_eq!(outcome.verdict.kind(), "out-of-fuel", "twenty million units are ten megabytes");
        let mut run = fixture.job_with_memory();
        run.limits.fuel = u64::MAX;
        run.stop = Arc::new(Stop::at(Instant::now() + Duration::from_millis(300)));
        let outcome = fixture.run(&resolver(8, "(br $again)"), run).await;
        assert_eq!(outcome.verdict.kind(), "deadline", "{metering:?}");
    }
}

#[test]
fn an_entry_of_another_type_is_no_entry() {
    let fixture = fixture();
    let module =
        r#"(core module $m (func (export "run") (result i32) i32.const 1)) (core instance $i (instantiate $m))"#;
    let run = format!(r#"(component {module} (func (export "run") (result u32) (canon lift (core func $i "run"))))"#);
    assert!(fixture.refuse(&run).contains("not that of the `algorithm` world"));
    let command = format!(
        r#"(component {module} (func $run (result u32) (canon lift (core func $i "run")))
          (instance $command (export "run" (func $run))) (export "wasi:cli/run@0.2.0" (instance $command)))"#
    );
    assert!(fixture.refuse(&command).contains("not WASI's"));
}

/// A component with another in it that takes `parameter`.
fn nested(parameter: &str, options: &str) -> String {
    format!(
        r#"(component
          (component
            (core module $m
              (memory (export "memory") 1)
              (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 0)
              (func (export "text") (param i32 i32))
              (func (export "number") (param i32)))
            (core instance $i (instantiate $m))
            (func (export "take") (param "x" {parameter}) (canon lift (core func $i {options})))))"#
    )
}

#[test]
fn components_pass_numbers_to_each_other_and_nothing_that_has_to_be_copied() {
    let fixture = fixture();
    let text = nested("string", r#""text") (memory (core memory $i "memory")) (realloc (core func $i "realloc")"#);
    assert!(fixture.refuse(&text).contains("pass strings"));
    assert!(fixture.refuse(&nested("u32", r#""number""#)).contains("no entry"), "and so it got past that");
}

/// A component whose one type is nested so deep, by hand: no text is read that deep.
fn deep(levels: usize) -> Vec<u8> {
    let mut section = vec![1];
    // A component type with one declaration, which is a type.
    section.extend([0x41, 1, 1].repeat(levels));
    section.extend([0x40, 0, 1, 0]);
    let mut component = wasm_encoder::Component::new();
    component.section(&wasm_encoder::RawSection { id: 7, data: &section });
    component.finish()
}

#[test]
fn types_within_types_end_nothing_but_the_module() {
    let fixture = fixture();
    for levels in [99, 5_000, 1_000_000] {
        let mut described = wat::parse_str(command("", "")).unwrap();
        let data = deep(levels).into();
        let section = wasm_encoder::CustomSection { name: "component-type:x".into(), data };
        wasm_encoder::Section::append_to(&section, &mut described);
        for module in [deep(levels), described] {
            let error = fixture.sandbox.compile(&module).err().map(|error| error.to_string()).unwrap_or_default();
            assert_eq!(error.contains("nesting is too deep"), levels > 99, "{levels}: {error}");
        }
    }
}
