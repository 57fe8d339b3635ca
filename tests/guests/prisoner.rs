//! Tries every door there is, and says which one gave way.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
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
    fn path_symlink(old: *const u8, old_length: usize, directory: u32, new: *const u8, new_length: usize) -> u32;
    fn path_link(
        old_directory: u32,
        flags: u32,
        old: *const u8,
        old_length: usize,
        new_directory: u32,
        new: *const u8,
        new_length: usize,
    ) -> u32;
    fn fd_prestat_get(directory: u32, prestat: *mut [u32; 2]) -> u32;
    fn sock_accept(socket: u32, flags: u32, descriptor: *mut u32) -> u32;
    fn args_sizes_get(count: *mut usize, size: *mut usize) -> u32;
}

fn main() {
    if std::env::var("LONGBOAT_PARAMS").is_ok_and(|params| params.contains("accept")) {
        let mut descriptor = 0;
        println!("{}", unsafe { sock_accept(3, 0, &raw mut descriptor) });
        return;
    }
    let mut open = Vec::new();
    let mut door = |name: String, gave_way: bool| {
        if gave_way {
            open.push(format!("{name:?}"));
        }
    };
    let paths = [
        "/", ".", "..", "/etc", "/etc/passwd", "/proc/self/environ", "/tmp", "/result/..", "/result/../etc/passwd",
        "/result/x/../../etc/passwd", "../etc/passwd", "etc/passwd", "//etc/passwd", "/result/\u{0}", "/dev/null",
    ];
    for path in paths {
        door(format!("open {path}"), File::open(path).is_ok());
        door(format!("list {path}"), fs::read_dir(path).is_ok());
        door(format!("stat {path}"), fs::metadata(path).is_ok());
        door(format!("write {path}"), fs::write(path, "x").is_ok());
    }
    for directory in 3..64 {
        let mut prestat = [0; 2];
        // Only the first descriptor after the standard streams is a directory.
        door(format!("directory {directory}"), directory > 3 && unsafe { fd_prestat_get(directory, &raw mut prestat) } == 0);
        for path in ["/etc/passwd", "..", "../..", "../../../../etc/passwd", "a/../..", "./.."] {
            door(format!("open {path} from {directory}"), opens(directory, path));
        }
    }
    fs::write("/result/own", "x").expect("the result directory can be written");
    for target in ["/etc/passwd", "../../etc/passwd", "own"] {
        door(format!("symbolic link to {target}"), links(target, "symbolic", true));
        door(format!("link to {target}"), links(target, "hard", false));
    }
    door("links left behind".to_owned(), fs::symlink_metadata("/result/symbolic").is_ok());
    fs::remove_file("/result/own").expect("what was written can be removed");
    for directory in ["../outside", "/outside", "/result/../outside"] {
        door(format!("make {directory}"), fs::create_dir(directory).is_ok());
    }
    door("rename out".to_owned(), File::create("/result/a").is_ok() && fs::rename("/result/a", "/result/../a").is_ok());
    for address in ["127.0.0.1:80", "0.0.0.0:0", "[::1]:80"] {
        door(format!("connect to {address}"), TcpStream::connect(address).is_ok());
        door(format!("listen on {address}"), TcpListener::bind(address).is_ok());
        door(format!("datagrams on {address}"), UdpSocket::bind(address).is_ok());
    }
    door("resolve localhost".to_owned(), "localhost:80".to_socket_addrs().is_ok());
    door("a thread".to_owned(), std::thread::Builder::new().spawn(|| ()).is_ok());
    door("a process".to_owned(), std::process::Command::new("/bin/true").spawn().is_ok());
    door("the current directory outside".to_owned(), std::env::set_current_dir("/etc").is_ok());
    let (mut count, mut size) = (0, 0);
    unsafe { args_sizes_get(&raw mut count, &raw mut size) };
    let variables: Vec<_> = std::env::vars().map(|(name, _)| name).collect();
    println!(
        "{{\"open\": [{}], \"variables\": {variables:?}, \"arguments\": {count}}}",
        open.join(", "),
    );
}

fn opens(directory: u32, path: &str) -> bool {
    const READ: u64 = 1 << 1;
    let mut descriptor = 0;
    (0..2).any(|follow| unsafe {
        path_open(directory, follow, path.as_ptr(), path.len(), 0, READ, READ, 0, &raw mut descriptor) == 0
    })
}

fn links(target: &str, name: &str, symbolic: bool) -> bool {
    unsafe {
        match symbolic {
            true => path_symlink(target.as_ptr(), target.len(), 3, name.as_ptr(), name.len()) == 0,
            false => path_link(3, 0, target.as_ptr(), target.len(), 3, name.as_ptr(), name.len()) == 0,
        }
    }
}
