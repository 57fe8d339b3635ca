//! What the clocks show: a nanosecond for each unit of fuel, and what a sleep asked for.

use super::*;

/// A command that works for `rounds`, sleeps for `nanoseconds` and writes what its clocks show to the log,
/// as numbers of eight bytes: the monotonic clock at first, both clocks after the work, and the monotonic
/// clock after the sleep.
fn reader(rounds: u32, nanoseconds: u64) -> String {
    format!(
        r#"(module
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
          (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1)
          (func $print (param $fd i32) (param $from i32) (param $length i32)
            (i32.store (i32.const 1024) (local.get $from))
            (i32.store (i32.const 1028) (local.get $length))
            (drop (call $write (local.get $fd) (i32.const 1024) (i32.const 1) (i32.const 1032))))
          (func (export "_start") (local $left i32)
            (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 0)))
            (local.set $left (i32.const {rounds}))
            (loop (br_if 0 (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
            (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 8)))
            (drop (call $clock (i32.const 0) (i64.const 0) (i32.const 16)))
            ;; A subscription: the monotonic clock, so many nanoseconds from now.
            (i32.store (i32.const 128) (i32.const 0))
            (i32.store (i32.const 136) (i32.const 0))
            (i32.store (i32.const 144) (i32.const 1))
            (i64.store (i32.const 152) (i64.const {nanoseconds}))
            (if (call $poll (i32.const 128) (i32.const 256) (i32.const 1) (i32.const 512)) (then unreachable))
            (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 24)))
            (call $print (i32.const 2) (i32.const 0) (i32.const 32))
            (i32.store8 (i32.const 0) (i32.const 49))
            (call $print (i32.const 1) (i32.const 0) (i32.const 1))))"#
    )
}

const MILLISECOND: u64 = 1_000_000;

struct Readings {
    first: u64,
    after_work: u64,
    wall: u64,
    after_sleep: u64,
    fuel: u64,
    took: Duration,
}

async fn readings(fixture: &Fixture, rounds: u32, nanoseconds: u64) -> Readings {
    let mut run = fixture.job();
    run.clock = jiff::Timestamp::from_second(1_000).unwrap();
    let program = fixture.compile(&reader(rounds, nanoseconds));
    let started = Instant::now();
    let outcome = fixture.sandbox.run(program, run).await;
    let took = started.elapsed();
    assert_eq!(outcome.verdict, Verdict::Done);
    let read = |place: usize| u64::from_le_bytes(outcome.log[8 * place..][..8].try_into().unwrap());
    let [first, after_work, wall, after_sleep] = [0, 1, 2, 3].map(read);
    Readings { first, after_work, wall, after_sleep, fuel: outcome.fuel, took }
}

#[tokio::test]
async fn clocks_start_at_nothing_and_at_the_jobs_and_advance_by_the_fuel_that_is_burnt() {
    for fixture in fixtures() {
        let little = readings(&fixture, 1_000, 0).await;
        assert!((1..MILLISECOND).contains(&little.first), "it starts at {}", little.first);
        assert!(little.first < little.after_work && little.after_sleep <= little.fuel);
        let start = 1_000_000 * MILLISECOND;
        assert!((start + little.after_work..start + little.fuel).contains(&little.wall), "{}", little.wall);
        let much = readings(&fixture, 11_000, 0).await;
        assert_eq!(much.first, little.first);
        assert_eq!(much.after_work - little.after_work, much.fuel - little.fuel, "work is its fuel, unit by unit");
        assert_eq!(much.wall - little.wall, much.fuel - little.fuel);
        assert!(much.fuel - little.fuel >= 10_000);
    }
}

#[tokio::test]
async fn clocks_advance_by_what_a_sleep_asked_for_and_it_takes_that_long() {
    for fixture in fixtures() {
        let (little, much) =
            (readings(&fixture, 1, 3 * MILLISECOND).await, readings(&fixture, 1, 20 * MILLISECOND).await);
        assert_eq!(much.after_sleep - little.after_sleep, 17 * MILLISECOND);
        let awake = |readings: &Readings| readings.after_sleep - readings.after_work;
        assert!((3 * MILLISECOND..4 * MILLISECOND).contains(&awake(&little)), "{}", awake(&little));
        assert_eq!(much.fuel, little.fuel, "sleeping burns nothing");
        // The little that is burnt on the way into the sleep is part of it.
        assert!(little.took >= Duration::from_millis(2) && much.took >= Duration::from_millis(19));
    }
}
