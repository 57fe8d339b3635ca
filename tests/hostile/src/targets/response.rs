//! What servers answer when an input is fetched or a result is sent, over real connections on the loopback.

use crate::guest::RUNTIME;
use crate::{Target, texts};
use flate2::Compression;
use flate2::write::GzEncoder;
use longboat::fetch::{Allowance, FetchError, Fetcher, Parcel, SendError, Sender};
use longboat::job::JobId;
use longboat::policy::{Purpose, Rules, UrlPolicy};
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

const AT_MOST: u64 = 64 << 10;
/// Every case closes its connection, so none waits for a timeout of the fetcher's.
const LATE: Duration = Duration::from_secs(20);

/// Answers.
pub const TARGET: Target = Target {
    name: "response",
    check,
    cases: 1_500,
    largest: 3_000,
    samples,
    words: &[
        "HTTP/1.1 ",
        "HTTP/1.0 200 OK\r\n",
        "200",
        "301",
        "204",
        "304",
        "100 Continue\r\n\r\n",
        "503",
        "\r\n",
        "\r\n\r\n",
        "\n",
        "content-length: ",
        "content-length: 5\r\n",
        "content-length: 18446744073709551615\r\n",
        "transfer-encoding: chunked\r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "content-encoding: gzip\r\n",
        "content-encoding: br\r\n",
        "content-encoding: gzip, gzip\r\n",
        "content-type: text/csv\r\n",
        "retry-after: 99999999999999999999\r\n",
        "retry-after: Fri, 31 Dec 1999 23:59:59 GMT\r\n",
        "location: /next\r\n",
        "location: ?\r\n",
        "connection: upgrade\r\n",
        "0\r\n\r\n",
        "5\r\nhello\r\n",
        "ffffffffffffffff\r\n",
        "x-y: z\r\n",
        ":",
        "\0",
        "é",
        "\x1f\u{8b}",
    ],
    reached: &["a body", "too large", "transient", "permanent", "a receipt"],
};

fn samples() -> Vec<Vec<u8>> {
    let large = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}", "x".repeat(70_000));
    let mut samples = texts([
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\ntrailer: x\r\n\r\n",
        "HTTP/1.1 302 Found\r\nlocation: /next\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\n\r\nnot found",
        "HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: /next\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\n\r\nuntil the end",
        &large,
    ]);
    // As much as it can be, and a stream that grows a thousandfold.
    samples.extend([b"hello".as_slice(), &[0; 1 << 20]].map(|body| {
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(body).expect("memory takes it");
        let packed = packed.finish().expect("memory takes it");
        let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", packed.len());
        [head.as_bytes(), &packed].concat()
    }));
    samples
}

/// A server that answers every request with what it was told last.
struct Server {
    url: Url,
    fetcher: Fetcher,
    sender: Sender,
    parcel: Parcel,
    spool: TempDir,
}

static ANSWER: Mutex<Vec<u8>> = Mutex::new(Vec::new());

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).expect("the loopback has ports");
    let address = listener.local_addr().expect("a listener has an address");
    RUNTIME.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    let spool = tempfile::tempdir().expect("the disk has room");
    let fetcher =
        Fetcher::new(policy(Purpose::Input, address), spool.path().to_owned()).expect("a fetcher can be made");
    let sender = Sender::new(policy(Purpose::Result, address)).expect("a sender can be made");
    let parcel = Parcel::new(b"{}".to_vec(), JobId::from_bytes([7; 16]), 1);
    let url = format!("http://{address}/").parse().expect("an address stands in a URL");
    Server { url, fetcher, sender, parcel, spool }
});

fn policy(purpose: Purpose, address: SocketAddr) -> UrlPolicy {
    let allow = vec![address.to_string().parse().expect("an address is a rule")];
    UrlPolicy::new(purpose, Rules { allow, deny: Vec::new() })
}

async fn answer(mut stream: TcpStream) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        request.push(byte);
    }
    if request.starts_with(b"PUT ") {
        // Who hangs up on what was not read may take the answer back with it.
        let _ = stream.read_u16().await;
    }
    let bytes = ANSWER.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let _ = stream.write_all(&bytes).await;
    let _ = stream.shutdown().await;
}

/// A body within the bound comes out, or a refusal that is not this host's fault; nothing stays on the disk. The same
/// words make a receipt only where they are one.
pub fn check(bytes: &[u8]) -> &'static str {
    *ANSWER.lock().unwrap_or_else(PoisonError::into_inner) = stay_here(bytes);
    let (fetched, sent) = (fetch(), send());
    if sent == "a receipt" && !matches!(fetched, "a body" | "too large") { sent } else { fetched }
}

fn send() -> &'static str {
    let Server { url, sender, parcel, .. } = &*SERVER;
    let started = Instant::now();
    let sent = RUNTIME.block_on(sender.send(url, parcel));
    assert!(started.elapsed() < LATE, "sending took {:?}", started.elapsed());
    let Err(error) = sent else { return "a receipt" };
    is_harmless(&error.to_string());
    match error {
        SendError::Transient { .. } => "transient",
        SendError::Permanent { .. } => "permanent",
        SendError::Refused(refusal) => panic!("no redirect leads elsewhere: {refusal}"),
    }
}

fn is_harmless(message: &str) {
    assert!(!message.is_empty() && message.len() < 2_000, "{message}");
    assert!(!message.contains(char::is_control), "nothing hostile reaches a terminal: {message:?}");
}

fn fetch() -> &'static str {
    let Server { url, fetcher, spool, .. } = &*SERVER;
    let started = Instant::now();
    let fetched = RUNTIME.block_on(fetcher.fetch(url, &mut Allowance::of(AT_MOST)));
    assert!(started.elapsed() < LATE, "fetching took {:?}", started.elapsed());
    let left = std::fs::read_dir(spool.path()).expect("the directory is there").count();
    assert_eq!(left, 0, "nothing is left on the disk");
    let error = match fetched {
        Ok(body) => {
            assert!(body.size() <= AT_MOST, "{} bytes", body.size());
            return "a body";
        }
        Err(error) => error,
    };
    is_harmless(error.verdict("input").message().unwrap_or_default());
    match error {
        FetchError::TooLarge { .. } => "too large",
        FetchError::Transient { .. } => "transient",
        FetchError::Permanent { .. } => "permanent",
        FetchError::Refused(refusal) => panic!("no redirect leads elsewhere: {refusal}"),
        FetchError::Host { message } => panic!("the server is to blame, not this host: {message}"),
    }
}

/// The bytes without a way to another host: no test dials one, or asks a name server.
fn stay_here(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let header = b"location:";
    let mut at = 0;
    while at + header.len() <= bytes.len() {
        if bytes[at..at + header.len()].eq_ignore_ascii_case(header) {
            let value = at + header.len();
            let end = bytes[value..]
                .iter()
                .position(|byte| matches!(byte, b'\r' | b'\n'))
                .map_or(bytes.len(), |end| value + end);
            for byte in &mut bytes[value..end] {
                if !matches!(byte, b'a'..=b'z' | b'?' | b' ') {
                    *byte = b'x';
                }
            }
            at = end;
        } else {
            at += 1;
        }
    }
    bytes
}
