//! A real listener, real result directories, and a queue that knows some records.

mod records;

use self::records::Records;
use super::*;
use crate::job::{Digest, Document, FileEntry, Progress, Record, State as JobState, Verdict};
use crate::results::Results;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use std::net::SocketAddr;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

const ID: &str = "bc3a0001-0203-0405-0607-08090a0b0c0d";
const HEX: &str = "bc3a000102030405060708090a0b0c0d";

fn id() -> JobId {
    ID.parse().unwrap()
}

struct Site {
    directory: TempDir,
    address: SocketAddr,
    queue: Arc<Records>,
    results: Arc<Results>,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<io::Result<()>>,
}

impl Site {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let results = Arc::new(Results::open(&directory.path().join("results")).unwrap());
        let queue = Arc::new(Records::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let reader = Reader::new(&directory.path().join("results"));
        let own = Some("http://own.example".parse().unwrap());
        let routes = router(Arc::clone(&queue) as Arc<dyn Queue>, reader, own);
        let served = tokio::spawn(serve(listener, routes, async {
            let _ = stopped.await;
        }));
        Self { directory, address, queue, results, stop, served }
    }

    /// A site with one job in this state, whose attempt 2 has left `files`.
    async fn with(state: JobState, files: &[(&str, &[u8])]) -> Self {
        let site = Self::start().await;
        site.publish(state, 2, files);
        site
    }

    fn publish(&self, state: JobState, attempt: u32, files: &[(&str, &[u8])]) {
        let staging = self.results.stage(id(), attempt);
        for (name, bytes) in files {
            if let Some((parent, _)) = name.rsplit_once('/') {
                staging.files().unwrap().create_dir_all(parent).unwrap();
            }
            staging.files().unwrap().write(name, bytes).unwrap();
        }
        let entry = |&(name, bytes): &(&str, &[u8])| FileEntry {
            name: name.to_owned(),
            size: bytes.len() as u64,
            sha256: Digest::of(bytes).hex(),
        };
        let files: Vec<FileEntry> = files.iter().map(entry).collect();
        let document = json!({
            "id": ID, "algorithm": "forecast", "attempt": attempt, "state": state,
            "timestamp": "2026-11-21T18:00:00Z", "verdict": {"kind": "done"}, "result": {"n": attempt}, "files": files,
        });
        // Sealing waits for the disk, as no thread of a runtime may.
        let seal = || staging.seal(document.to_string().as_bytes(), b"a log line\n", state == JobState::Done);
        drop(std::thread::scope(|scope| scope.spawn(seal).join()).unwrap().unwrap());
        self.record(state, state.is_final().then_some(attempt));
    }

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
            finished_at: None,
            published,
            progress: Some(Progress { fraction: 0.5, message: "half".to_owned() }),
            document: Document::new("forecast".parse().unwrap()),
            kicks: 0,
            public_url: None,
            number: None,
            delivery: None,
            history: None,
        };
        *self.queue.records.lock().unwrap() = vec![record];
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
async fn the_document_of_a_done_job_is_served_as_it_is_stored_under_both_spellings_of_its_id() {
    let site = Site::with(JobState::Done, &[]).await;
    let stored = std::fs::read_to_string(site.results.published(id(), 2).path().join("result.json")).unwrap();
    for path in [format!("/{ID}"), format!("/{HEX}"), format!("/{}", ID.to_uppercase())] {
        let response = site.send(&path).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(header(&response, "content-type"), "application/json");
        assert_eq!(header(&response, "content-length"), stored.len().to_string());
        assert_eq!(header(&response, "cache-control"), "public, no-cache");
        assert_eq!(header(&response, "x-content-type-options"), "nosniff");
        assert!(header(&response, "content-security-policy").starts_with("sandbox; default-src 'none'"));
        assert!(!header(&response, "last-modified").is_empty());
        assert_eq!(response.text().await.unwrap(), stored);
    }
}

#[tokio::test]
async fn a_job_that_is_not_done_is_answered_by_its_state() {
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
    site.record(JobState::Cancelled, None);
    let response = site.send(&format!("/{ID}")).await;
    assert_eq!(response.status(), 410);
    assert_eq!(body(response).await["verdict"]["message"], "by ops");
    site.record(JobState::Dead, None);
    let response = site.send(&format!("/{ID}")).await;
    assert_eq!((response.status().as_u16(), body(response).await["state"].clone()), (200, json!("dead")));
}

#[tokio::test]
async fn a_dead_job_shows_its_last_document_and_log_but_no_files() {
    let site = Site::with(JobState::Dead, &[("a.csv", b"1,2")]).await;
    assert_eq!(body(site.send(&format!("/{ID}")).await).await["state"], "dead");
    assert_eq!(site.send(&format!("/{ID}.log")).await.text().await.unwrap(), "a log line\n");
    assert_eq!(body(site.send(&format!("/{ID}/")).await).await["files"], json!([]));
    assert_eq!(site.send(&format!("/{ID}/a.csv")).await.status(), 404);
}

#[tokio::test]
async fn what_nobody_knows_is_a_404_in_json_with_a_timestamp() {
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
async fn a_file_has_its_type_and_cannot_script() {
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
async fn what_a_client_has_already_is_not_sent_again() {
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
async fn one_range_of_a_large_file_is_sent_alone() {
    let large: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
    let site = Site::with(JobState::Done, &[("large", &large)]).await;
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
async fn a_head_tells_everything_but_the_bytes() {
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
    let files = site.results.published(id(), 2).path().join("files");
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
async fn what_another_node_holds_is_answered_by_a_redirect_to_it() {
    let site = Site::start().await;
    let held_at = |url: Option<&str>| {
        site.record(JobState::Done, Some(1));
        site.queue.records.lock().unwrap()[0].public_url = url.map(|url| url.parse().unwrap());
    };
    held_at(Some("https://other.example/results"));
    let ask = async |method: &str, path: &str| {
        let origin = "origin: https://app.example\r\nconnection: close";
        site.raw(&format!("{method} {path} HTTP/1.1\r\nhost: x\r\n{origin}\r\n\r\n")).await
    };
    for (path, there) in [
        (format!("/{HEX}?page=2"), format!("{ID}?page=2")),
        (format!("/{ID}.log"), format!("{ID}.log")),
        (format!("/{ID}/"), format!("{ID}/")),
        (format!("/{ID}/sub/a%20b.csv?x=%2f"), format!("{ID}/sub/a%20b.csv?x=%2f")),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = ask(method, &path).await;
            assert!(answer.starts_with("HTTP/1.1 307"), "{path}: {answer}");
            let location = format!("location: https://other.example/results/{there}\r\n");
            for part in [location.as_str(), "cache-control: no-store\r\n", "access-control-allow-origin: *\r\n"] {
                assert!(answer.contains(part), "{part}: {answer}");
            }
        }
    }
    for nobody_knows in [None, Some("http://own.example")] {
        held_at(nobody_knows);
        let answer = ask("GET", &format!("/{ID}")).await;
        assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("is not at this node"), "{answer}");
    }
    site.publish(JobState::Done, 1, &[]);
    held_at(Some("https://other.example/results"));
    assert!(ask("GET", &format!("/{ID}")).await.starts_with("HTTP/1.1 200"), "what is here is served from here");
    assert!(ask("GET", &format!("/{ID}/gone.csv")).await.starts_with("HTTP/1.1 404"));
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
async fn a_broken_queue_is_a_503_that_keeps_its_details_to_the_log() {
    let site = Site::with(JobState::Done, &[]).await;
    assert_eq!(site.send("/readyz").await.status(), 200);
    *site.queue.is_broken.lock().unwrap() = true;
    assert_eq!(site.send("/healthz").await.status(), 200);
    for path in ["/readyz", &format!("/{ID}")] {
        let response = site.send(path).await;
        assert_eq!((response.status().as_u16(), header(&response, "retry-after")), (503, "5"));
        assert!(!response.text().await.unwrap().contains("secret"));
    }
}

#[tokio::test]
async fn what_the_queue_can_never_tell_is_a_404_in_its_own_words() {
    let site = Site::start().await;
    *site.queue.has_others.lock().unwrap() = true;
    for path in [format!("/{ID}"), format!("/{ID}.log"), format!("/{ID}/")] {
        let response = site.send(&path).await;
        assert_eq!((response.status().as_u16(), header(&response, "retry-after")), (404, ""), "{path}");
        let problem = body(response).await;
        let error = format!("the queue cannot tell what became of job {ID}; ask elsewhere");
        assert_eq!((&problem["error"], &problem["id"]), (&json!(error), &json!(ID)));
    }
}

#[tokio::test]
async fn a_shutdown_lets_an_answer_end_and_takes_no_more() {
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
