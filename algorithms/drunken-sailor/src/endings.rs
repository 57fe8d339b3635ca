//! Ways to end badly.

use crate::Params;
use longboat_sdk::Failure;
use std::hint::black_box;

/// Never comes to an end.
pub fn endless_loop() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

/// Exits as msg-qworker's sailor did, or with another code.
pub fn exit(params: &Params) -> ! {
    std::process::exit(params.code.unwrap_or(10))
}

/// Calls itself, in frames of so many words, until the stack has no room left.
#[expect(unconditional_recursion, reason = "it is what this is for")]
pub fn recurse<const WORDS: usize>(depth: u64) -> u64 {
    let frame = black_box([depth; WORDS]);
    recurse::<WORDS>(black_box(depth + 1)) + frame[WORDS / 2]
}

/// Panics in a destructor while it panics, which no program survives.
pub fn panic_in_drop() -> ! {
    struct Bottle;
    impl Drop for Bottle {
        fn drop(&mut self) {
            panic!("a bottle broke");
        }
    }
    let _bottle = Bottle;
    panic!("a mast broke");
}

/// Reports a failure.
pub fn fail(params: &Params) -> Failure {
    if params.permanent { Failure::permanent("no attempt can mend this") } else { Failure::transient("not today") }
}
