//! Ways to want too much memory.

use crate::Params;
use longboat_sdk::Failure;
use std::hint::black_box;
use std::mem;

/// What is taken at a time, in bytes.
const GULP: usize = 1 << 20;
/// What is filled or copied at a time, in bytes.
const BLOCK: u64 = 16 << 20;

/// Takes memory and uses it, until the allocator gives up and with it the program.
pub fn bomb() -> ! {
    loop {
        mem::forget(black_box(vec![1_u8; GULP]));
    }
}

/// Takes memory until it is refused, and goes on asking.
///
/// It asks the machine and not the allocator, so that next to no fuel goes into anything else.
pub fn nibble() -> ! {
    loop {
        black_box(grow());
    }
}

#[cfg(target_family = "wasm")]
fn grow() -> usize {
    core::arch::wasm32::memory_grow::<0>(1)
}

#[cfg(not(target_family = "wasm"))]
fn grow() -> usize {
    usize::MAX
}

/// Fills a block over and over.
pub fn fill(params: &Params) -> ! {
    let mut block = block(params);
    for byte in (0..=u8::MAX).cycle() {
        black_box(&mut block).fill(byte);
    }
    unreachable!("a cycle has no end")
}

/// Copies a block by a byte, over and over.
pub fn copy(params: &Params) -> ! {
    let mut block = block(params);
    loop {
        let end = block.len().saturating_sub(1);
        black_box(&mut block).copy_within(..end, 1);
    }
}

fn block(params: &Params) -> Vec<u8> {
    vec![0; usize::try_from(params.size.unwrap_or(BLOCK)).unwrap_or(usize::MAX)]
}

/// Takes all the memory that there is, and gives it back; how often it was given some.
///
/// # Errors
/// What the allocator says.
pub fn take_all() -> (u64, std::collections::TryReserveError) {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    loop {
        let mut gulp = Vec::new();
        if let Err(refusal) = gulp.try_reserve_exact(GULP) {
            return (taken.len() as u64, refusal);
        }
        gulp.resize(GULP, 1);
        taken.push(gulp);
    }
}

/// Takes all the memory that there is, and reports that this is not enough.
pub fn fail() -> Failure {
    take_all().1.into()
}
