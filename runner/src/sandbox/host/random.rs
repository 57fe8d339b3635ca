//! `wasi:random`: numbers that follow from the attempt's seed.

use super::Host;
use super::bindings::wasi::random::{insecure, insecure_seed, random};
use chacha20::rand_core::Rng;

/// The most bytes that one call returns; a guest that wants more asks again and pays again.
const MAX_BYTES: u64 = 1 << 20;

fn bytes(source: &mut impl Rng, length: u64) -> wasmtime::Result<Vec<u8>> {
    if length > MAX_BYTES {
        wasmtime::bail!("{length} random bytes were asked for at once, and at most {MAX_BYTES} are given");
    }
    let mut bytes = vec![0; usize::try_from(length)?];
    source.fill_bytes(&mut bytes);
    Ok(bytes)
}

impl random::Host for Host {
    fn get_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        let bytes = bytes(&mut self.random, length)?;
        self.moved(bytes.len());
        Ok(bytes)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.random.next_u64())
    }
}

impl insecure::Host for Host {
    fn get_insecure_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        let bytes = bytes(&mut self.insecure, length)?;
        self.moved(bytes.len());
        Ok(bytes)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.insecure.next_u64())
    }
}

impl insecure_seed::Host for Host {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok((self.insecure.next_u64(), self.insecure.next_u64()))
    }
}
