//! On real directories.

use super::*;
use crate::job::Digest;
use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use tempfile::TempDir;

const ID: &str = "bc3a0001-0203-0405-0607-08090a0b0c0d";

fn id() -> JobId {
    ID.parse().unwrap()
}

fn tree() -> (TempDir, Results) {
    let directory = tempfile::tempdir().unwrap();
    let results = Results::open(&directory.path().join("results")).unwrap();
    (directory, results)
}

/// Keeps files whose contents are their names.
fn keep(results: &Results, attempt: u32, names: &[&str]) -> Kept {
    let staging = results.stage(id(), attempt).unwrap();
    let files = names.iter().map(|name| {
        let directory = staging.files().unwrap();
        if let Some((parents, _)) = name.rsplit_once('/') {
            directory.create_dir_all(parents).unwrap();
        }
        directory.write(name, name).unwrap();
        let (size, sha256) = (name.len() as u64, Digest::of(name).hex());
        FileEntry { name: (*name).to_owned(), size, sha256 }
    });
    let files: Vec<_> = files.collect();
    staging.keep(&files).unwrap()
}

fn text(opened: io::Result<(fs::File, fs::Metadata)>) -> String {
    let (mut file, metadata) = opened.unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(metadata.len(), text.len() as u64);
    text
}

fn staged(results: &Results) -> usize {
    let entries = fs::read_dir(results.root.staging()).unwrap();
    entries.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count()
}

#[test]
fn files_are_where_msg_qworker_had_them() {
    let (directory, results) = tree();
    let _kept = keep(&results, 2, &["a.csv", "deep/er/b"]);
    let place = directory.path().join("results/bc/bc3a000102030405060708090a0b0c0d/2");
    assert_eq!(results.reader().directory(id()), place.parent().unwrap());
    let files = results.reader().files(id(), 2);
    assert_eq!((files.path(), files.are_here()), (&*place, true));
    assert_eq!(text(files.open("a.csv")), "a.csv");
    assert_eq!(text(files.open("deep/er/b")), "deep/er/b");
    assert!(!results.reader().files(id(), 1).are_here());
}

#[test]
fn an_attempt_without_files_touches_no_disk() {
    let (directory, results) = tree();
    let staging = results.stage(id(), 1).unwrap();
    let scratch = staging.scratch();
    drop(scratch);
    let _kept = staging.keep(&[]).unwrap();
    let root = directory.path().join("results");
    let names: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!((names, staged(&results)), (vec![STAGING.into()], 0));
}

#[test]
fn what_is_not_kept_or_is_discarded_leaves_nothing() {
    let (directory, results) = tree();
    let staging = results.stage(id(), 1).unwrap();
    staging.files().unwrap().write("a", "x").unwrap();
    staging.scratch()().unwrap().write("1", "x").unwrap();
    assert_eq!(staged(&results), 1);
    drop(staging);
    assert!(!results.reader().directory(id()).exists(), "no empty directory is left");
    let (first, second) = (keep(&results, 3, &["a"]), keep(&results, 2, &["a"]));
    second.discard().unwrap();
    assert!(results.reader().files(id(), 3).are_here() && !results.reader().files(id(), 2).are_here());
    first.discard().unwrap();
    assert_eq!(staged(&results), 0);
    assert!(!directory.path().join("results/bc").exists(), "no empty directory is left");
}

#[test]
fn a_leftover_with_an_attempts_number_gives_way_to_it() {
    let (_directory, results) = tree();
    let _leftover = keep(&results, 1, &["old"]);
    let staging = results.stage(id(), 1).unwrap();
    assert!(!results.reader().files(id(), 1).are_here(), "before the attempt starts");
    drop(staging);
    assert_eq!(staged(&results), 0);
}

#[test]
fn reading_writes_nothing() {
    let (directory, _results) = tree();
    let nowhere = directory.path().join("nowhere");
    let reader = Reader::new(&nowhere);
    assert!(!reader.files(id(), 1).are_here());
    assert_eq!(reader.old_document(id(), 1).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!nowhere.exists());
}

#[test]
fn results_of_the_version_before_can_be_read() {
    let (directory, results) = tree();
    let old = directory.path().join("results/bc/bc3a000102030405060708090a0b0c0d/attempts/2");
    fs::create_dir_all(old.join("files")).unwrap();
    for (name, text) in [("result.json", "{}"), ("log.txt", "a line"), ("files/a", "1")] {
        fs::write(old.join(name), text).unwrap();
    }
    let reader = results.reader();
    assert_eq!(reader.old_document(id(), 2).unwrap(), b"{}");
    assert_eq!(reader.old_log(id(), 2).unwrap(), b"a line");
    assert_eq!(text(reader.files(id(), 2).open("a")), "1");
    assert_eq!(reader.old_log(id(), 1).unwrap_err().kind(), ErrorKind::NotFound);
    results.remove(id()).unwrap();
    results.remove(id()).unwrap();
    assert!(!old.exists() && staged(&results) == 0);
}

#[test]
fn a_job_removed_while_attempts_are_kept_leaves_nothing() {
    let (directory, results) = tree();
    // Removing happens in another process as well, whose staging names differ.
    let other = Results::open(&directory.path().join("results")).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for attempt in 1..=2 {
            let (results, is_over) = (&results, &is_over);
            scope.spawn(move || {
                for _ in 0..150 {
                    let staging = results.stage(id(), attempt).unwrap();
                    let files = staging.files().unwrap();
                    // It may be gone by now, with all that is in it.
                    let _ = files.write("a", "x");
                    let _ = staging.keep(&[]).and_then(Kept::discard);
                }
                is_over.store(true, Ordering::SeqCst);
            });
        }
        while !is_over.load(Ordering::SeqCst) {
            results.remove(id()).unwrap();
            other.remove(id()).unwrap();
        }
    });
    results.remove(id()).unwrap();
    assert!(!results.reader().directory(id()).exists());
    assert_eq!(staged(&results), 0);
}

#[test]
fn no_name_leads_out_of_the_result_directory() {
    let (directory, results) = tree();
    let secret = directory.path().join("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("key"), "secret").unwrap();
    let _kept = keep(&results, 1, &["sub/a"]);
    // Links that got there behind the sandbox's back.
    let published = results.reader().files(id(), 1);
    let files = published.path();
    symlink(secret.join("key"), files.join("link")).unwrap();
    symlink(&secret, files.join("dir")).unwrap();
    symlink("sub/a", files.join("inner")).unwrap();
    assert_eq!(text(published.open("sub/a")), "sub/a");
    let absolute = secret.join("key").to_str().unwrap().to_owned();
    let long = "x".repeat(5_000);
    for name in [
        "link",
        "dir/key",
        "inner",
        "..",
        "../2/a",
        "sub/../../2/a",
        "sub/./a",
        "./sub/a",
        "sub//a",
        "/sub/a",
        "sub/a/",
        "sub",
        "",
        ".",
        "/",
        "a\0b",
        &absolute,
        &long,
        "sub/a/b",
    ] {
        assert_eq!(published.open(name).unwrap_err().kind(), io::ErrorKind::NotFound, "{name}");
    }
}

#[test]
fn scratch_of_dead_processes_is_swept_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("results");
    let living = Results::open(&root).unwrap();
    let staging = living.stage(id(), 1).unwrap();
    staging.scratch()().unwrap();
    let left = root.join(".staging/bc3a.1.0.0123456789abcdef/files/deep");
    fs::create_dir_all(&left).unwrap();
    fs::write(root.join(".staging/0123456789abcdef.lock"), "").unwrap();
    // A process that holds its lock and is killed without a chance to clean up.
    let mut killed = Command::new("flock")
        .arg("--no-fork")
        .arg(root.join(".staging/fedcba9876543210.lock"))
        .args(["sh", "-c", "mkdir -p \"$0\" && echo && exec sleep 60"])
        .arg(root.join(".staging/bc3a.2.0.fedcba9876543210/files"))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    killed.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
    let second = Results::open(&root).unwrap();
    assert_eq!(staged(&second), 2, "the two that live");
    assert!(!left.exists());
    killed.kill().unwrap();
    killed.wait().unwrap();
    drop(second);
    let third = Results::open(&root).unwrap();
    assert_eq!(staged(&third), 1);
    drop(staging);
    drop((living, third));
    assert_eq!(fs::read_dir(root.join(".staging")).unwrap().count(), 0, "no lock is left");
}

#[test]
fn processes_that_start_at_once_sweep_together() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("results");
    for dead in 0..50 {
        let left = root.join(format!(".staging/bc3a.{dead}.0.{dead:016x}/files/deep/deeper"));
        fs::create_dir_all(&left).unwrap();
        fs::write(left.join("file"), "").unwrap();
        fs::write(root.join(format!(".staging/{dead:016x}.lock")), "").unwrap();
    }
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| drop(Results::open(&root).unwrap()));
        }
    });
    assert_eq!(fs::read_dir(root.join(".staging")).unwrap().count(), 0);
}
