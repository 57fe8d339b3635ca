//! Commands that are core modules, on preview 1 without an adapter.

use super::*;

/// The functions of preview 1 that the guests here use.
const IMPORTS: &str = r#"
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_seek" (func $seek (param i32 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_renumber" (func $renumber (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_readdir" (func $readdir (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
      (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))"#;

/// A command that does `body` and prints `1`. It traps where a call does not answer what `$is` expects.
fn guest(data: &str, body: &str) -> String {
    format!(
        r#"(module {IMPORTS}
          (memory (export "memory") 2)
          (data (i32.const 0) "{data}")
          (data (i32.const 900) "1")
          (func $is (param i32 i32) (if (i32.ne (local.get 0) (local.get 1)) (then unreachable)))
          (func $vector (param $at i32) (param $length i32)
            (i32.store (i32.const 1024) (local.get $at)) (i32.store (i32.const 1028) (local.get $length)))
          (func $create (param $name i32) (result i32)
            (call $is (call $open (i32.const 3) (i32.const 0) (local.get $name) (i32.const 1) (i32.const 1)
              (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 1040)) (i32.const 0))
            (i32.load (i32.const 1040)))
          (func (export "_start") (local $i i32) (local $fd i32) {body}
            (call $vector (i32.const 900) (i32.const 1))
            (call $is (call $write (i32.const 1) (i32.const 1024) (i32.const 1) (i32.const 1032)) (i32.const 0))))"#
    )
}

/// Takes all the memory that there is at its first allocation, as AssemblyScript's runtime and older
/// versions of wasi-libc do, calls WASI, and then looks whether anybody else has written there.
const TAKES_ALL: &str = "
    (call $is (call $environ_sizes (i32.const 1044) (i32.const 1048)) (i32.const 0))
    (local.set $i (i32.const 65536))
    (loop $fill
      (i32.store (local.get $i) (i32.const 0x5a5a5a5a))
      (local.set $i (i32.add (local.get $i) (i32.const 4)))
      (br_if $fill (i32.lt_u (local.get $i) (i32.mul (memory.size) (i32.const 65536)))))
    (call $is (call $random (i32.const 2048) (i32.const 64)) (i32.const 0))
    (call $vector (i32.const 900) (i32.const 1))
    (call $is (call $write (i32.const 2) (i32.const 1024) (i32.const 1) (i32.const 1032)) (i32.const 0))
    (call $is (call $environ (i32.const 4096) (i32.const 8192)) (i32.const 0))
    (local.set $i (i32.const 65536))
    (loop $look
      (call $is (i32.load (local.get $i)) (i32.const 0x5a5a5a5a))
      (local.set $i (i32.add (local.get $i) (i32.const 4)))
      (br_if $look (i32.lt_u (local.get $i) (i32.mul (memory.size) (i32.const 65536)))))";

#[tokio::test]
async fn an_allocator_may_take_all_memory_at_first() {
    let [core, component] = fixtures();
    let outcome = core.run(&guest("", TAKES_ALL), core.job()).await;
    assert_eq!((outcome.verdict, outcome.peak_memory), (Verdict::Done, 2 << 16), "all memory is the program's");
    // The adapter keeps its state in memory that it takes behind the program's back, which is why commands
    // go without.
    let outcome = component.run(&guest("", TAKES_ALL), component.job()).await;
    assert_eq!(outcome.verdict.kind(), "trapped");
}

#[tokio::test]
async fn params_of_a_core_command_may_be_as_large_as_a_document() {
    let fixture = fixture();
    let params = format!(r#"{{"x":"{}"}}"#, "x".repeat(1 << 20));
    // The three other variables and what the names take are less than 256 bytes.
    let body = "(call $is (call $environ_sizes (i32.const 1044) (i32.const 1048)) (i32.const 0))
        (call $is (i32.load (i32.const 1044)) (i32.const 4))
        (call $is (i32.shr_u (i32.load (i32.const 1048)) (i32.const 8)) (i32.const 4096))
        (drop (memory.grow (i32.const 17)))
        (call $is (call $environ (i32.const 2048) (i32.const 4096)) (i32.const 0))";
    let job = fixture.job_with_memory();
    assert_eq!(fixture.run(&guest("", body), Run { params, ..job }).await.verdict, Verdict::Done);
}

#[tokio::test]
async fn a_wrapped_command_is_told_what_its_adapter_loses() {
    let fixture = Fixture { way: Way::Component, ..fixture() };
    let body = "(call $is (call $environ_sizes (i32.const 1044) (i32.const 1048)) (i32.const 0))";
    let run = |bytes: usize| Run { params: "x".repeat(bytes), ..fixture.job_with_memory() };
    assert_eq!(fixture.run(&guest("", body), run(MAX_WRAPPED_PARAMS)).await.verdict, Verdict::Done);
    let outcome = fixture.run(&guest("", body), run(MAX_WRAPPED_PARAMS + 1)).await;
    let Verdict::Failed { message, permanent: true, .. } = outcome.verdict else { panic!("{:?}", outcome.verdict) };
    assert!(message.contains("adapter") && message.contains("core module"), "{message}");
    let prints = command("1", "(call $print (i32.const 1) (i32.const 1))");
    let outcome = fixture.run(&prints, run(MAX_WRAPPED_PARAMS + 1)).await;
    assert_eq!(outcome.verdict, Verdict::Done, "a program that reads no environment takes any params");
    let outcome = fixture.run(&command("", "(call $exit (i32.const 65))"), fixture.job()).await;
    let Verdict::Failed { message, exit_code: Some(1), .. } = outcome.verdict else { panic!("{:?}", outcome.verdict) };
    assert!(message.contains("no other code"), "{message}");
}

#[test]
fn wasi_of_2019_is_refused_by_its_name() {
    let fixture = fixture();
    let old = r#"(module (import "wasi_unstable" "fd_write" (func)) (func (export "_start")))"#;
    let error = fixture.refuse(old);
    assert!(error.contains("`wasi_unstable`") && error.contains("wasm32-wasip1"), "{error}");
}

#[test]
fn what_preview_1_does_not_have_is_refused() {
    let fixture = fixture();
    for (import, reason) in [
        (r#""fd_fly" (func)"#, "fd_fly"),
        (r#""fd_close" (func (param i64) (result i32))"#, "incompatible"),
        (r#""fd_close" (memory 1)"#, "fd_close"),
    ] {
        let wat = format!(
            r#"(module (import "wasi_snapshot_preview1" {import}) (memory (export "memory") 1) (func (export "_start")))"#
        );
        let error = fixture.refuse(&wat);
        assert!(error.contains(reason), "{import}: {error}");
    }
    assert!(fixture.refuse(r#"(module (global (export "_start") i32 (i32.const 0)))"#).contains("_start"));
}

#[tokio::test]
async fn descriptors_are_the_lowest_that_are_free() {
    let fixture = fixture();
    let body = "
        (call $is (call $create (i32.const 0)) (i32.const 4))
        (call $is (call $create (i32.const 1)) (i32.const 5))
        (call $is (call $close (i32.const 4)) (i32.const 0))
        (call $is (call $close (i32.const 4)) (i32.const 8))
        (call $is (call $create (i32.const 0)) (i32.const 4))
        (call $is (call $renumber (i32.const 5) (i32.const 4)) (i32.const 0))
        (call $is (call $renumber (i32.const 4) (i32.const 99)) (i32.const 8))
        (call $is (call $create (i32.const 0)) (i32.const 5))
        ;; What was the descriptor 5 is the descriptor 4: the file `b`, which gets the byte.
        (call $vector (i32.const 900) (i32.const 1))
        (call $is (call $write (i32.const 4) (i32.const 1024) (i32.const 1) (i32.const 1032)) (i32.const 0))";
    for fixture in [fixture, fixture_with(&SandboxConfig { metering: Metering::AT_SLICES, ..CONFIG })] {
        let outcome = fixture.run(&guest("ab", body), fixture.job()).await;
        assert_eq!(outcome.verdict, Verdict::Done);
        let target = tempfile::tempdir().unwrap();
        let files = outcome.tree.unwrap().publish(&Dir::open_ambient_dir(target.path(), ambient_authority()).unwrap());
        let sizes: Vec<_> = files.unwrap().into_iter().map(|file| (file.name, file.size)).collect();
        assert_eq!(sizes, [("a".to_owned(), 0), ("b".to_owned(), 1)]);
    }
}

#[tokio::test]
async fn a_directory_is_listed_from_any_cookie() {
    let fixture = fixture();
    // `.`, `..` and three files of one letter: five entries of 25 bytes, and one more for `..`.
    let body = "
        (drop (call $create (i32.const 0))) (drop (call $create (i32.const 1))) (drop (call $create (i32.const 2)))
        (call $is (call $readdir (i32.const 3) (i32.const 2048) (i32.const 1000) (i64.const 0) (i32.const 1052)) (i32.const 0))
        (call $is (i32.load (i32.const 1052)) (i32.const 126))
        (call $is (call $readdir (i32.const 3) (i32.const 2048) (i32.const 30) (i64.const 3) (i32.const 1052)) (i32.const 0))
        (call $is (i32.load (i32.const 1052)) (i32.const 30))
        (call $is (i32.load8_u (i32.const 2072)) (i32.const 98))
        (call $is (call $readdir (i32.const 3) (i32.const 2048) (i32.const 1000) (i64.const 4) (i32.const 1052)) (i32.const 0))
        (call $is (i32.load8_u (i32.const 2072)) (i32.const 99))
        (call $is (i32.load (i32.const 1052)) (i32.const 25))
        (call $is (call $readdir (i32.const 3) (i32.const 2048) (i32.const 1000) (i64.const -1) (i32.const 1052)) (i32.const 0))
        (call $is (i32.load (i32.const 1052)) (i32.const 0))";
    assert_eq!(fixture.run(&guest("bac", body), fixture.job()).await.verdict, Verdict::Done);
}

#[tokio::test]
async fn pointers_that_lead_nowhere_are_answered() {
    let fixture = fixture();
    let body = "
        (call $is (call $random (i32.const 131071) (i32.const 2)) (i32.const 21))
        (call $is (call $write (i32.const 2) (i32.const -1) (i32.const 1) (i32.const 1032)) (i32.const 21))
        (call $is (call $write (i32.const 2) (i32.const 1024) (i32.const 1025) (i32.const 1032)) (i32.const 28))
        (call $vector (i32.const 131071) (i32.const 2))
        (call $is (call $write (i32.const 2) (i32.const 1024) (i32.const 1) (i32.const 1032)) (i32.const 21))
        (call $vector (i32.const 0) (i32.const -1))
        (call $is (call $write (i32.const 2) (i32.const 1024) (i32.const 1) (i32.const 1032)) (i32.const 28))
        (call $is (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 1)
          (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 1040)) (i32.const 21))
        (call $is (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1)
          (i64.const 66) (i64.const 0) (i32.const 0) (i32.const -1)) (i32.const 21))
        (call $is (call $seek (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 1040)) (i32.const 70))";
    let outcome = fixture.run(&guest("a", body), fixture.job()).await;
    assert_eq!(outcome.verdict, Verdict::Done);
    assert!(outcome.tree.unwrap().is_empty(), "a file whose descriptor could not be told was not made");
}

#[tokio::test]
async fn a_write_is_whole_however_long_it_is() {
    let fixture = fixture();
    let body = "
        (local.set $fd (call $create (i32.const 0)))
        (drop (memory.grow (i32.const 14)))
        (call $vector (i32.const 0) (i32.const 1000000))
        (call $is (call $write (local.get $fd) (i32.const 1024) (i32.const 1) (i32.const 1032)) (i32.const 0))
        (call $is (i32.load (i32.const 1032)) (i32.const 1000000))";
    let outcome = fixture.run(&guest("a", body), fixture.job()).await;
    assert_eq!(outcome.verdict, Verdict::Done);
    assert!(outcome.fuel > 2_000_000, "each byte is paid for: {}", outcome.fuel);
}

#[tokio::test]
async fn fuel_is_the_same_whether_the_epoch_ticks_or_not() {
    let second = Duration::from_secs(1);
    for (way, metering) in [Way::Core, Way::Component].into_iter().zip([Metering::IN_GUEST, Metering::AT_SLICES]) {
        let mut fuel = Vec::new();
        for tick in [TURN, second] {
            let config = SandboxConfig { metering, ..CONFIG };
            let sandbox = Sandbox::ticking(&config, tick).unwrap();
            let fixture = Fixture { sandbox, way, ..fixture() };
            // Some milliseconds of compute and of calls.
            let body = "
                (local.set $i (i32.const 3000000))
                (loop (br_if 0 (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
                (local.set $i (i32.const 10000))
                (loop
                  (drop (call $random (i32.const 2048) (i32.const 64)))
                  (drop (memory.grow (i32.const 10000)))
                  (br_if 0 (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))";
            let outcome = fixture.run(&guest("", body), fixture.job()).await;
            assert_eq!(outcome.verdict, Verdict::Done);
            fuel.push(outcome.fuel);
        }
        assert_eq!(fuel[0], fuel[1], "{way:?}, {metering:?}");
    }
}
