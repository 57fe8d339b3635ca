//! Ways to ask the host for what it has no end of, or nothing of.

use crate::{Params, Seen, wasi};
use longboat_sdk::{Failure, Job};
use std::hint::black_box;
use std::io::Read;
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

/// Random bytes at a time.
const RANDOM: u64 = 64 << 10;

/// Asks for random bytes for ever.
pub fn random(params: &Params) -> ! {
    let mut buffer = vec![0; usize::try_from(params.size.unwrap_or(RANDOM)).unwrap_or(usize::MAX)];
    loop {
        wasi::fill_with_random(black_box(&mut buffer));
    }
}

/// Asks for environment and arguments for ever.
pub fn environment() -> ! {
    loop {
        black_box(wasi::measure_environment());
    }
}

/// Asks how much fuel is left until none is.
pub fn fuel_left(job: &Job<Params>) -> ! {
    loop {
        black_box(job.fuel_left());
    }
}

/// Reads its input to the end, over and over.
pub fn read_input(job: &Job<Params>) -> Result<Seen, Failure> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let mut input = job.input()?;
        while input.read(black_box(&mut buffer))? > 0 {}
    }
}

/// Asks for sockets of every kind.
///
/// # Errors
/// A permanent failure if it gets one.
pub fn sockets() -> Result<Seen, Failure> {
    let mut seen = Seen::default();
    for address in ["127.0.0.1:80", "0.0.0.0:0", "169.254.169.254:80", "[::1]:80"] {
        seen.must_refuse("a connection", TcpStream::connect(address))?;
        seen.must_refuse("a listener", TcpListener::bind(address))?;
        seen.must_refuse("datagrams", UdpSocket::bind(address))?;
    }
    seen.must_refuse("an address", "localhost:80".to_socket_addrs())?;
    Ok(seen)
}
