//! What readers ask of the HTTP side, over real connections on the loopback.

use crate::guest::RUNTIME;
use crate::{Target, lossy, texts};
use longboat::job::{Decision, Document, FileEntry, JobId, State, Tube, Usage, Verdict};
use longboat::queue::sqlite::SqliteQueue;
use longboat::queue::{Jobs, Outcome, Settlement, Submission, Work, WorkerId};
use longboat::results::{Reader, Results};
use longboat::server;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Lies beside everything that may be served.
const SECRET: &str = "not-to-be-served-3141592";
/// Every case closes its side, so none waits for a timeout of the server's.
const LATE: Duration = Duration::from_secs(20);

/// Requests.
pub const TARGET: Target = Target {
    name: "request",
    check,
    cases: 4_000,
    largest: 2_000,
    samples: || {
        texts([
            "GET /bc3a9250-99b9-012e-0f06-549a20077664 HTTP/1.1\r\nhost: x\r\naccept: text/html\r\n\r\n",
            "GET /bc3a925099b9012e0f06549a20077664/a%20b.csv HTTP/1.1\r\nhost: x\r\nrange: bytes=2-5\r\n\r\n",
            "GET /bc3a925099b9012e0f06549a20077664/ HTTP/1.1\r\nhost: x\r\naccept: text/html;q=0.9,*/*;q=0.8\r\n\r\n",
            "HEAD /bc3a925099b9012e0f06549a20077664.log HTTP/1.1\r\nhost: x\r\nif-none-match: *\r\n\r\n",
            "GET /bc3a925099b9012e0f06549a20077664/../../secret HTTP/1.1\r\nhost: x\r\n\r\n",
            "GET /bc3a925099b9012e0f06549a20077664/%2e%2e%2fresult.json HTTP/1.1\r\nhost: x\r\n\r\n",
            "OPTIONS /readyz HTTP/1.1\r\nhost: x\r\norigin: http://a\r\naccess-control-request-method: GET\r\n\r\n",
            "GET /healthz HTTP/1.0\r\n\r\nGET /readyz HTTP/1.1\r\nhost: x\r\n\r\n",
            "POST /bc3a925099b9012e0f06549a20077664 HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n{}\n",
        ])
    },
    words: &[
        "..",
        "%2f",
        "%2e%2e",
        "%00",
        "%",
        "//",
        "\\",
        "?",
        "#",
        "*",
        "\r\n",
        "\r\n\r\n",
        "HTTP/1.1",
        "HTTP/2.0",
        "HTTP/0.9",
        "GET ",
        "PUT ",
        "TRACE ",
        "CONNECT ",
        "range: bytes=",
        "-",
        "bytes=0-18446744073709551615",
        "bytes=-0",
        ",",
        "if-match: ",
        "if-modified-since: ",
        "Fri, 31 Dec 1999 23:59:59 GMT",
        "W/\"x\"",
        "if-range: \"x\"\r\n",
        "transfer-encoding: chunked\r\n",
        "content-length: ",
        "expect: 100-continue\r\n",
        "connection: upgrade\r\n",
        "host: \r\n",
        "accept: text/html;q=9e99\r\n",
        "\0",
        "é",
        ":",
        "http://other/",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    reached: &["200", "206", "304", "400", "404", "405", "no answer"],
};

struct Site {
    address: SocketAddr,
    _directory: TempDir,
}

static SITE: LazyLock<Site> = LazyLock::new(|| RUNTIME.block_on(site()).expect("a site can be set up"));

async fn site() -> anyhow::Result<Site> {
    let directory = tempfile::tempdir()?;
    let queue = SqliteQueue::open(&directory.path().join("queue.db"))?;
    publish(&queue, directory.path()).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = server::router(Arc::new(queue), Reader::new(&directory.path().join("results")), None);
    tokio::spawn(server::serve(listener, router, std::future::pending()));
    Ok(Site { address, _directory: directory })
}

/// One job that is done and has left files, and something beside them.
async fn publish(queue: &SqliteQueue, directory: &Path) -> anyhow::Result<()> {
    let id: JobId = "bc3a925099b9012e0f06549a20077664".parse()?;
    let document = Document::new("forecast".parse()?);
    let worker =
        WorkerId { start: JobId::new(), name: "hostile".to_owned(), lease: Duration::from_secs(15), public_url: None };
    queue.register(&worker).await?;
    queue.submit(vec![Submission { id, document }]).await?;
    let claimed = queue.claim(&worker, &[Tube::default()], 1).await?.pop();
    let lease = claimed.ok_or_else(|| anyhow::anyhow!("the job is not there"))?.lease;
    let staging = Results::open(&directory.join("results"))?.stage(id, lease.attempt)?;
    staging.files()?.write("a b.csv", "1,2,3,4,5\n")?;
    let shown = serde_json::json!({
        "id": id, "algorithm": "forecast", "attempt": lease.attempt, "state": State::Done, "timestamp": "2026-11-21T18:00:00Z",
        "verdict": {"kind": "done"}, "result": null, "files": [{"name": "a b.csv", "size": 10, "sha256": "0"}],
    });
    drop(staging.keep(&[FileEntry { name: "a b.csv".to_owned(), size: 10, sha256: "0".to_owned() }])?);
    let (document, log) = (shown.to_string().into_bytes().into(), b"a log line\n".as_slice().into());
    let outcome = Outcome { document, log, files: true };
    let (verdict, usage) = (Verdict::Done, Usage::default());
    queue.settle(&worker, &lease, Settlement { verdict, decision: Decision::Finish, usage, outcome }).await?;
    for place in ["secret", "results/secret", "results/bc/secret", "results/bc/bc3a925099b9012e0f06549a20077664/secret"]
    {
        std::fs::write(directory.join(place), SECRET)?;
    }
    Ok(())
}

/// Every answer is HTTP, blames the reader and not the server, and holds nothing but what may be served.
pub fn check(bytes: &[u8]) -> &'static str {
    let address = SITE.address;
    let answer = RUNTIME.block_on(async { tokio::time::timeout(LATE, ask(address, bytes)).await });
    let answer = answer.expect("a connection that was closed is closed");
    let text = lossy(&answer);
    assert!(!text.contains(SECRET), "{text}");
    let Some(rest) = text.strip_prefix("HTTP/1.") else {
        assert!(text.is_empty(), "an answer is HTTP: {text}");
        return "no answer";
    };
    let known = ["200", "202", "206", "304", "400", "404", "405", "408", "412", "413", "414", "416", "417", "431"];
    let status = rest.get(2..5).unwrap_or_default();
    known.into_iter().find(|known| *known == status).unwrap_or_else(|| panic!("an unexpected status: {text}"))
}

/// All that the server says before it closes the connection, which it may do at any time.
async fn ask(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("the server listens");
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    answer
}
