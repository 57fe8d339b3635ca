//! Calls of WASI preview 1 for which the standard library has no words.
//!
//! Natively there is no such host, and nothing happens.

/// Waits for so many clocks, each of which rings in 584 years.
pub fn wait_for_clocks(count: usize) {
    #[cfg(target_family = "wasm")]
    preview1::wait_for_clocks(count);
    #[cfg(not(target_family = "wasm"))]
    let _ = count;
}

/// Fills a buffer with random bytes.
pub fn fill_with_random(buffer: &mut [u8]) {
    #[cfg(target_family = "wasm")]
    preview1::fill_with_random(buffer);
    #[cfg(not(target_family = "wasm"))]
    let _ = buffer;
}

/// Asks for the sizes of environment and arguments, past all that the standard library remembers.
pub fn measure_environment() -> usize {
    #[cfg(target_family = "wasm")]
    return preview1::measure_environment();
    #[cfg(not(target_family = "wasm"))]
    0
}

#[cfg(target_family = "wasm")]
mod preview1 {
    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    unsafe extern "C" {
        fn poll_oneoff(wanted: *const Subscription, rung: *mut Event, count: usize, rang: *mut usize) -> u32;
        fn random_get(buffer: *mut u8, length: usize) -> u32;
        fn environ_sizes_get(count: *mut usize, size: *mut usize) -> u32;
        fn args_sizes_get(count: *mut usize, size: *mut usize) -> u32;
    }

    /// A `subscription` to a clock: tag 0, a time from now on.
    #[derive(Clone)]
    #[repr(C)]
    struct Subscription {
        userdata: u64,
        tag: u64,
        clock: u64,
        timeout: u64,
        precision: u64,
        flags: u64,
    }

    /// An `event`, of which nobody reads anything.
    #[derive(Clone)]
    #[repr(C)]
    struct Event([u64; 4]);

    /// `CLOCKID_MONOTONIC`.
    const MONOTONIC: u64 = 1;

    pub fn wait_for_clocks(count: usize) {
        let clock = Subscription { userdata: 0, tag: 0, clock: MONOTONIC, timeout: u64::MAX, precision: 0, flags: 0 };
        let (wanted, mut rung, mut rang) = (vec![clock; count], vec![Event([0; 4]); count], 0);
        // SAFETY: both lists have room for `count` entries of 48 and 32 bytes, the sizes that preview 1 gives them, and
        // everything lives longer than the call.
        unsafe { poll_oneoff(wanted.as_ptr(), rung.as_mut_ptr(), count, &raw mut rang) };
    }

    pub fn fill_with_random(buffer: &mut [u8]) {
        // SAFETY: the buffer has its length.
        unsafe { random_get(buffer.as_mut_ptr(), buffer.len()) };
    }

    pub fn measure_environment() -> usize {
        let (mut count, mut size) = (0, 0);
        // SAFETY: both places are written as the `usize` that they are.
        unsafe {
            environ_sizes_get(&raw mut count, &raw mut size);
            args_sizes_get(&raw mut count, &raw mut size);
        }
        count + size
    }
}
