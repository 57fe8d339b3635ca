mod attempt;
mod calls;
mod clocks;
mod components;
mod preview1;

use super::*;
use crate::body::Body;
use crate::job::{Limits, Progress, Span};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use std::collections::BTreeMap;
use std::time::Instant;

struct Fixture {
    sandbox: Sandbox,
    scratch: tempfile::TempDir,
    way: Way,
}

/// How a command on preview 1 gets into the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// As it is.
    Core,
    /// Wrapped with the preview 1 adapter, by somebody else.
    Component,
}

impl Way {
    /// The module or component of a text.
    fn module(self, wat: &str) -> Vec<u8> {
        let module = wat::parse_str(wat).unwrap();
        if self == Way::Core || !wasmparser::Parser::is_core_wasm(&module) {
            return module;
        }
        let adapter = wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER;
        let encoder = wit_component::ComponentEncoder::default().module(&module).unwrap();
        encoder.adapter(host::PREVIEW1, adapter).unwrap().encode().unwrap()
    }
}

const CONFIG: SandboxConfig = SandboxConfig {
    slots: 4,
    threads: 2,
    max_memory: 64 << 20,
    cache: None,
    metering: Metering::IN_GUEST,
    nan_bits: NanBits::Platform,
};

fn fixture() -> Fixture {
    fixture_with(&CONFIG)
}

fn fixture_with(config: &SandboxConfig) -> Fixture {
    Fixture { sandbox: Sandbox::new(config).unwrap(), scratch: tempfile::tempdir().unwrap(), way: Way::Core }
}

/// One for each [`Way`].
fn fixtures() -> [Fixture; 2] {
    [Way::Core, Way::Component].map(|way| Fixture { way, ..fixture() })
}

impl Fixture {
    fn job(&self) -> Run {
        let limits = Limits { fuel: 100_000_000, memory: 1 << 20, ..Limits::default() };
        Run {
            id: JobId::from_bytes([7; 16]),
            attempt: 1,
            params: r#"{"x":1}"#.to_owned(),
            limits,
            inputs: BTreeMap::new(),
            scratch: Dir::open_ambient_dir(self.scratch.path(), ambient_authority()).unwrap().into(),
            seed: 7,
            clock: jiff::Timestamp::UNIX_EPOCH,
            progress: None,
            live_log: None,
            stop: Arc::new(Stop::at(Instant::now() + Duration::from_secs(60))),
        }
    }

    /// The same with room for a memory of 200 pages.
    fn job_with_memory(&self) -> Run {
        let job = self.job();
        Run { limits: Limits { memory: 32 << 20, ..job.limits }, ..job }
    }

    async fn run(&self, wat: &str, run: Run) -> Outcome {
        self.sandbox.run(self.compile(wat), run).await
    }

    fn compile(&self, wat: &str) -> Arc<Program> {
        Arc::new(self.sandbox.compile(&self.way.module(wat)).unwrap())
    }

    fn refuse(&self, wat: &str) -> String {
        match self.sandbox.compile(&wat::parse_str(wat).unwrap()) {
            Ok(_) => panic!("this should not be accepted: {wat}"),
            Err(error) => error.to_string(),
        }
    }
}

/// A command whose `_start` is `body`; `$print` writes so many bytes of its memory from 0 on to a
/// descriptor.
fn command(data: &str, body: &str) -> String {
    format!(
        r#"(module
          (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
          (memory (export "memory") 1)
          (data (i32.const 0) "{data}")
          (func $print (param $fd i32) (param $length i32)
            (i32.store (i32.const 1024) (i32.const 0))
            (i32.store (i32.const 1028) (local.get $length))
            (drop (call $fd_write (local.get $fd) (i32.const 1024) (i32.const 1) (i32.const 1032))))
          (func (export "_start") {body}))"#
    )
}

#[tokio::test]
async fn json_on_standard_output_is_the_result() {
    for fixture in fixtures() {
        let outcome =
            fixture.run(&command(r#"[1, 2]\n"#, "(call $print (i32.const 1) (i32.const 7))"), fixture.job()).await;
        assert_eq!((outcome.verdict, outcome.result.as_deref()), (Verdict::Done, Some("[1, 2]")));
        assert!(outcome.fuel > 0 && !outcome.fuel_is_lower_bound);
        assert!((65_536..4 * 65_536).contains(&outcome.peak_memory), "the module's page and a little for the adapter");
    }
}

#[tokio::test]
async fn what_is_not_json_is_a_bad_result() {
    for fixture in fixtures() {
        for (data, length) in [("hello", 5), ("", 0), ("[1,", 3), ("\\ff\\fe", 2), ("1 2", 3)] {
            let body = format!("(call $print (i32.const 1) (i32.const {length}))");
            let outcome = fixture.run(&command(data, &body), fixture.job()).await;
            assert_eq!(outcome.verdict.kind(), "bad-result", "{data}");
        }
    }
}

#[tokio::test]
async fn an_exit_code_is_kept_and_65_is_permanent() {
    let fixture = fixture();
    for (code, is_permanent) in [(10, false), (65, true), (255, false)] {
        let outcome = fixture.run(&command("", &format!("(call $exit (i32.const {code}))")), fixture.job()).await;
        let Verdict::Failed { permanent, exit_code, .. } = outcome.verdict else { panic!("{:?}", outcome.verdict) };
        assert_eq!((permanent, exit_code), (is_permanent, Some(code)));
    }
    let zero = command("1", "(call $print (i32.const 1) (i32.const 1)) (call $exit (i32.const 0))");
    assert_eq!(fixture.run(&zero, fixture.job()).await.verdict, Verdict::Done);
}

#[tokio::test]
async fn an_endless_loop_ends_at_its_fuel() {
    for fixture in fixtures() {
        let outcome = fixture.run(&command("", "(loop (br 0))"), fixture.job()).await;
        let Verdict::OutOfFuel(excess) = outcome.verdict else { panic!("{:?}", outcome.verdict) };
        assert_eq!((excess.allowed, excess.observed), (100_000_000, 100_000_000));
    }
}

#[tokio::test]
async fn an_endless_loop_ends_at_its_deadline() {
    for metering in [Metering::IN_GUEST, Metering::AT_SLICES] {
        let fixture = fixture_with(&SandboxConfig { metering, ..CONFIG });
        let mut run = fixture.job();
        run.limits = Limits { fuel: u64::MAX, ttr: Span(Duration::from_millis(100)), ..run.limits };
        run.stop = Arc::new(Stop::at(Instant::now() + Duration::from_millis(100)));
        let outcome = fixture.run(&command("", "(loop (br 0))"), run).await;
        assert_eq!(outcome.verdict.kind(), "deadline");
        assert!(outcome.fuel > 0 && outcome.fuel_is_lower_bound, "{outcome:?}");
    }
}

#[tokio::test]
async fn an_order_to_stop_ends_a_guest_at_once() {
    let fixture = fixture();
    let mut run = fixture.job();
    run.limits.fuel = u64::MAX;
    let stop = Arc::clone(&run.stop);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        stop.order(StopReason::Interrupted);
    });
    let outcome = fixture.run(&command("", "(loop (br 0))"), run).await;
    assert_eq!(outcome.verdict.kind(), "interrupted");
}

#[tokio::test]
async fn a_refused_growth_is_an_ordinary_error_to_a_guest_that_copes() {
    for fixture in fixtures() {
        let grow = "(drop (memory.grow (i32.const 1000)))";
        let copes = command("1", &format!("{grow} (call $print (i32.const 1) (i32.const 1))"));
        assert_eq!(fixture.run(&copes, fixture.job()).await.verdict, Verdict::Done);
        let outcome = fixture.run(&command("", &format!("{grow} unreachable")), fixture.job()).await;
        let Verdict::OutOfMemory(excess) = outcome.verdict else { panic!("{:?}", outcome.verdict) };
        assert_eq!(excess.allowed, 1 << 20);
        assert!(excess.observed > 1000 * 65_536);
    }
}

#[tokio::test]
async fn a_trap_says_what_and_where() {
    for fixture in fixtures() {
        let outcome = fixture.run(&command("", "unreachable"), fixture.job()).await;
        let Verdict::Trapped { message } = outcome.verdict else { panic!("{:?}", outcome.verdict) };
        assert!(message.contains("unreachable"), "{message}");
    }
}

#[tokio::test]
async fn too_long_a_document_is_refused_at_the_write_that_would_pass_the_limit() {
    for fixture in fixtures() {
        let mut run = fixture.job();
        run.limits.document_size = 100;
        let outcome = fixture.run(&command("", "(loop (call $print (i32.const 1) (i32.const 64)) (br 0))"), run).await;
        assert_eq!(outcome.verdict.kind(), "out-of-fuel", "a program that does not look goes on");
        let mut run = fixture.job();
        run.limits.document_size = 100;
        let careless =
            command("1", "(call $print (i32.const 1) (i32.const 1)) (call $print (i32.const 1) (i32.const 1000))");
        assert_eq!(fixture.run(&careless, run).await.verdict.kind(), "result-quota", "what was cut short is no result");
        let mut run = fixture.job();
        run.limits.document_size = 100;
        let twice = "(call $print (i32.const 1) (i32.const 64)) (call $print (i32.const 1) (i32.const 64)) unreachable";
        let outcome = fixture.run(&command("", twice), run).await;
        let Verdict::ResultQuota(excess) = outcome.verdict else { panic!("{:?}", outcome.verdict) };
        assert_eq!((excess.limit, excess.allowed, excess.observed), (crate::job::LimitName::DocumentSize, 100, 128));
    }
}

#[tokio::test]
async fn standard_input_is_the_input_and_standard_error_the_log() {
    for fixture in fixtures() {
        let mut run = fixture.job();
        run.inputs.insert("only".to_owned(), Body::from_bytes(b"[42]".as_slice()));
        let read = "(i32.store (i32.const 1024) (i32.const 0)) (i32.store (i32.const 1028) (i32.const 4))
            (drop (call $fd_read (i32.const 0) (i32.const 1024) (i32.const 1) (i32.const 1032)))
            (call $print (i32.const 1) (i32.const 4)) (call $print (i32.const 2) (i32.const 4))";
        let outcome = fixture.run(&command("", read), run).await;
        assert_eq!((outcome.result.as_deref(), outcome.log.as_slice()), (Some("[42]"), b"[42]".as_slice()));
    }
}

/// A command that is refused memory, opens the file `x` of its result directory, and writes into it.
const WRITER: &str = r#"(module
    (import "wasi_snapshot_preview1" "path_open"
      (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "x")
    (func (export "_start")
      (drop (memory.grow (i32.const 1000)))
      (if (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1)
          (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 1040)) (then unreachable))
      (i32.store (i32.const 1024) (i32.const 0))
      (i32.store (i32.const 1028) (i32.const 1))
      (drop (call $write (i32.load (i32.const 1040)) (i32.const 1024) (i32.const 1) (i32.const 1032)))
      unreachable))"#;

#[tokio::test]
async fn a_failure_of_the_hosts_disk_ends_the_guest_and_is_not_blamed_on_it() {
    for fixture in fixtures() {
        let outcome = fixture.run(WRITER, fixture.job()).await;
        assert_eq!(outcome.verdict.kind(), "out-of-memory", "{:?}", outcome.verdict);
        let run = fixture.job();
        std::fs::remove_dir_all(fixture.scratch.path()).unwrap();
        let outcome = fixture.run(WRITER, run).await;
        let Verdict::HostError { message } = outcome.verdict else { panic!("{:?}", outcome.verdict) };
        assert!(message.contains("disk"), "{message}");
    }
}

/// Prints the digits of eight random bytes and of the time.
const DICE: &str = "
    (local $i i32)
    (drop (call $random (i32.const 100) (i32.const 8)))
    (drop (call $clock (i32.const 0) (i64.const 0) (i32.const 108)))
    (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 116)))
    (i32.store8 (i32.const 0) (i32.const 49))
    (loop
      (i32.store8 (i32.add (i32.const 1) (local.get $i))
        (i32.add (i32.const 48) (i32.rem_u (i32.load8_u (i32.add (i32.const 100) (local.get $i))) (i32.const 10))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if 0 (i32.lt_u (local.get $i) (i32.const 24))))
    (call $print (i32.const 1) (i32.const 25))";

#[tokio::test]
async fn the_same_provenance_gives_the_same_bytes_and_the_same_fuel() {
    for (one, two) in fixtures().into_iter().zip(fixtures()) {
        let first = one.run(&command("", DICE), one.job()).await;
        for _ in 0..3 {
            let again = two.run(&command("", DICE), two.job()).await;
            assert_eq!((&again.result, again.fuel), (&first.result, first.fuel));
        }
        let other = two.run(&command("", DICE), Run { seed: 8, ..two.job() }).await;
        assert_ne!(other.result, first.result);
    }
}

/// Prints whether the bits of 0/0 are the canonical ones, as 0 or 1.
const NAN: &str = "
    (i32.store8 (i32.const 0) (i32.add (i32.const 48)
      (i64.eq (i64.const 0x7ff8000000000000)
        (i64.reinterpret_f64 (f64.div (f64.load (i32.const 64)) (f64.load (i32.const 64)))))))
    (call $print (i32.const 1) (i32.const 1))";

#[tokio::test]
async fn canonical_nans_are_an_operators_choice_and_provenance_knows_it() {
    let canonical = fixture_with(&SandboxConfig { nan_bits: NanBits::Canonical, ..CONFIG });
    let outcome = canonical.run(&command("", NAN), canonical.job()).await;
    assert_eq!(outcome.result.as_deref(), Some("1"));
    assert!(canonical.sandbox.engine().ends_with("canonical NaNs"));
    // Two engines that make the same machine code say so, and compute the same bits.
    let (one, two) = (fixture(), fixture());
    assert_eq!(one.sandbox.engine(), two.sandbox.engine());
    let first = one.run(&command("", NAN), one.job()).await;
    assert_eq!(first.result, two.run(&command("", NAN), two.job()).await.result);
}

#[tokio::test]
async fn a_program_is_compiled_once() {
    let fixture = fixture();
    let bytes = wat::parse_str(command("", "")).unwrap();
    let digest = Digest::of(&bytes);
    let program = fixture.sandbox.program(digest, move || Ok(bytes)).await.unwrap();
    let load = || panic!("it was loaded again");
    let again = fixture.sandbox.program(digest, load).await.unwrap();
    assert!(Arc::ptr_eq(&program, &again));
}

#[tokio::test]
async fn what_was_compiled_when_nobody_waited_any_more_is_there_for_the_next_attempt() {
    let fixture = fixture();
    let bytes = wat::parse_str(command("", "")).unwrap();
    let digest = Digest::of(&bytes);
    let (go_on, waiting) = std::sync::mpsc::channel();
    let load = move || {
        waiting.recv().map_err(|error| Verdict::HostError { message: error.to_string() })?;
        Ok(bytes)
    };
    let attempt = fixture.sandbox.program(digest, load);
    assert!(tokio::time::timeout(Duration::from_millis(20), attempt).await.is_err(), "it cannot be loaded yet");
    go_on.send(()).unwrap();
    let again = || fixture.sandbox.program(digest, || panic!("it was loaded again"));
    let (one, two) = tokio::join!(again(), again());
    assert!(Arc::ptr_eq(&one.unwrap(), &two.unwrap()), "all who wait get the same");
}

#[tokio::test]
async fn a_module_that_nobody_can_run_is_remembered_and_a_failure_to_load_one_is_not() {
    let fixture = fixture();
    let digest = Digest::of("nothing that runs");
    let no_disk = || Err(Verdict::HostError { message: "no disk".to_owned() });
    assert_eq!(fixture.sandbox.program(digest, no_disk).await.err().map(|verdict| verdict.kind()), Some("host-error"));
    let first = fixture.sandbox.program(digest, || Ok(b"nothing that runs".to_vec())).await.err().unwrap();
    assert_eq!(first.kind(), "bad-module");
    let again = fixture.sandbox.program(digest, || panic!("it was loaded again")).await.err().unwrap();
    assert_eq!(again, first);
}

#[test]
fn what_nobody_could_run_is_refused_with_the_reason() {
    let fixture = fixture();
    for (wat, reason) in [
        (r#"(module (import "env" "evil" (func)) (func (export "_start")))"#, "imports `evil` from `env`"),
        ("(module)", "no entry"),
        ("(component)", "no entry"),
        (r#"(component (import "wasi:http/types@0.2.0" (instance (export "x" (func)))))"#, "nobody grants"),
        (r#"(module (memory 1) (func (export "_start") (i32.load)))"#, ""),
    ] {
        let Ok(bytes) = wat::parse_str(wat) else { continue };
        let error = fixture.sandbox.compile(&bytes).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(!error.is_empty() && error.contains(reason), "{wat}: {error}");
    }
    assert!(prepare(b"#!/bin/sh").unwrap_err().to_string().contains("not WebAssembly"));
    assert!(prepare(b"\0asm\x01\0\0\0\xff").is_err());
    assert!(fixture.refuse("(module (memory 1))").contains("_start"));
}

#[test]
fn provenance_names_the_versions_that_the_manifest_pins() {
    let manifest = include_str!("../../Cargo.toml");
    let pins = manifest.lines().filter(|line| line.starts_with("wasmtime =") || line.contains("adapter-provider ="));
    let pins = pins.filter(|line| line.contains(&format!("\"={WASMTIME}\""))).count();
    assert_eq!(pins, 2);
    let fixture = fixture();
    let engine = fixture.sandbox.engine();
    assert!(engine.contains("in-guest, NaNs of "), "{engine}");
}
