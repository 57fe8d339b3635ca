//! On real directories.

use super::*;
use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::mpsc;
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
fn a_sealed_attempt_is_where_msg_qworker_had_it() {
    let (directory, results) = tree();
    let staging = results.stage(id(), 2);
    staging.files().unwrap().write("a.csv", "1,2").unwrap();
    assert!(staging.files_dir().join("a.csv").exists());
    let _sealed = staging.seal(b"{}", b"a line\n", true).unwrap();
    let place = directory.path().join("results/bc/bc3a000102030405060708090a0b0c0d/attempts/2");
    assert_eq!(results.directory(id()), place.ancestors().nth(2).unwrap());
    let published = results.published(id(), 2);
    assert_eq!(published.path(), place);
    assert_eq!(text(published.document()), "{}");
    assert_eq!(text(published.log()), "a line\n");
    assert_eq!(text(published.open_file("a.csv")), "1,2");
    assert_eq!(staged(&results), 0);
}

#[test]
fn the_log_of_an_attempt_that_runs_can_be_read_and_is_no_part_of_what_it_leaves() {
    let (_directory, results) = tree();
    let (reader, staging) = (&results.root.reader, results.stage(id(), 12));
    let is_missing =
        |attempt| reader.live_log(id(), attempt).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    assert!(is_missing(12), "its guest has written nothing");
    std::io::Write::write_all(&mut staging.live_log()().unwrap(), b"a line\n").unwrap();
    assert!(is_missing(1) && is_missing(2), "other attempts have others");
    let log = reader.live_log(id(), 12).and_then(io::read_to_string).unwrap();
    assert_eq!(log, "a line\n");
    let _sealed = staging.seal(b"{}", b"a line\n", true).unwrap();
    assert!(is_missing(12) && !results.published(id(), 12).path().join(LIVE_LOG).exists());
}

#[test]
fn a_failed_attempt_keeps_its_document_and_log_but_not_its_files() {
    let (_directory, results) = tree();
    let staging = results.stage(id(), 1);
    staging.files().unwrap().create_dir("deep").unwrap();
    staging.files().unwrap().write("deep/a.csv", "1,2").unwrap();
    let _sealed = staging.seal(b"{}", b"", false).unwrap();
    let published = results.published(id(), 1);
    assert!(!published.has_files());
    assert_eq!(published.open_file("deep/a.csv").unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(text(published.document()), "{}");
}

#[test]
fn what_is_not_sealed_or_is_discarded_leaves_nothing() {
    let (_directory, results) = tree();
    let staging = results.stage(id(), 1);
    staging.files().unwrap().write("a", "x").unwrap();
    drop(staging);
    results.stage(id(), 2).seal(b"{}", b"", true).unwrap().discard().unwrap();
    assert_eq!(staged(&results), 0);
    assert_eq!(results.published(id(), 2).document().unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_leftover_with_the_number_of_an_attempt_gives_way_to_it() {
    let (_directory, results) = tree();
    let staging = results.stage(id(), 1);
    staging.files().unwrap().write("old", "x").unwrap();
    let _leftover = staging.seal(b"first", b"", true).unwrap();
    let _sealed = results.stage(id(), 1).seal(b"second", b"", true).unwrap();
    let published = results.published(id(), 1);
    assert_eq!(text(published.document()), "second");
    assert_eq!(published.open_file("old").unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(staged(&results), 0);
}

#[test]
fn reading_results_writes_nothing() {
    let (directory, results) = tree();
    let root = directory.path().join("results");
    let left = root.join(".staging/bc3a.1.0.0123456789abcdef");
    fs::create_dir_all(&left).unwrap();
    let _sealed = results.stage(id(), 1).seal(b"{}", b"", true).unwrap();
    let before = fs::read_dir(root.join(".staging")).unwrap().count();
    assert_eq!(text(Reader::new(&root).published(id(), 1).document()), "{}");
    assert_eq!(fs::read_dir(root.join(".staging")).unwrap().count(), before);
    let nowhere = directory.path().join("nowhere");
    let error = Reader::new(&nowhere).published(id(), 1).document().unwrap_err();
    assert_eq!((error.kind(), nowhere.exists()), (io::ErrorKind::NotFound, false));
}

#[test]
fn the_links_of_a_job_follow_the_published_attempt() {
    let (_directory, results) = tree();
    let job = results.directory(id());
    let names = || {
        let mut names: Vec<_> = fs::read_dir(&job).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let _sealed = results.stage(id(), 1).seal(b"one", b"", false).unwrap();
    results.expose(id(), 1).unwrap();
    assert_eq!(fs::read_to_string(job.join("result.json")).unwrap(), "one");
    assert_eq!(names(), ["attempts", "latest", "log.txt", "result.json"]);
    let staging = results.stage(id(), 3);
    staging.files().unwrap().write("a", "3").unwrap();
    let _sealed = staging.seal(b"three", b"log", true).unwrap();
    results.expose(id(), 3).unwrap();
    results.expose(id(), 3).unwrap();
    for (name, text) in
        [("result.json", "three"), ("log.txt", "log"), ("files/a", "3"), ("latest/result.json", "three")]
    {
        assert_eq!(fs::read_to_string(job.join(name)).unwrap(), text);
    }
    for link in ["latest", "files", "result.json"] {
        assert!(fs::read_link(job.join(link)).unwrap().is_relative());
    }
    assert_eq!(names(), ["attempts", "files", "latest", "log.txt", "result.json"]);
    results.remove(id()).unwrap();
    results.remove(id()).unwrap();
    assert!(!job.exists() && staged(&results) == 0);
}

#[test]
fn an_attempt_that_is_discarded_leaves_no_empty_directories_but_spares_its_neighbours() {
    let (_directory, results) = tree();
    let job = results.directory(id());
    let first = results.stage(id(), 1).seal(b"{}", b"", true).unwrap();
    results.stage(id(), 2).seal(b"{}", b"", true).unwrap().discard().unwrap();
    assert!(results.published(id(), 1).document().is_ok());
    first.discard().unwrap();
    assert!(!job.exists());
}

#[test]
fn an_attempt_whose_job_is_gone_is_exposed_nowhere() {
    let (_directory, results) = tree();
    let _sealed = results.stage(id(), 1).seal(b"{}", b"", true).unwrap();
    results.remove(id()).unwrap();
    results.expose(id(), 1).unwrap();
    assert!(!results.directory(id()).exists());
}

#[test]
fn a_job_that_is_removed_while_stale_attempts_are_sealed_leaves_nothing_behind() {
    let (directory, results) = tree();
    // Removing happens in another process as well, whose staging names differ.
    let other = Results::open(&directory.path().join("results")).unwrap();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for attempt in 1..=2 {
            let (results, is_over) = (&results, &is_over);
            scope.spawn(move || {
                for _ in 0..150 {
                    let staging = results.stage(id(), attempt);
                    staging.files().unwrap().write("a", "x").unwrap();
                    let sealed = staging.seal(b"{}", b"", true).unwrap();
                    results.expose(id(), attempt).unwrap();
                    sealed.discard().unwrap();
                }
                is_over.store(true, std::sync::atomic::Ordering::SeqCst);
            });
        }
        while !is_over.load(std::sync::atomic::Ordering::SeqCst) {
            results.remove(id()).unwrap();
            other.remove(id()).unwrap();
        }
    });
    results.remove(id()).unwrap();
    assert!(!results.directory(id()).exists());
    assert_eq!(staged(&results), 0);
}

#[test]
fn the_links_never_go_back_to_an_earlier_attempt() {
    let (_directory, results) = tree();
    let job = results.directory(id());
    for attempt in 1..=20 {
        let (document, staging) = (attempt.to_string(), results.stage(id(), attempt));
        if attempt > 1 {
            staging.files().unwrap().write("a", &document).unwrap();
        }
        let _sealed = staging.seal(document.as_bytes(), b"", true).unwrap();
    }
    let shown = || fs::read_to_string(job.join("result.json")).unwrap();
    // Whoever was slow after its commit comes when the job was kicked and has ended anew.
    for (attempt, expected) in [(2, "2"), (1, "2"), (3, "3")] {
        results.expose(id(), attempt).unwrap();
        assert_eq!(shown(), expected);
        assert!(job.join("files").exists());
    }
    std::thread::scope(|scope| {
        for attempt in 4..=20 {
            let results = &results;
            scope.spawn(move || results.expose(id(), attempt).unwrap());
        }
    });
    assert_eq!(shown(), "20");
    let hidden = fs::read_dir(&job).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(hidden.filter(|name| name.starts_with('.')).count(), 0, "nothing is left beside them");
}

#[test]
fn no_name_leads_out_of_the_result_directory() {
    let (directory, results) = tree();
    let secret = directory.path().join("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("key"), "secret").unwrap();
    let staging = results.stage(id(), 1);
    staging.files().unwrap();
    let files = staging.files_dir().to_owned();
    fs::create_dir(files.join("sub")).unwrap();
    fs::write(files.join("sub/a"), "a").unwrap();
    let _sealed = staging.seal(b"{}", b"", true).unwrap();
    // Links that got there behind the sandbox's back.
    let files = results.published(id(), 1).files();
    symlink(secret.join("key"), files.join("link")).unwrap();
    symlink(&secret, files.join("dir")).unwrap();
    symlink("sub/a", files.join("inner")).unwrap();
    let published = results.published(id(), 1);
    assert_eq!(text(published.open_file("sub/a")), "a");
    let absolute = secret.join("key").to_str().unwrap().to_owned();
    let long = "x".repeat(5_000);
    for name in [
        "link",
        "dir/key",
        "inner",
        "..",
        "../result.json",
        "sub/../../result.json",
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
        assert_eq!(published.open_file(name).unwrap_err().kind(), io::ErrorKind::NotFound, "{name}");
    }
}

#[test]
fn what_a_dead_process_staged_is_swept_and_what_a_living_one_stages_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("results");
    let living = Results::open(&root).unwrap();
    let staging = living.stage(id(), 1);
    staging.files().unwrap();
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
    drop(staging.seal(b"{}", b"", true).unwrap());
    drop((living, third));
    assert_eq!(fs::read_dir(root.join(".staging")).unwrap().count(), 0, "no lock is left");
}

#[test]
fn processes_that_start_at_once_sweep_what_dead_ones_left_without_hindering_each_other() {
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

/// A tree whose syncs wait to be told what comes of them, and tell of the attempts that are in place by then.
fn gated() -> (TempDir, Results, mpsc::Sender<io::Result<()>>, mpsc::Receiver<Vec<bool>>) {
    let directory = tempfile::tempdir().unwrap();
    let (outcomes, outcome) = mpsc::channel();
    let (began, groups) = mpsc::channel();
    let syncing = |_: &Path| -> io::Result<flush::Sync> {
        Ok(Box::new(move |places| {
            began.send(places.iter().map(|place| place.join(DOCUMENT).exists()).collect()).unwrap();
            outcome.recv().unwrap()
        }))
    };
    let results = Results::open_with(&directory.path().join("results"), syncing).unwrap();
    (directory, results, outcomes, groups)
}

#[tokio::test]
async fn attempts_are_sealed_by_a_sync_that_began_when_they_were_in_their_places() {
    let (_directory, results, outcomes, groups) = gated();
    let placed = [1, 2].map(|attempt| results.stage(id(), attempt).place(b"{}", b"", true).unwrap());
    let [first, second] = placed.map(|placed| tokio::spawn(placed.synced()));
    let (outcomes, groups, in_place) = tokio::task::spawn_blocking(move || {
        let mut seen = groups.recv().unwrap();
        outcomes.send(Ok(())).unwrap();
        if seen.len() == 1 {
            seen.extend(groups.recv().unwrap());
            outcomes.send(Ok(())).unwrap();
        }
        (outcomes, groups, seen)
    })
    .await
    .unwrap();
    assert_eq!(in_place, [true, true], "both were in their places");
    let _sealed = (first.await.unwrap().unwrap(), second.await.unwrap().unwrap());
    drop((outcomes, groups));
}

#[tokio::test]
async fn a_failing_disk_leaves_none_of_the_group_in_place() {
    let (_directory, results, outcomes, groups) = gated();
    let placed = [1, 2, 3].map(|attempt| results.stage(id(), attempt).place(b"{}", b"", true).unwrap());
    // Should they not be one group, the second one fails as well.
    (0..3).for_each(|_| outcomes.send(Err(io::Error::other("the disk is on fire"))).unwrap());
    let ended = futures_util::future::join_all(placed.map(Placed::synced)).await;
    for (ended, attempt) in ended.into_iter().zip(1..) {
        let told = ended.unwrap_err().to_string();
        assert!(told.contains(&format!("attempts/{attempt}")) && told.ends_with("the disk is on fire"), "{told}");
        assert_eq!(results.published(id(), attempt).document().unwrap_err().kind(), io::ErrorKind::NotFound);
    }
    assert_eq!(staged(&results), 0);
    drop(groups);
}

#[tokio::test]
async fn a_failing_disk_is_no_loss_of_an_attempt_that_had_written_nothing_by_then() {
    let (_directory, results, outcomes, groups) = gated();
    let [runs, writes] = [2, 3].map(|attempt| results.stage(id(), attempt));
    writes.files().unwrap().write("a.csv", "1,2").unwrap();
    outcomes.send(Err(io::Error::other("the disk is on fire"))).unwrap();
    results.stage(id(), 1).place(b"{}", b"", true).unwrap().synced().await.unwrap_err();
    outcomes.send(Ok(())).unwrap();
    let _sealed = runs.place(b"{}", b"", true).unwrap().synced().await.unwrap();
    outcomes.send(Ok(())).unwrap();
    let told = writes.place(b"{}", b"", true).unwrap().synced().await.unwrap_err().to_string();
    assert!(told.ends_with("a sync failed while it was being written"), "{told}");
    drop(groups);
}

#[test]
fn an_attempt_that_leaves_little_makes_no_directory_but_its_own() {
    let (_directory, results) = tree();
    let staging = results.stage(id(), 1);
    assert_eq!(staged(&results), 0, "nothing is made before it is needed");
    let _sealed = staging.seal(b"{}", b"", true).unwrap();
    let place = results.published(id(), 1).path().to_owned();
    let mut names: Vec<_> = fs::read_dir(place).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [LOG, DOCUMENT]);
    let staging = results.stage(id(), 2);
    let scratch = staging.scratch()().unwrap();
    scratch.write("1", "x").unwrap();
    assert_eq!(staged(&results), 1);
    let _sealed = staging.seal(b"{}", b"", false).unwrap();
    assert!(!results.published(id(), 2).path().join("scratch").exists());
}
