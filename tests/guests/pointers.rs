//! Calls WASI preview 1 with pointers, lengths and counts that make no sense, in the way that its params name, and
//! says what came back.

use std::hint::black_box;

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn fd_write(descriptor: u32, vectors: *const Vector, count: usize, written: *mut usize) -> u32;
    fn fd_read(descriptor: u32, vectors: *const Vector, count: usize, read: *mut usize) -> u32;
    fn fd_readdir(descriptor: u32, buffer: *mut u8, length: usize, cookie: u64, used: *mut usize) -> u32;
    fn fd_renumber(descriptor: u32, to: u32) -> u32;
    fn fd_close(descriptor: u32) -> u32;
    fn path_open(
        directory: u32,
        follow: u32,
        path: *const u8,
        length: usize,
        flags: u32,
        rights: u64,
        inheriting: u64,
        descriptor_flags: u32,
        descriptor: *mut u32,
    ) -> u32;
    fn poll_oneoff(wanted: *const u8, rung: *mut u8, count: usize, rang: *mut usize) -> u32;
    fn random_get(buffer: *mut u8, length: usize) -> u32;
    fn sock_accept(socket: u32, flags: u32, descriptor: *mut u32) -> u32;
    fn sock_recv(socket: u32, vectors: *const Vector, count: usize, flags: u32, read: *mut usize, out: *mut u16) -> u32;
    fn sock_send(socket: u32, vectors: *const Vector, count: usize, flags: u32, sent: *mut usize) -> u32;
    fn sock_shutdown(socket: u32, how: u32) -> u32;
}

/// A `ciovec` or an `iovec`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Vector(*const u8, usize);

/// Outside of any memory that this program could have.
const NOWHERE: usize = 0xffff_fff0;
const LOG: u32 = 2;
const RESULT: u32 = 3;

fn main() {
    let params = std::env::var("LONGBOAT_PARAMS").unwrap_or_default();
    let call = params.split('"').nth(3).unwrap_or_default();
    let byte = b"x".as_ptr();
    let (mut size, mut descriptor, mut flags) = (0, 0, 0);
    let nowhere = black_box(NOWHERE) as *mut u8;
    // That these calls break the rules is what they are for; whoever keeps the rules is on the other side of them.
    let error = unsafe {
        match call {
            "write-length" => fd_write(LOG, &Vector(byte, usize::MAX), 1, &raw mut size),
            "write-nowhere" => fd_write(LOG, &Vector(nowhere, 64), 1, &raw mut size),
            "write-count" => fd_write(LOG, &Vector(byte, 1), 1 << 31, &raw mut size),
            "write-vectors-nowhere" => fd_write(LOG, nowhere.cast(), 1, &raw mut size),
            "write-empty" => fd_write(LOG, [Vector(nowhere, 0); 1000].as_ptr(), 1000, &raw mut size),
            "write-written-nowhere" => fd_write(LOG, &Vector(byte, 1), 1, nowhere.cast()),
            "read-over-itself" => {
                let mut vector = Vector(std::ptr::null(), 8);
                vector.0 = (&raw mut vector).cast();
                fd_read(0, black_box(&raw const vector), 1, &raw mut size)
            }
            "read-nowhere" => fd_read(0, &Vector(nowhere, 64), 1, &raw mut size),
            "readdir-cookie" => fd_readdir(RESULT, [0; 64].as_mut_ptr(), 64, u64::MAX, &raw mut size),
            "readdir-nowhere" => fd_readdir(RESULT, nowhere, 64, 0, &raw mut size),
            "path-nowhere" => path_open(RESULT, 0, nowhere, 64, 1, 2, 2, 0, &raw mut descriptor),
            "path-length" => path_open(RESULT, 0, byte, usize::MAX, 1, 2, 2, 0, &raw mut descriptor),
            "path-not-text" => path_open(RESULT, 0, b"\xff\xfe".as_ptr(), 2, 1, 2, 2, 0, &raw mut descriptor),
            "path-flags" => path_open(RESULT, !0, byte, 1, !0, !0, !0, !0, &raw mut descriptor),
            "poll-nothing" => poll_oneoff(nowhere, nowhere, 0, &raw mut size),
            "poll-millions" => poll_oneoff(byte, nowhere, 5_000_000, &raw mut size),
            "random-gigabyte" => random_get(0 as *mut u8, 1 << 30),
            "no-descriptor" => fd_close(u32::MAX) + fd_renumber(u32::MAX, 0) + fd_renumber(0, u32::MAX - 1),
            "close-everything" => (0..64).map(|descriptor| fd_close(descriptor)).max().unwrap_or(0),
            "accept" => sock_accept(RESULT, 0, &raw mut descriptor),
            "receive" => sock_recv(RESULT, &Vector(byte, 1), 1, 0, &raw mut size, &raw mut flags),
            "send" => sock_send(RESULT, &Vector(byte, 1), 1, 0, &raw mut size),
            "shutdown" => sock_shutdown(RESULT, 3),
            other => panic!("no such call: {other}"),
        }
    };
    println!("{{\"error\": {error}}}");
}
