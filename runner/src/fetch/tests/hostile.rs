//! Servers that want to be waited for, in every part of an answer.

use super::*;

/// Fetches with little patience from a server that says `first` and then `again` for ever, with these pauses.
async fn fetch_endless(first: &'static [u8], again: &'static [u8], pause: Duration) -> FetchError {
    let ended = Arc::new(tokio::sync::Notify::new());
    let hung_up = Arc::clone(&ended);
    let server = Server::start_with(move |mut stream, _| {
        let hung_up = Arc::clone(&hung_up);
        async move {
            let mut sent = stream.write_all(first).await;
            while sent.is_ok() {
                tokio::time::sleep(pause).await;
                sent = stream.write_all(again).await;
            }
            hung_up.notify_one();
        }
    })
    .await;
    let fetched = fetch_impatiently(&server).await;
    // The connection goes with the fetch: whoever goes on talking finds nobody there.
    tokio::time::timeout(Duration::from_secs(20), ended.notified()).await.expect("the connection is closed");
    fetched.unwrap_err()
}

async fn fetch_impatiently(server: &Server) -> Result<Body, FetchError> {
    let (mut fetcher, _spool) = fetcher(&[format!("127.0.0.1:{}", server.port)]);
    let short = Duration::from_millis(300);
    fetcher.patience = Patience { answer: short, idle: short };
    let mut allowance = Allowance::of(1 << 20);
    let url = server.url("/");
    let fetched = tokio::time::timeout(Duration::from_secs(20), fetcher.fetch(&url, &mut allowance));
    fetched.await.expect("it ends by itself")
}

const NONE: Duration = Duration::ZERO;
const SHORT: Duration = Duration::from_millis(5);
const OK: &[u8] = b"HTTP/1.1 200 OK\r\n";
const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

#[tokio::test]
async fn an_answer_that_never_begins_is_not_waited_for() {
    for (what, first, again, pause) in [
        ("interim answers", &b""[..], &b"HTTP/1.1 100 Continue\r\n\r\n"[..], NONE),
        ("interim answers, slowly", b"", b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", SHORT),
        ("empty lines", b"", b"\r\n", SHORT),
        ("a status", b"HTTP/1.1 200 ", b"O", SHORT),
        ("headers, byte by byte", b"HTTP/1.1 200 OK\r\nx: ", b"y", SHORT),
        ("one header without an end", b"HTTP/1.1 200 OK\r\nx: ", &[b'y'; 4096], NONE),
        ("headers without an end", OK, b"x: 0123456789abcdef\r\n", NONE),
    ] {
        let error = fetch_endless(first, again, pause).await;
        assert!(matches!(error, FetchError::Transient { .. }), "{what}: {error:?}");
    }
}

#[tokio::test]
async fn a_body_that_stalls_is_not_waited_for() {
    for (what, first, again, pause) in [
        ("a chunk's size", CHUNKED, &b"0"[..], SHORT),
        ("a chunk's extension", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;", b"x", SHORT),
        ("trailers", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n", NONE),
    ] {
        let error = fetch_endless(first, again, pause).await;
        assert!(matches!(error, FetchError::Transient { .. }), "{what}: {error:?}");
    }
    let silent = Server::start_with(async |mut stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").await;
        let _ = stream.read_u8().await;
    })
    .await;
    let (message, _) = transient(fetch_impatiently(&silent).await);
    assert!(message.ends_with("nothing more came within 0.3 s"), "{message}");
}

#[tokio::test]
async fn all_redirects_together_must_be_answered_in_time() {
    let server = Server::start_with(async |mut stream, _| {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let _ = stream.write_all(&redirect("/again")).await;
    })
    .await;
    let (message, _) = transient(fetch_impatiently(&server).await);
    assert!(message.ends_with("/again: no answer within 0.3 s"), "{message}");
    assert!(server.requests().len() < 6);
}

#[tokio::test]
async fn a_redirects_own_body_is_not_read() {
    let server = Server::start_with(async |mut stream, request| {
        if request.starts_with("GET /there") {
            let _ = stream.write_all(&ok(b"there")).await;
            return;
        }
        let head = b"HTTP/1.1 302 Found\r\nlocation: /there\r\ncontent-length: 1000000000000\r\n\r\n";
        let mut sent = stream.write_all(head).await;
        while sent.is_ok() {
            sent = stream.write_all(&[b'x'; 65_536]).await;
        }
    })
    .await;
    assert_eq!(fetch_impatiently(&server).await.unwrap().digest(), Digest::of("there"));
}
