#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    longboat_hostile::targets::import::check(bytes);
});
