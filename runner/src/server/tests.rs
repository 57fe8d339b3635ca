//! A real listener, real result directories, and a queue that knows one job.

use super::*;
use crate::job::{AttemptRecord, Digest, Document, FileEntry, Progress, Record, State as JobState, Verdict};
use crate::queue::{Acted, Action, Cursor, Filter, LogPiece, QueueError, Retention, Status, Submission};
use crate::results::Results;
use async_trait::async_trait;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

const ID: &str = "bc3a0001-0203-0405-0607-08090a0b0c0d";
const HEX: &str = "bc3a000102030405060708090a0b0c0d";
/// In milliseconds since 1970.
const SETTLED_AT: i64 = 1_795_284_000_000;

fn id() -> JobId {
    ID.parse().unwrap()
}

/// A queue with one job, or none; a server asks it for nothing else.
#[derive(Default)]
struct OneJob {
    record: Mutex<Option<Record>>,
    published: Mutex<Option<Published>>,
    /// The log of any attempt, which is handed out in pieces of 5 bytes.
    log: Mutex<Option<Vec<u8>>>,
    is_broken: AtomicBool,
    finds: AtomicUsize,
}

impl OneJob {
    fn answer<T>(&self, value: T) -> Result<T, QueueError> {
        let is_broken = self.is_broken.load(Ordering::Relaxed);
        if is_broken { Err(QueueError::Backend("secret detail".to_owned())) } else { Ok(value) }
    }
}

fn unasked<T>() -> Result<T, QueueError> {
    Err(QueueError::Backend("a server does not ask this".to_owned()))
}

#[async_trait]
impl Jobs for OneJob {
    async fn find(&self, id: JobId) -> Result<Option<Record>, QueueError> {
        self.finds.fetch_add(1, Ordering::Relaxed);
        self.answer(self.record.lock().unwrap().clone().filter(|record| record.id == id))
    }
    async fn result(&self, wanted: JobId, attempt: Option<u32>) -> Result<Option<Published>, QueueError> {
        assert_eq!(attempt, None, "the attempt that counts is served");
        self.answer(self.published.lock().unwrap().clone().filter(|_| wanted == id()))
    }
    async fn log(&self, _: JobId, _: u32, from: u64) -> Result<Option<LogPiece>, QueueError> {
        let log = self.log.lock().unwrap().clone();
        let piece = log.map(|log| {
            let rest = &log[usize::try_from(from).unwrap()..];
            LogPiece { bytes: rest.iter().copied().take(5).collect(), is_last: rest.len() <= 5 }
        });
        self.answer(piece)
    }
    async fn submit(&self, _: Vec<Submission>) -> Result<(), QueueError> {
        unasked()
    }
    async fn list(&self, _: &Filter, _: Option<Cursor>, _: usize) -> Result<(Vec<Record>, Option<Cursor>), QueueError> {
        unasked()
    }
    async fn status(&self) -> Result<Status, QueueError> {
        unasked()
    }
    async fn act(&self, _: &[JobId], _: &Action) -> Result<Vec<Acted>, QueueError> {
        unasked()
    }
    async fn pause(&self, _: &crate::job::Tube, _: Option<Timestamp>) -> Result<(), QueueError> {
        unasked()
    }
    async fn resume(&self, _: &crate::job::Tube) -> Result<bool, QueueError> {
        unasked()
    }
    async fn forget(&self, _: &Retention, _: usize) -> Result<usize, QueueError> {
        unasked()
    }
    async fn forgotten(&self, _: Option<Cursor>, _: usize) -> Result<(Vec<JobId>, Option<Cursor>), QueueError> {
        unasked()
    }
}

struct Site {
    directory: TempDir,
    address: SocketAddr,
    queue: Arc<OneJob>,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<io::Result<()>>,
}

impl Site {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let queue = Arc::new(OneJob::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let own = Some("http://own.example".parse().unwrap());
        let routes = router(queue.clone(), Reader::new(&directory.path().join("results")), own);
        let served = tokio::spawn(serve(listener, routes, async {
            let _ = stopped.await;
        }));
        Self { directory, address, queue, stop, served }
    }

    /// A site with one job in this state, whose attempt 2 has left `files`.
    async fn with(state: JobState, files: &[(&str, &[u8])]) -> Self {
        let site = Self::start().await;
        site.publish(state, 2, files);
        site
    }

    fn reader(&self) -> Reader {
        Reader::new(&self.directory.path().join("results"))
    }

    /// Files are kept only if the job is done, as a worker does it.
    fn publish(&self, state: JobState, attempt: u32, files: &[(&str, &[u8])]) {
        let has_files = state == JobState::Done && !files.is_empty();
        if has_files {
            let results = Results::open(&self.directory.path().join("results")).unwrap();
            let staging = results.stage(id(), attempt).unwrap();
            for (name, bytes) in files {
                if let Some((parent, _)) = name.rsplit_once('/') {
                    staging.files().unwrap().create_dir_all(parent).unwrap();
                }
                staging.files().unwrap().write(name, bytes).unwrap();
            }
            drop(staging.keep(&entries(files)).unwrap());
        }
        self.record(state, Some(attempt));
        *self.queue.published.lock().unwrap() = Some(Published {
            attempt,
            document: document(state, attempt, files).into_bytes(),
            settled_at: SETTLED_AT,
            files: has_files,
            public_url: None,
        });
        *self.queue.log.lock().unwrap() = Some(b"a log line\n".to_vec());
    }

    /// Leaves what the version before left for a job that is done: everything in files, and no row but the
    /// record.
    fn publish_old(&self, files: &[(&str, &[u8])]) {
        let directory = self.reader().directory(id()).join("attempts/2");
        std::fs::create_dir_all(directory.join("files")).unwrap();
        std::fs::write(directory.join("result.json"), document(JobState::Done, 2, files)).unwrap();
        std::fs::write(directory.join("log.txt"), "an old log line\n").unwrap();
        for (name, bytes) in files {
            std::fs::write(directory.join("files").join(name), bytes).unwrap();
        }
    }

    /// A job in this state without a result.
    fn record(&self, state: JobState, published: Option<u32>) {
        let now = Timestamp::now();
        let record = Record {
            id: id(),
            state,
            attempts: 2,
            verdict: (state == JobState::Cancelled).then(|| Verdict::Cancelled { message: "by ops".to_owned() }),
            submitted_at: now,
            ready_at: now,
            started_at: None,
            finished_at: state.is_final().then_some(now),
            published,
            progress: Some(Progress { fraction: 0.5, message: "half".to_owned() }),
            document: Document::new("forecast".parse().unwrap()),
            kicks: 0,
            public_url: None,
            module: None,
            delivery: None,
            history: Some(vec![AttemptRecord {
                attempt: 2,
                worker: "w".to_owned(),
                started_at: now,
                finished_at: None,
                verdict: None,
                usage: None,
            }]),
        };
        *self.queue.record.lock().unwrap() = Some(record);
        *self.queue.published.lock().unwrap() = None;
    }

    /// Has the queue say that the results are at this URL.
    fn held_at(&self, url: Option<&str>) {
        let mut published = self.queue.published.lock().unwrap();
        published.as_mut().unwrap().public_url = url.map(|url| url.parse().unwrap());
    }

    fn stored(&self) -> String {
        let published = self.queue.published.lock().unwrap();
        String::from_utf8(published.as_ref().unwrap().document.clone()).unwrap()
    }

    fn get(&self, path: &str) -> RequestBuilder {
        let client = Client::builder().no_proxy().tls_backend_preconfigured(tls()).build().unwrap();
        client.get(format!("http://{}{path}", self.address))
    }

    async fn send(&self, path: &str) -> Response {
        self.get(path).send().await.unwrap()
    }

    /// A request as it stands, which no client has tidied up; what comes back until the server closes.
    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

fn entries(files: &[(&str, &[u8])]) -> Vec<FileEntry> {
    let entry = |&(name, bytes): &(&str, &[u8])| FileEntry {
        name: name.to_owned(),
        size: bytes.len() as u64,
        sha256: Digest::of(bytes).hex(),
    };
    files.iter().map(entry).collect()
}

fn document(state: JobState, attempt: u32, files: &[(&str, &[u8])]) -> String {
    let document = json!({
        "id": ID, "algorithm": "forecast", "attempt": attempt, "state": state, "timestamp": "2026-11-21T18:00:00Z",
        "verdict": {"kind": "done"}, "result": {"n": attempt}, "files": entries(files),
    });
    document.to_string()
}

fn tls() -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

async fn body(response: Response) -> Value {
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

#[tokio::test]
async fn document_is_served_as_stored_under_both_spellings_of_its_id() {
    let site = Site::with(JobState::Done, &[]).await;
    let stored = site.stored();
    for path in [format!("/{ID}"), format!("/{HEX}"), format!("/{}", ID.to_uppercase())] {
        let response = site.send(&path).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(header(&response, "content-type"), "application/json");
        assert_eq!(header(&response, "content-length"), stored.len().to_string());
        assert_eq!(header(&response, "cache-control"), "public, no-cache");
        assert_eq!(header(&response, "x-content-type-options"), "nosniff");
        assert!(header(&response, "content-security-policy").starts_with("sandbox; default-src 'none'"));
        assert_eq!(header(&response, "last-modified"), "Sat, 21 Nov 2026 18:00:00 GMT");
        assert_eq!(response.text().await.unwrap(), stored);
    }
    assert_eq!(site.queue.finds.load(Ordering::Relaxed), 0, "the job itself is not read");
}

#[tokio::test]
async fn job_that_has_not_ended_is_answered_by_its_state() {
    let site = Site::start().await;
    for state in [JobState::Held, JobState::Delayed, JobState::Ready, JobState::Running] {
        site.record(state, Some(1));
        for path in [format!("/{ID}"), format!("/{ID}/"), format!("/{ID}/a.csv"), format!("/{ID}.log")] {
            let response = site.send(&path).await;
            assert_eq!(response.status(), 202, "{path}");
            assert_eq!((header(&response, "retry-after"), header(&response, "cache-control")), ("1", "no-store"));
            let document = body(response).await;
            assert_eq!((&document["state"], &document["attempts"]), (&json!(state), &json!(2)));
            assert_eq!(document["progress"]["message"], "half");
            assert!(document["timestamp"].as_str().unwrap().parse::<Timestamp>().is_ok());
        }
    }
}

#[tokio::test]
async fn job_that_ended_without_a_result_has_a_document() {
    let site = Site::start().await;
    for (state, status) in [(JobState::Cancelled, 410), (JobState::Dead, 200)] {
        site.record(state, None);
        for path in [format!("/{ID}"), format!("/{ID}/"), format!("/{ID}.log")] {
            let response = site.send(&path).await;
            assert_eq!(response.status(), status, "{path}");
            assert_eq!(header(&response, "cache-control"), "no-store");
            let document = body(response).await;
            assert_eq!((&document["state"], &document["attempt"]), (&json!(state), &json!(2)));
            assert!(document["timestamp"].as_str().unwrap().parse::<Timestamp>().is_ok());
            assert_eq!(document["files"], json!([]));
        }
    }
    site.record(JobState::Cancelled, None);
    assert_eq!(body(site.send(&format!("/{ID}")).await).await["verdict"]["message"], "by ops");
    *site.queue.log.lock().unwrap() = Some(b"what it said before".to_vec());
    assert_eq!(site.send(&format!("/{ID}.log")).await.text().await.unwrap(), "what it said before");
}

#[tokio::test]
async fn dead_job_has_document_and_log_but_no_files() {
    let site = Site::with(JobState::Dead, &[("a.csv", b"1,2")]).await;
    assert_eq!(body(site.send(&format!("/{ID}")).await).await["state"], "dead");
    assert_eq!(site.send(&format!("/{ID}.log")).await.text().await.unwrap(), "a log line\n");
    assert_eq!(body(site.send(&format!("/{ID}/")).await).await["files"], json!([]));
    assert_eq!(site.send(&format!("/{ID}/a.csv")).await.status(), 404);
}

#[tokio::test]
async fn unknown_path_is_a_404_in_json_with_a_timestamp() {
    let site = Site::with(JobState::Done, &[]).await;
    let unknown = "/00000000-0000-0000-0000-000000000001";
    let paths = [unknown, "/favicon.ico", "/not-an-id", "/", "/a/b/c", "/%ff", &format!("/{ID}/no"), "/x.log"];
    for path in paths {
        let response = site.send(path).await;
        assert_eq!(response.status(), 404, "{path}");
        assert_eq!(
            (header(&response, "content-type"), header(&response, "cache-control")),
            ("application/json", "no-store")
        );
        let problem = body(response).await;
        assert!(problem["error"].is_string() && problem["timestamp"].is_string(), "{path}: {problem}");
    }
    let problem = body(site.send(unknown).await).await;
    assert_eq!(problem["id"], "00000000-0000-0000-0000-000000000001");
}

#[tokio::test]
async fn files_are_listed_for_programs_and_for_people() {
    let site = Site::with(JobState::Done, &[("a.csv", b"1,2"), ("sub/<b>&.txt", b"x")]).await;
    let response = site.send(&format!("/{ID}/")).await;
    assert_eq!(header(&response, "content-type"), "application/json");
    assert!(response.headers().get_all("vary").iter().any(|vary| vary == "accept"));
    let listing = body(response).await;
    let sha256 = crate::job::Digest::of("1,2").hex();
    let expected = json!({"name": "a.csv", "size": 3, "sha256": sha256, "url": format!("/{ID}/a.csv")});
    assert_eq!(listing["files"][0], expected);
    assert_eq!(listing["timestamp"], "2026-11-21T18:00:00Z");
    for path in [&listing["files"][1]["url"], &listing["log"], &listing["document"]] {
        assert_eq!(site.send(path.as_str().unwrap()).await.status(), 200, "{path}");
    }
    let page = site.get(&format!("/{ID}/")).header("accept", "text/html,*/*;q=0.8").send().await.unwrap();
    assert_eq!(header(&page, "content-type"), "text/html; charset=utf-8");
    let page = page.text().await.unwrap();
    assert!(page.contains("&lt;b&gt;&amp;.txt") && !page.contains("<b>"), "{page}");
}

#[tokio::test]
async fn file_has_its_media_type_and_cannot_script() {
    let files: [(&str, &[u8]); 3] =
        [("a.csv", b"1,2"), ("evil.svg", b"<svg onload=alert(1)>"), ("evil.html", b"<script>")];
    let site = Site::with(JobState::Done, &files).await;
    for (name, media) in
        [("a.csv", "text/csv; charset=utf-8"), ("evil.svg", "image/svg+xml"), ("evil.html", "text/html; charset=utf-8")]
    {
        let response = site.send(&format!("/{ID}/{name}")).await;
        assert_eq!(header(&response, "content-type"), media);
        assert!(header(&response, "content-security-policy").starts_with("sandbox; default-src 'none'"));
        assert_eq!(header(&response, "x-content-type-options"), "nosniff");
    }
}

#[tokio::test]
async fn known_bytes_are_not_sent_again() {
    let site = Site::with(JobState::Done, &[("a.csv", b"1,2")]).await;
    for path in [format!("/{ID}"), format!("/{ID}/"), format!("/{ID}/a.csv"), format!("/{ID}.log")] {
        let first = site.send(&path).await;
        let (etag, modified) = (header(&first, "etag").to_owned(), header(&first, "last-modified").to_owned());
        assert!(etag.starts_with('"'), "strong: {etag}");
        for (name, value) in [("if-none-match", &etag), ("if-modified-since", &modified)] {
            let again = site.get(&path).header(name, value).send().await.unwrap();
            assert_eq!((again.status().as_u16(), header(&again, "etag")), (304, etag.as_str()), "{path} {name}");
            assert_eq!(again.text().await.unwrap(), "");
        }
        let other = site.get(&path).header("if-none-match", "\"other\"").header("if-modified-since", &modified);
        assert_eq!(other.send().await.unwrap().status(), 200, "the tag decides where there is one");
        assert_eq!(site.get(&path).header("if-match", "\"other\"").send().await.unwrap().status(), 412);
    }
    let etag = header(&site.send(&format!("/{ID}")).await, "etag").to_owned();
    site.publish(JobState::Done, 3, &[]);
    let kicked = site.get(&format!("/{ID}")).header("if-none-match", etag).send().await.unwrap();
    assert_eq!((kicked.status().as_u16(), body(kicked).await["attempt"].clone()), (200, json!(3)));
}

#[tokio::test]
async fn one_range_is_sent_alone() {
    let large: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
    let site = Site::with(JobState::Done, &[("large", &large), ("small", b"0123456789")]).await;
    let document = site.get(&format!("/{ID}")).header("range", "bytes=1-4").send().await.unwrap();
    assert_eq!((document.status().as_u16(), document.text().await.unwrap().as_str()), (206, &site.stored()[1..5]));
    let small = site.get(&format!("/{ID}/small")).header("range", "bytes=-3").send().await.unwrap();
    assert_eq!((small.status().as_u16(), small.text().await.unwrap().as_str()), (206, "789"));
    let path = format!("/{ID}/large");
    let whole = site.send(&path).await;
    let etag = header(&whole, "etag").to_owned();
    assert_eq!(header(&whole, "accept-ranges"), "bytes");
    assert_eq!(whole.bytes().await.unwrap(), large);
    let ranged = async |range: &str, known: &str| {
        site.get(&path).header("range", range).header("if-range", known).send().await.unwrap()
    };
    let part = ranged("bytes=500000-699999", &etag).await;
    assert_eq!((part.status().as_u16(), header(&part, "content-range")), (206, "bytes 500000-699999/1000000"));
    assert_eq!(header(&part, "content-length"), "200000");
    assert_eq!(part.bytes().await.unwrap(), large[500_000..700_000]);
    assert_eq!(ranged("bytes=-10", &etag).await.bytes().await.unwrap(), large[999_990..]);
    assert_eq!(ranged("bytes=0-9", "\"other\"").await.status(), 200);
    assert_eq!(ranged("bytes=0-1,5-6", &etag).await.status(), 200);
    let beyond = ranged("bytes=1000000-", &etag).await;
    assert_eq!((beyond.status().as_u16(), header(&beyond, "content-range")), (416, "bytes */1000000"));
}

#[tokio::test]
async fn head_tells_everything_but_the_bytes() {
    let site = Site::with(JobState::Done, &[("a.csv", b"1,2")]).await;
    let answer = site.raw(&format!("HEAD /{ID}/a.csv HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("content-length: 3\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    let answer = site.raw(&format!("DELETE /{ID} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 405") && answer.contains("allow: GET,HEAD"), "{answer}");
}

#[tokio::test]
async fn no_path_leads_out_of_the_result_directory() {
    let site = Site::with(JobState::Done, &[("a.csv", b"1,2")]).await;
    std::fs::write(site.directory.path().join("secret"), "top secret").unwrap();
    let files: PathBuf = site.reader().files(id(), 2).path().to_owned();
    std::os::unix::fs::symlink(site.directory.path().join("secret"), files.join("link")).unwrap();
    let absolute = site.directory.path().join("secret").display().to_string();
    for name in [
        "link",
        "../result.json",
        "..%2fresult.json",
        "%2e%2e/result.json",
        "..%2f..%2f..%2f..%2f..%2fsecret",
        "....//secret",
        "a.csv/..%2f..%2flog.txt",
        "%2fetc%2fpasswd",
        "/etc/passwd",
        "a%00.csv",
        "..%5cresult.json",
        &absolute,
        &absolute.replace('/', "%2f"),
    ] {
        let request = format!("GET /{ID}/{name} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = site.raw(&request).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{name}: {answer}");
        assert!(!answer.contains("top secret") && !answer.contains("root:"), "{name}: {answer}");
    }
}

#[tokio::test]
async fn file_of_another_node_is_redirected_to_it() {
    let site = Site::with(JobState::Done, &[("sub/a b.csv", b"1,2")]).await;
    std::fs::remove_dir_all(site.directory.path().join("results")).unwrap();
    site.held_at(Some("https://other.example/results"));
    redirects(&site, &[(format!("/{HEX}/sub/a%20b.csv?x=%2f"), format!("{ID}/sub/a%20b.csv?x=%2f"))]).await;
    for path in [format!("/{ID}"), format!("/{ID}.log"), format!("/{ID}/")] {
        assert_eq!(site.send(&path).await.status(), 200, "{path}: every node has it");
    }
    for nobody_knows in [None, Some("http://own.example")] {
        site.held_at(nobody_knows);
        let response = site.send(&format!("/{ID}/sub/a%20b.csv")).await;
        assert_eq!(response.status(), 404);
        assert!(response.text().await.unwrap().contains("not at this node"));
    }
    site.publish(JobState::Done, 2, &[("a.csv", b"1,2")]);
    site.held_at(Some("https://other.example/results"));
    assert_eq!(site.send(&format!("/{ID}/a.csv")).await.status(), 200, "what is here is served from here");
    assert_eq!(site.send(&format!("/{ID}/gone.csv")).await.status(), 404);
}

#[tokio::test]
async fn result_of_the_version_before_is_served() {
    let site = Site::with(JobState::Done, &[]).await;
    site.queue.published.lock().unwrap().as_mut().unwrap().document.clear();
    *site.queue.log.lock().unwrap() = None;
    site.held_at(Some("https://other.example/results"));
    redirects(
        &site,
        &[
            (format!("/{HEX}?page=2"), format!("{ID}?page=2")),
            (format!("/{ID}.log"), format!("{ID}.log")),
            (format!("/{ID}/"), format!("{ID}/")),
            (format!("/{ID}/sub/a%20b.csv?x=%2f"), format!("{ID}/sub/a%20b.csv?x=%2f")),
        ],
    )
    .await;
    let files: [(&str, &[u8]); 1] = [("a.csv", b"1,2")];
    site.publish_old(&files);
    let response = site.send(&format!("/{ID}")).await;
    assert_eq!(header(&response, "last-modified"), "Sat, 21 Nov 2026 18:00:00 GMT");
    assert_eq!(response.text().await.unwrap(), document(JobState::Done, 2, &files));
    assert_eq!(site.send(&format!("/{ID}.log")).await.text().await.unwrap(), "an old log line\n");
    assert_eq!(body(site.send(&format!("/{ID}/")).await).await["files"][0]["name"], "a.csv");
    assert_eq!(site.send(&format!("/{ID}/a.csv")).await.text().await.unwrap(), "1,2");
}

/// Tries that each path is redirected to a place at the other node, for programs and for browsers.
async fn redirects(site: &Site, places: &[(String, String)]) {
    for (path, there) in places {
        for method in ["GET", "HEAD"] {
            let origin = "origin: https://app.example\r\nconnection: close";
            let answer = site.raw(&format!("{method} {path} HTTP/1.1\r\nhost: x\r\n{origin}\r\n\r\n")).await;
            assert!(answer.starts_with("HTTP/1.1 307"), "{path}: {answer}");
            let location = format!("location: https://other.example/results/{there}\r\n");
            for part in [location.as_str(), "cache-control: no-store\r\n", "access-control-allow-origin: *\r\n"] {
                assert!(answer.contains(part), "{part}: {answer}");
            }
        }
    }
}

#[tokio::test]
async fn large_document_waits_for_memory() {
    let site = Site::start().await;
    site.publish(JobState::Done, 1, &[]);
    site.queue.published.lock().unwrap().as_mut().unwrap().document = vec![b' '; 3 * SMALL];
    let shared = Shared {
        jobs: site.queue.clone(),
        results: Arc::new(site.reader()),
        public_url: None,
        memory: Arc::new(Semaphore::new(5)),
    };
    let request = Request::new(axum::body::Body::empty());
    let (first, _) = shared.document(id(), Part::Document, Asked::of(&request)).await.unwrap();
    let mut second = std::pin::pin!(shared.document(id(), Part::Document, Asked::of(&request)));
    assert!(tokio::time::timeout(Duration::from_millis(50), second.as_mut()).await.is_err(), "two are too many");
    drop(first);
    assert_eq!(second.await.unwrap().0.len(), 3 * SMALL);
    assert_eq!(shared.memory.available_permits(), 5);
}

#[tokio::test]
async fn browsers_of_any_origin_may_read() {
    let site = Site::with(JobState::Done, &[]).await;
    let response = site.get(&format!("/{ID}")).header("origin", "https://app.example").send().await.unwrap();
    assert_eq!(header(&response, "access-control-allow-origin"), "*");
    assert!(header(&response, "access-control-expose-headers").contains("etag"));
    let request = format!(
        "OPTIONS /{ID} HTTP/1.1\r\nhost: x\r\norigin: https://app.example\r\naccess-control-request-method: GET\r\n\
         access-control-request-headers: range\r\nconnection: close\r\n\r\n"
    );
    let preflight = site.raw(&request).await;
    assert!(preflight.starts_with("HTTP/1.1 200") && preflight.contains("access-control-allow-methods: GET,HEAD"));
}

#[tokio::test]
async fn broken_queue_is_a_503_without_details() {
    let site = Site::with(JobState::Done, &[]).await;
    assert_eq!(site.send("/readyz").await.status(), 200);
    site.queue.is_broken.store(true, Ordering::Relaxed);
    assert_eq!(site.send("/healthz").await.status(), 200);
    for path in ["/readyz", &format!("/{ID}")] {
        let response = site.send(path).await;
        assert_eq!((response.status().as_u16(), header(&response, "retry-after")), (503, "5"));
        assert!(!response.text().await.unwrap().contains("secret"));
    }
}

#[tokio::test]
async fn shutdown_lets_an_answer_end_and_takes_no_more() {
    let large = vec![b'x'; 20_000_000];
    let site = Site::with(JobState::Done, &[("large", &large)]).await;
    let idle = TcpStream::connect(site.address).await.unwrap();
    let mut response = site.send(&format!("/{ID}/large")).await;
    let mut received = response.chunk().await.unwrap().unwrap().len();
    site.stop.send(()).unwrap();
    while let Some(chunk) = response.chunk().await.unwrap() {
        received += chunk.len();
    }
    assert_eq!(received, large.len());
    tokio::time::timeout(Duration::from_secs(5), site.served).await.unwrap().unwrap().unwrap();
    assert!(TcpStream::connect(site.address).await.is_err());
    drop(idle);
}

#[tokio::test]
async fn nonsense_and_floods_are_refused() {
    let site = Site::with(JobState::Done, &[]).await;
    assert!(site.raw("\x16\x03\x01 nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(100_000));
    assert!(site.raw(&long).await.starts_with("HTTP/1.1 4"));
    let answer = site.raw(&format!("POST /{ID} HTTP/1.1\r\nhost: x\r\ncontent-length: 9999999\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
}
