//! The walls, looked at from inside: the test program starts itself again, confines that process, and has it try.

use super::{Confinement, ConfinementError, Kernel, Needs, Wall, confine, linux, system};
use rustix::process::{getppid, test_kill_process};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

/// What the prisoner is told, as JSON: where the scene is, whom it may dial, and whether it is one at all.
const ORDERS: &str = "LONGBOAT_TEST_CONFINED";

/// Files and ports to try, made outside the walls.
struct Scene {
    directory: tempfile::TempDir,
    listener: TcpListener,
    _abstract: UnixListener,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("inside/below")).unwrap();
        fs::write(directory.path().join("granted"), "x").unwrap();
        fs::write(directory.path().join("secret"), "x").unwrap();
        let name = directory.path().as_os_str().as_encoded_bytes();
        let address = UnixAddress::from_abstract_name(name).unwrap();
        Self {
            listener: TcpListener::bind(("127.0.0.1", 0)).unwrap(),
            _abstract: UnixListener::bind_addr(&address).unwrap(),
            directory,
        }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// What a confined process could do that may dial `dial`, and the walls that the kernel does not offer.
    fn tried_by_prisoner(&self, dial: Option<u16>) -> (Value, Vec<String>) {
        self.tried(&json!({"dial": dial, "confined": true}))
    }

    fn tried(&self, orders: &Value) -> (Value, Vec<String>) {
        let mut orders = orders.clone();
        orders["directory"] = json!(self.directory.path());
        orders["address"] = json!(self.address());
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "confinement::tests::prisoner", "--nocapture"])
            .env(ORDERS, orders.to_string())
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let report = text.lines().find_map(|line| line.strip_prefix("report ")).unwrap_or_else(|| panic!("{text}"));
        let mut report: Value = serde_json::from_str(report).unwrap();
        (report["could"].take(), serde_json::from_value(report["missing"].take()).unwrap())
    }
}

#[test]
fn prisoner() {
    // Does nothing unless one of the tests beside it has started it as a process of its own.
    let Ok(orders) = std::env::var(ORDERS) else { return };
    let orders: Value = serde_json::from_str(&orders).unwrap();
    let directory = Path::new(orders["directory"].as_str().unwrap());
    let address = orders["address"].as_str().unwrap().parse().unwrap();
    let needs = Needs {
        write: vec![directory.join("inside")],
        read: [system::process(), vec![directory.join("granted"), directory.join("missing")]].concat(),
        dial: orders["dial"].as_u64().map(|port| [u16::try_from(port).unwrap()].into()),
    };
    let missing = if orders["confined"] == json!(true) {
        // The test program has threads already, so `confine` would refuse; this one is held all the same.
        linux::restrict(&needs).unwrap().missing()
    } else {
        Wall::ALL.to_vec()
    };
    let missing: Vec<_> = missing.iter().map(|wall| format!("{wall:?}")).collect();
    println!("\nreport {}", json!({"could": attempts(directory, address), "missing": missing}));
}

/// What this thread can do, by the wall that ought to keep it from that; "work" is what no wall may hinder.
fn attempts(directory: &Path, address: SocketAddr) -> Value {
    let inside = directory.join("inside");
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let name = UnixAddress::from_abstract_name(directory.as_os_str().as_encoded_bytes()).unwrap();
    json!({
        "work": {
            "write": fs::write(inside.join("a"), "x").is_ok(),
            "truncate": fs::File::create(inside.join("a")).is_ok(),
            "move to another directory": fs::rename(inside.join("a"), inside.join("below/a")).is_ok(),
            "link": std::os::unix::fs::symlink("a", inside.join("link")).is_ok(),
            "temporary file": tempfile::tempfile_in(&inside).is_ok(),
            "read": fs::read(directory.join("granted")).is_ok(),
            "memory map": fs::File::open("/proc/self/pagemap").is_ok(),
        },
        "Privileges": { "gain": !status.contains("NoNewPrivs:\t1") },
        "Files": {
            "read a file": fs::read(directory.join("secret")).is_ok(),
            "read the users": fs::read("/etc/passwd").is_ok(),
            "follow a link": std::os::unix::fs::symlink(directory.join("secret"), inside.join("out"))
                .and_then(|()| fs::read(inside.join("out"))).is_ok(),
            "list": fs::read_dir("/").is_ok(),
            "list what is above": fs::read_dir(directory).is_ok(),
            "make a file": fs::write(directory.join("made"), "x").is_ok(),
            "change what it may read": fs::write(directory.join("granted"), "y").is_ok(),
            "remove": fs::remove_file(directory.join("secret")).is_ok(),
            "move in": fs::rename(directory.join("granted"), inside.join("granted")).is_ok(),
            "make a socket": UnixListener::bind(inside.join("socket")).is_ok(),
            "execute": Command::new("/bin/true").status().is_ok(),
            "execute what it wrote": executes_its_own(&inside),
        },
        "Tcp": {
            "listen": TcpListener::bind(("127.0.0.1", 0)).is_ok(),
            "dial": TcpStream::connect(address).is_ok(),
        },
        "Processes": {
            "signal": test_kill_process(getppid().unwrap()).is_ok(),
            "abstract socket": UnixStream::connect_addr(&name).is_ok(),
        },
    })
}

/// Writes a program into the only directory where it can, and runs it.
fn executes_its_own(inside: &Path) -> bool {
    use std::os::unix::fs::OpenOptionsExt;
    let program = inside.join("program");
    let mut options = fs::OpenOptions::new();
    let written = options.write(true).create(true).mode(0o755).open(&program);
    written.and_then(|mut file| std::io::Write::write_all(&mut file, b"#!/bin/sh\n")).unwrap();
    Command::new(program).status().is_ok()
}

/// Checks that exactly what a standing wall forbids was impossible, `allowed` apart.
fn check(could: &Value, missing: &[String], allowed: &[&str]) {
    for (wall, tried) in could.as_object().unwrap() {
        let stands = wall != "work" && !missing.contains(wall);
        if wall != "work" && !stands {
            println!("the kernel has no wall for {wall}: nothing to see there");
            continue;
        }
        for (what, done) in tried.as_object().unwrap() {
            assert_eq!(*done, !stands || allowed.contains(&what.as_str()), "{wall}: {what}");
        }
    }
}

#[test]
fn a_confined_process_can_do_its_work_and_nothing_else() {
    let scene = Scene::new();
    let (could, missing) = scene.tried_by_prisoner(Some(1));
    check(&could, &missing, &[]);
    assert_eq!(fs::read_to_string(scene.directory.path().join("granted")).unwrap(), "x");
}

#[test]
fn a_port_that_is_needed_can_be_dialled_and_so_can_all_if_there_are_no_few() {
    let scene = Scene::new();
    let needed = scene.tried_by_prisoner(Some(scene.address().port()));
    for (could, missing) in [needed, Scene::new().tried_by_prisoner(None)] {
        check(&could, &missing, &["dial"]);
    }
}

#[test]
fn what_nobody_confines_can_do_all_of_that() {
    let scene = Scene::new();
    let (could, _) = scene.tried(&json!({"confined": false}));
    for (wall, tried) in could.as_object().unwrap() {
        // Containers may have set no_new_privs long before.
        for (what, done) in tried.as_object().unwrap().iter().filter(|_| wall != "Privileges") {
            assert!(*done == json!(true), "{wall}: {what}");
        }
    }
}

#[test]
fn a_directory_to_write_in_has_to_be_there() {
    let needs = Needs { write: vec!["/nowhere/at/all".into()], ..Needs::default() };
    let error = linux::restrict(&needs).unwrap_err();
    assert!(matches!(&error, ConfinementError::Directory { path, .. } if path.ends_with("at/all")), "{error}");
}

#[test]
fn a_process_that_has_threads_is_not_confined_by_halves() {
    // The test program has one for each test.
    let error = confine(&Needs::default()).unwrap_err();
    assert!(matches!(error, ConfinementError::Threads(2..)), "{error}");
}

#[test]
fn walls_are_missing_from_the_newest_on() {
    for abi in 2..=7 {
        let kernel = Kernel::Landlock(abi);
        let missing =
            Confinement::new(&Needs { dial: Some(BTreeSet::new()), ..Needs::default() }, true, kernel).missing();
        let first = Wall::ALL.len() - missing.len();
        assert_eq!(Wall::ALL[first..], missing, "{abi}");
    }
}
