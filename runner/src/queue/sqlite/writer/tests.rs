//! What is answered, and when.

use super::*;
use std::time::Instant;

fn writer(path: &Path) -> Writer {
    let connection = open::writer(path, Sharing::OneMachine).unwrap();
    Writer::start(connection, path, Sharing::OneMachine, Arc::new(Changes::new())).unwrap()
}

fn insert(connection: &Connection, name: &str) -> Result<(), Fault> {
    connection
        .execute("INSERT INTO workers (start, name, started_at, lease_ms) VALUES (randomblob(16), ?1, 0, 0)", [name])?;
    Ok(())
}

fn names(path: &Path) -> Vec<String> {
    let connection = open::reader(path, Sharing::OneMachine).unwrap();
    let mut statement = connection.prepare("SELECT name FROM workers ORDER BY name").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn an_answer_comes_only_after_the_commit() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue.db");
    let writer = writer(&path);
    // Whoever is answered looks at once through another connection, while more commands keep coming.
    let calls = (0..100).map(|i| {
        let (writer, path) = (&writer, &path);
        async move {
            let name = format!("{i:03}");
            let inserted = name.clone();
            writer.call(1, Durable::Now, move |connection, _| insert(connection, &inserted)).await.unwrap();
            assert!(names(path).contains(&name), "{name} was answered before it was there");
        }
    });
    futures_util::future::join_all(calls).await;
}

#[tokio::test]
async fn a_command_that_fails_takes_no_other_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue.db");
    let writer = writer(&path);
    let (gate, wait) = std::sync::mpsc::channel::<()>();
    let first = writer.call(1, Durable::Now, move |_, _| Ok(wait.recv().is_ok()));
    let good = writer.call(1, Durable::Now, |connection, _| insert(connection, "good"));
    let bad = writer.call(1, Durable::Now, |connection, _| {
        insert(connection, "bad")?;
        connection
            .execute("INSERT INTO workers (start, name, started_at, lease_ms) VALUES ('short', 'x', 0, 0)", [])?;
        Ok(())
    });
    let also_good = writer.call(1, Durable::Now, |connection, _| insert(connection, "good too"));
    let opened = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(gate);
    };
    let (_, good, bad, also_good, ()) = tokio::join!(first, good, bad, also_good, opened);
    assert!(good.is_ok() && also_good.is_ok());
    assert!(matches!(bad, Err(QueueError::Backend(_))));
    assert_eq!(names(&path), ["good", "good too"]);
}

/// Whether work that is done among others, or after them, can leave the savepoint that it is in.
fn is_in_a_savepoint(connection: &Connection) -> bool {
    let left = connection.execute_batch("RELEASE command; SAVEPOINT command");
    assert!(!connection.is_autocommit());
    left.is_ok()
}

#[tokio::test]
async fn what_changes_many_rows_is_in_no_savepoint_and_what_fails_in_it_is_undone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue.db");
    let writer = writer(&path);
    let (gate, wait) = std::sync::mpsc::channel::<()>();
    let first = writer.call(1, Durable::Now, move |_, _| Ok(wait.recv().is_ok()));
    let few = |name: &'static str| {
        writer.call(FEW, Durable::Now, move |connection, _| {
            insert(connection, name)?;
            Ok(is_in_a_savepoint(connection))
        })
    };
    let many = |name: &'static str, fails: bool| {
        writer.call(FEW + 1, Durable::Now, move |connection, _| {
            insert(connection, name)?;
            let saved = is_in_a_savepoint(connection);
            if fails { Err(Fault::Unusable("it was to fail".to_owned())) } else { Ok(saved) }
        })
    };
    let opened = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(gate);
    };
    let (_, before, between, failed, many, after, last, ()) =
        tokio::join!(first, few("1"), few("2"), many("failed", true), many("many", false), few("3"), few("4"), opened);
    assert_eq!([before, between, after, last].map(Result::unwrap), [true; 4]);
    assert!(failed.unwrap_err().to_string().contains("it was to fail"));
    assert!(!many.unwrap());
    assert_eq!(names(&path), ["1", "2", "3", "4", "many"]);
}

#[tokio::test]
async fn nothing_is_written_to_a_file_that_is_no_longer_in_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue.db");
    for replaced in [false, true] {
        let writer = writer(&path);
        writer.call(1, Durable::Now, |connection, _| insert(connection, "seen")).await.unwrap();
        std::fs::rename(&path, directory.path().join("elsewhere")).unwrap();
        if replaced {
            open::writer(&path, Sharing::OneMachine).unwrap();
        }
        let refused =
            writer.call(1, Durable::Now, |connection, _| insert(connection, "unseen")).await.unwrap_err().to_string();
        assert!(refused.contains("queue.db: it was removed or replaced while it was in use"), "{refused}");
        drop(writer);
        for file in ["queue.db-wal", "queue.db-shm"] {
            let _ = std::fs::remove_file(directory.path().join(file));
        }
    }
}

#[tokio::test]
async fn much_that_failed_leaves_nothing_in_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue.db");
    let writer = writer(&path);
    writer.call(1, Durable::Now, |connection, _| insert(connection, "before")).await.unwrap();
    let log = || std::fs::metadata(directory.path().join("queue.db-wal")).unwrap().len();
    let much = writer.call(FEW + 1, Durable::Now, |connection, _| -> Result<(), Fault> {
        for _ in 0..1_000 {
            insert(connection, &"x".repeat(10_000))?;
        }
        connection.cache_flush()?;
        Err(Fault::Unusable("the disk is full, say".to_owned()))
    });
    assert!(much.await.is_err());
    assert_eq!(log(), 0);
    // Nobody waits for those who read, as an export does for minutes.
    let reader = open::reader(&path, Sharing::OneMachine).unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM workers").unwrap();
    let started = Instant::now();
    let much = writer.call(FEW + 1, Durable::Now, |connection, _| {
        insert(connection, "more")?;
        Err::<(), _>(Fault::Unusable("it was to fail".to_owned()))
    });
    assert!(much.await.is_err());
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    drop(reader);
    assert_eq!(names(&path), ["before"]);
}

#[tokio::test]
async fn a_file_that_stays_locked_is_an_error_that_passes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue.db");
    let writer = writer(&path);
    let other = open::writer(&path, Sharing::OneMachine).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refusal = writer.call(1, Durable::Now, |connection, _| insert(connection, "early")).await.unwrap_err();
    assert!(matches!(&refusal, QueueError::Busy(_)), "{refusal}");
    assert!(refusal.to_string().contains("queue.db: another process has kept the file locked"), "{refusal}");
    let (patience, asked) = (Duration::from_millis(200), Instant::now());
    let refusal = writer.call_unless_locked(patience, |connection, _| insert(connection, "hurried")).await.unwrap_err();
    assert!(matches!(refusal, QueueError::Busy(_)), "{refusal}");
    assert!(asked.elapsed() >= patience && asked.elapsed() < 10 * patience, "{:?}", asked.elapsed());
    other.execute_batch("ROLLBACK").unwrap();
    writer.call(1, Durable::Now, |connection, _| insert(connection, "late")).await.unwrap();
    assert_eq!(names(&path), ["late"]);
}

#[tokio::test]
async fn what_nobody_waits_for_is_not_begun() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue.db");
    let writer = writer(&path);
    let (gate, wait) = std::sync::mpsc::channel::<()>();
    let first = writer.call(1, Durable::Now, move |_, _| Ok(wait.recv().is_ok()));
    let given_up = async {
        let call = writer.call(1, Durable::Now, |connection, _| insert(connection, "given up"));
        let _ = tokio::time::timeout(Duration::from_millis(50), call).await;
        drop(gate);
    };
    let _ = tokio::join!(first, given_up);
    drop(writer);
    assert!(names(&path).is_empty());
}

fn synchronous(connection: &Connection, _: &mut Tally) -> Result<i64, Fault> {
    insert(connection, "x")?;
    Ok(connection.pragma_query_value(None, "synchronous", |row| row.get(0))?)
}

#[tokio::test]
async fn only_claims_beats_and_reports_are_answered_before_a_sync() {
    for (sharing, expected) in [(Sharing::OneMachine, 1), (Sharing::ManyMachines, 3)] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("queue.db");
        let connection = open::writer(&path, sharing).unwrap();
        let writer = Writer::start(connection, &path, sharing, Arc::new(Changes::new())).unwrap();
        let syncs = || writer.syncs.load(std::sync::atomic::Ordering::SeqCst);
        for (durable, synced) in [(Durable::Later, 0), (Durable::Soon, 0), (Durable::Now, 1), (Durable::Later, 1)] {
            // SQLite's own syncs are those of shared mode.
            assert_eq!(writer.call(1, durable, synchronous).await.unwrap(), expected, "{sharing:?}");
            assert_eq!(syncs(), if sharing == Sharing::OneMachine { synced } else { 0 });
        }
    }
}

#[tokio::test]
async fn after_a_failed_sync_the_log_is_brought_to_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue.db");
    let connection = open::writer(&path, Sharing::OneMachine).unwrap();
    let syncer = Syncer::start(&path).unwrap();
    let (failed, changes) = (syncer.fail(), Arc::new(Changes::new()));
    let thread = Thread { connection, changes, file: Opened::at(&path).unwrap(), syncer: Some(syncer) };
    insert(&thread.connection, "before").unwrap();
    assert!(std::fs::metadata(directory.path().join("queue.db-wal")).unwrap().len() > 0);
    thread.mend().unwrap();
    assert_eq!(std::fs::metadata(directory.path().join("queue.db-wal")).unwrap().len(), 0);
    assert!(!failed.load(std::sync::atomic::Ordering::SeqCst));
}
