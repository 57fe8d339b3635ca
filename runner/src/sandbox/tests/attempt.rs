//! What an algorithm is told of its attempt, and what it can say.

use super::*;
use tokio::sync::watch;
use wit_component::StringEncoding;
use wit_parser::Resolve;

/// An algorithm that does `body` and returns `1`. What it is given lies in pages of its own.
fn algorithm(body: &str) -> Vec<u8> {
    algorithm_with("(i32.mul (memory.grow (i32.const 2)) (i32.const 65536))", body)
}

/// The same with this `cabi_realloc`.
fn algorithm_with(realloc: &str, body: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
          (import "longboat:algorithm/attempt@0.1.0" "fuel-left" (func $fuel_left (result i64)))
          (import "longboat:algorithm/attempt@0.1.0" "progress" (func $progress (param f64 i32 i32)))
          (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environment (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
          (memory (export "memory") 1)
          (global $next (mut i32) (i32.const 0))
          (data (i32.const 16) "half\07\1b!1")
          (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            {realloc})
          (func (export "run")
            (param i32 i32 i32 i32 i32 i64 i64 i64 i64 i32 i64 i64 i64 i64) (result i32)
            (local $rounds i32) (local $before i64)
            {body}
            (i32.store (i32.const 4) (i32.const 23))
            (i32.store (i32.const 8) (i32.const 1))
            (i32.const 0)))"#
    );
    let mut module = wat::parse_str(text).unwrap();
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit")).unwrap();
    let world = resolve.select_world(&[package], Some("algorithm")).unwrap();
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    module
}

impl Fixture {
    /// What the algorithm says last of its progress, and the fuel that it burns.
    async fn report(&self, body: &str) -> (Option<Progress>, u64) {
        let (sender, receiver) = watch::channel(None);
        let program = Arc::new(self.sandbox.compile(&algorithm(body)).unwrap());
        let outcome = self.sandbox.run(program, Run { progress: Some(sender), ..self.job() }).await;
        assert_eq!((outcome.verdict, outcome.result.as_deref()), (Verdict::Done, Some("1")));
        (receiver.borrow().clone(), outcome.fuel)
    }
}

#[tokio::test]
async fn the_fuel_that_is_left_falls_by_what_is_burnt() {
    let fixture = fixture();
    // The difference goes out as a fraction of 2^32, which loses no bit of it.
    let report = async |rounds: u32| {
        let body = format!(
            "(local.set $before (call $fuel_left))
            (local.set $rounds (i32.const {rounds}))
            (loop (br_if 0 (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
            (call $progress
              (f64.div (f64.convert_i64_u (i64.sub (local.get $before) (call $fuel_left))) (f64.const 0x1p32))
              (i32.const 16) (i32.const 4))"
        );
        let (progress, fuel) = fixture.report(&body).await;
        ((progress.unwrap().fraction * 2_f64.powi(32)) as u64, fuel)
    };
    let ((little, fuel), (much, more)) = (report(1_000).await, report(11_000).await);
    assert_eq!(much - little, more - fuel);
    assert!(little >= 1_000 && much - little >= 10_000, "{little} and {much}");
}

#[tokio::test]
async fn progress_is_a_fraction_and_a_few_words_that_draw_nothing() {
    let fixture = fixture();
    for (said, understood) in [("0.5", 0.5), ("7", 1.0), ("-inf", 0.0), ("nan", 0.0)] {
        let body = format!("(call $progress (f64.const {said}) (i32.const 16) (i32.const 7))");
        let (progress, _) = fixture.report(&body).await;
        assert_eq!(progress, Some(Progress { fraction: understood, message: "half!".to_owned() }), "{said}");
    }
}

#[tokio::test]
async fn an_algorithm_has_no_environment() {
    let fixture = fixture();
    let body = "(if (call $environment (i32.const 1024) (i32.const 1028)) (then unreachable))
        (if (i32.load (i32.const 1024)) (then unreachable))";
    assert_eq!(fixture.report(body).await.0, None);
}

/// Hands out pages from 65,536 on, of which the allocator had taken all that there are at first, as some do.
const TAKES_ALL: &str = "
    (if (i32.eqz (global.get $next)) (then
      (drop (memory.grow (i32.const 9)))
      (global.set $next (i32.const 65536))))
    (global.get $next)
    (global.set $next (i32.add (global.get $next)
      (i32.and (i32.add (local.get 3) (i32.const 65535)) (i32.const -65536))))";

#[tokio::test]
async fn cabi_realloc_keeps_the_adapter_out_of_the_programs_memory() {
    let fixture = fixture();
    // The program's own: all that has not been handed out. Nobody else writes there, and nobody grows the
    // memory.
    let body = "
        (local.set $rounds (global.get $next))
        (loop $fill
          (i32.store (local.get $rounds) (i32.const 0x5a5a5a5a))
          (local.set $rounds (i32.add (local.get $rounds) (i32.const 4)))
          (br_if $fill (i32.lt_u (local.get $rounds) (i32.const 655360))))
        (if (call $environment (i32.const 1024) (i32.const 1028)) (then unreachable))
        (if (call $random (i32.const 1024) (i32.const 64)) (then unreachable))
        (if (i32.ne (memory.size) (i32.const 10)) (then unreachable))
        (local.set $rounds (global.get $next))
        (if (i32.gt_u (local.get $rounds) (i32.const 589824)) (then unreachable))
        (loop $look
          (if (i32.ne (i32.load (local.get $rounds)) (i32.const 0x5a5a5a5a)) (then unreachable))
          (local.set $rounds (i32.add (local.get $rounds) (i32.const 4)))
          (br_if $look (i32.lt_u (local.get $rounds) (i32.const 655360))))";
    let program = Arc::new(fixture.sandbox.compile(&algorithm_with(TAKES_ALL, body)).unwrap());
    assert_eq!(fixture.sandbox.run(program, fixture.job()).await.verdict, Verdict::Done);
}

#[test]
fn an_algorithm_without_cabi_realloc_is_refused() {
    let fixture = fixture();
    let module = algorithm("");
    let place = module.windows(12).position(|window| window == b"cabi_realloc").unwrap();
    let mut without = module;
    without[place..place + 12].copy_from_slice(b"cabi_another");
    let error = fixture.sandbox.compile(&without).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("cabi_realloc"), "{error}");
}
