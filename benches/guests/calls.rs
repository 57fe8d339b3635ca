//! Calls the host so many times in one way: its params are `{"call":"NAME","times":"N"}`.

use std::fs::{self, File, OpenOptions};
use std::hint::black_box;
use std::io::{Read, Seek, SeekFrom, Write};

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn random_get(buffer: *mut u8, length: usize) -> u32;
    fn sched_yield() -> u32;
}

/// A value of the params, which hold nothing but plain strings.
fn param(name: &str) -> String {
    let params = std::env::var("LONGBOAT_PARAMS").unwrap_or_default();
    let (_, rest) = params.split_once(&format!("\"{name}\":\"")).expect("the param is given");
    rest.split_once('"').expect("the param ends").0.to_owned()
}

fn random(buffer: &mut [u8]) {
    // SAFETY: the buffer is as long as is said, and nobody else's meanwhile.
    unsafe { random_get(buffer.as_mut_ptr(), buffer.len()) };
}

fn main() {
    let (call, times) = (param("call"), param("times").parse::<u32>().expect("a number"));
    let mut buffer = vec![7; 65_536];
    let new = || OpenOptions::new().read(true).write(true).create(true).open("/result/file").expect("there is room");
    let mut act: Box<dyn FnMut(u32)> = match call.as_str() {
        "compute" => Box::new(|i| {
            let mix = |x: u64, k| (x ^ (x >> 7)).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(k);
            black_box((0..1000).fold(u64::from(i), mix));
        }),
        "memory.grow, refused" => Box::new(|_| {
            black_box(core::arch::wasm32::memory_grow::<0>(60_000));
        }),
        // SAFETY: it takes nothing.
        "sched_yield" => Box::new(|_| _ = black_box(unsafe { sched_yield() })),
        "clock" => Box::new(|_| _ = black_box(std::time::Instant::now())),
        "random, 8 bytes" => Box::new(|_| random(&mut buffer[..8])),
        "random, 64 KiB" => Box::new(|_| random(&mut buffer)),
        "log, 1 byte" => Box::new(|_| std::io::stderr().write_all(b"x").expect("the log takes all")),
        "log, 64 KiB" => Box::new(|_| std::io::stderr().write_all(&buffer).expect("the log takes all")),
        "file, write 1 byte" => {
            let mut file = new();
            Box::new(move |_| file.write_all(b"x").expect("there is room"))
        }
        "file, write 64 KiB" => {
            let mut file = new();
            Box::new(move |_| {
                file.write_all(&buffer).expect("there is room");
                file.seek(SeekFrom::Start(0)).expect("a file can be read from anywhere");
            })
        }
        "file, read 64 KiB" => {
            let mut file = new();
            file.write_all(&buffer).expect("there is room");
            Box::new(move |_| {
                file.seek(SeekFrom::Start(0)).expect("a file can be read from anywhere");
                file.read_exact(&mut buffer).expect("the file is there");
            })
        }
        "stat" => Box::new(|_| drop(black_box(fs::metadata("/result")))),
        "open and close" => {
            drop(new());
            Box::new(|_| drop(File::open("/result/file").expect("the file is there")))
        }
        "create, write, remove" => Box::new(|_| {
            fs::write("/result/other", b"x").expect("there is room");
            fs::remove_file("/result/other").expect("the file is there");
        }),
        "rename" => {
            drop(new());
            let names = ["/result/file", "/result/other"];
            Box::new(move |i| {
                let (from, to) = (names[(i % 2) as usize], names[((i + 1) % 2) as usize]);
                fs::rename(from, to).expect("the file is there");
            })
        }
        "list 100 entries" => {
            (0..100).for_each(|i| drop(File::create(format!("/result/{i}")).expect("there is room")));
            Box::new(|_| _ = black_box(fs::read_dir("/result").expect("it is there").count()))
        }
        "input, 64 KiB" => Box::new(|_| drop(black_box(std::io::stdin().read(&mut buffer)))),
        other => panic!("{other} is no call that is known"),
    };
    (0..times).for_each(|i| act(i));
    println!("null");
}
