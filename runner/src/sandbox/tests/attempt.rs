//! What an algorithm is told of its attempt, and what it can say.

use super::*;
use tokio::sync::watch;
use wit_component::StringEncoding;
use wit_parser::Resolve;

/// An algorithm that does `body` and returns `1`. What it is given lies in pages of its own.
fn algorithm(body: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
          (import "longboat:algorithm/attempt@0.1.0" "fuel-left" (func $fuel_left (result i64)))
          (import "longboat:algorithm/attempt@0.1.0" "progress" (func $progress (param f64 i32 i32)))
          (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environment (param i32 i32) (result i32)))
          (memory (export "memory") 1)
          (data (i32.const 16) "half\07\1b!1")
          (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            (i32.mul (memory.grow (i32.const 2)) (i32.const 65536)))
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
