//! Real servers on the loopback, which say exactly the bytes that a test wants said.

mod coded;
mod hostile;
mod sending;

use super::*;
use crate::job::{Digest, Verdict};
use crate::policy::{Purpose, Rules};
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server that answers each request with what `answer` makes of it, and remembers the requests.
struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start_with(move |mut stream, request| {
            let answer = answer(&request);
            async move {
                let _ = stream.write_all(&answer).await;
                let _ = stream.shutdown().await;
            }
        })
        .await
    }

    async fn start_with<F, Done>(answer: F) -> Self
    where
        F: Fn(TcpStream, String) -> Done + Send + Sync + 'static,
        Done: Future<Output = ()> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (Arc::clone(&requests), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        let Ok(byte) = stream.read_u8().await else { return };
                        request.push(byte);
                    }
                    let request = String::from_utf8(request).unwrap();
                    seen.lock().unwrap().push(request.clone());
                    answer(stream, request).await;
                });
            }
        });
        Self { port, requests }
    }

    fn url(&self, path: &str) -> Url {
        format!("http://127.0.0.1:{}{path}", self.port).parse().unwrap()
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn ok(body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

fn redirect(to: &str) -> Vec<u8> {
    format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n").into_bytes()
}

/// A fetcher that may dial what these rules allow, and its directory for large bodies.
fn fetcher(allow: &[String]) -> (Fetcher, tempfile::TempDir) {
    let rules = Rules { allow: allow.iter().map(|rule| rule.parse().unwrap()).collect(), deny: Vec::new() };
    let spool = tempfile::tempdir().unwrap();
    (Fetcher::new(UrlPolicy::new(Purpose::Input, rules), spool.path().to_owned()).unwrap(), spool)
}

async fn fetch_allowing(allow: &[&Server], url: &Url, at_most: u64) -> Result<Body, FetchError> {
    let rules: Vec<_> = allow.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
    let (fetcher, spool) = fetcher(&rules);
    let fetched = fetcher.fetch(url, &mut Allowance::of(at_most)).await;
    assert_eq!(std::fs::read_dir(spool.path()).unwrap().count(), 0, "nothing is left behind");
    fetched
}

async fn fetch(server: &Server, path: &str, at_most: u64) -> Result<Body, FetchError> {
    fetch_allowing(&[server], &server.url(path), at_most).await
}

fn transient(fetched: Result<Body, FetchError>) -> (String, Option<Duration>) {
    match fetched.unwrap_err() {
        FetchError::Transient { message, retry_after } => (message, retry_after),
        other => panic!("not transient: {other:?}"),
    }
}

fn permanent(fetched: Result<Body, FetchError>) -> String {
    match fetched.unwrap_err() {
        FetchError::Permanent { message } => message,
        other => panic!("not permanent: {other:?}"),
    }
}

#[tokio::test]
async fn small_and_large_bodies_arrive_whole() {
    let large: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let sent = large.clone();
    let server =
        Server::start(move |request| if request.starts_with("GET /small") { ok(b"abc") } else { ok(&sent) }).await;
    let small = fetch(&server, "/small", 3).await.unwrap();
    assert_eq!((small.size(), small.digest()), (3, Digest::of("abc")));
    let body = fetch(&server, "/large", 3_000_000).await.unwrap();
    assert_eq!((body.size(), body.digest()), (3_000_000, Digest::of(&large)));
    assert!(server.requests()[0].to_lowercase().contains("accept-encoding: gzip\r\n"));
}

#[tokio::test]
async fn a_status_decides_whether_to_ask_again() {
    let server = Server::start(|request| {
        let status = request.split(['/', ' ']).nth(2).unwrap().to_owned();
        format!("HTTP/1.1 {status} X\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n").into_bytes()
    })
    .await;
    let missing = permanent(fetch(&server, "/404", 9).await);
    assert!(missing.ends_with("/404: the server answered 404 Not Found"), "{missing}");
    let (busy, wait) = transient(fetch(&server, "/503", 9).await);
    assert!(busy.contains("503") && wait == Some(Duration::from_secs(7)), "{busy}");
    assert!(permanent(fetch(&server, "/204", 9).await).contains("200 was expected"));
}

#[tokio::test]
async fn a_body_above_the_bound_is_ended_as_soon_as_that_is_known() {
    let endless = Server::start_with(async |mut stream, _| {
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
        let mut sent = stream.write_all(head).await;
        while sent.is_ok() {
            sent = stream.write_all(&chunk).await;
        }
    })
    .await;
    let error = fetch(&endless, "/", 5_000_000).await.unwrap_err();
    assert!(
        matches!(error, FetchError::TooLarge { at_most: 5_000_000, observed: 5_000_001..6_000_000, .. }),
        "{error:?}"
    );

    let announced = Server::start(|_| b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n".to_vec()).await;
    let error = fetch(&announced, "/", 999).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { at_most: 999, observed: 1000, .. }), "{error:?}");
}

#[tokio::test]
async fn a_trickle_is_taken_byte_by_byte_and_ends_when_the_caller_has_no_more_time() {
    let server = Server::start_with(async |mut stream, request| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await;
        let count = if request.starts_with("GET /short") { 20 } else { u32::MAX };
        for _ in 0..count {
            if stream.write_all(b"x").await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    assert_eq!(fetch(&server, "/short", 99).await.unwrap().size(), 20);
    let endless = fetch(&server, "/endless", u64::MAX);
    assert!(tokio::time::timeout(Duration::from_millis(200), endless).await.is_err());
}

#[tokio::test]
async fn a_body_that_breaks_off_is_worth_another_attempt() {
    let server = Server::start(|request| {
        if request.starts_with("GET /length") {
            b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc".to_vec()
        } else {
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabc".to_vec()
        }
    })
    .await;
    transient(fetch(&server, "/length", 99).await);
    transient(fetch(&server, "/chunked", 99).await);
}

#[tokio::test]
async fn nonsense_and_silence_are_errors_and_nothing_worse() {
    let nonsense = Server::start(|_| b"\x00\xffSSH-2.0-nonsense\r\n\r\n".to_vec()).await;
    transient(fetch(&nonsense, "/", 99).await);
    let silent = Server::start(|_| Vec::new()).await;
    transient(fetch(&silent, "/", 99).await);
    let huge = Server::start(|_| {
        [b"HTTP/1.1 200 OK\r\n".to_vec(), b"x: 0123456789abcdef\r\n".repeat(100_000), b"\r\n".to_vec()].concat()
    })
    .await;
    transient(fetch(&huge, "/", 99).await);
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let gone = Server { port: unused, requests: Arc::default() };
    let (refused, _) = transient(fetch(&gone, "/", 99).await);
    assert!(refused.contains(&format!("http://127.0.0.1:{unused}/")), "{refused}");
}

#[tokio::test]
async fn redirects_are_followed_but_not_for_ever() {
    let server = Server::start(|request| match request.split(' ').nth(1) {
        Some("/loop") => redirect("/loop"),
        Some("/a") => redirect("b?x=1#fragment"),
        Some("/b?x=1") => ok(b"there"),
        Some("/nowhere") => b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n".to_vec(),
        _ => redirect("data:,x"),
    })
    .await;
    assert_eq!(fetch(&server, "/a", 9).await.unwrap().digest(), Digest::of("there"));
    assert!(permanent(fetch(&server, "/loop", 9).await).contains("redirected more than 10 times"));
    assert!(permanent(fetch(&server, "/nowhere", 9).await).contains("but not to a URL"));
    assert!(permanent(fetch(&server, "/data", 9).await).contains("not to http or https"));
}

#[tokio::test]
async fn a_redirect_to_what_the_policy_forbids_is_refused() {
    let secret = Server::start(|_| ok(b"secret")).await;
    let targets = [
        secret.url("/").to_string(),
        format!("http://localhost:{}/", secret.port),
        format!("http://2130706433:{}/", secret.port),
        format!("http://0x7f.1:{}/", secret.port),
        format!("http://[::ffff:127.0.0.1]:{}/", secret.port),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "file:///etc/passwd".to_owned(),
    ];
    for target in targets {
        let to = target.clone();
        let server = Server::start(move |_| redirect(&to)).await;
        let error = fetch(&server, "/", 99).await.unwrap_err();
        let said = error.to_string().replace(&format!("127.0.0.1:{}/", server.port), "");
        assert!(!said.contains("127.0.0.1") && !said.contains("169.254"), "the job did not write that: {said}");
        let verdict = error.verdict("input");
        assert!(matches!(verdict, Verdict::InputUnavailable { permanent: true, .. }), "{target}: {verdict:?}");
    }
    assert!(secret.requests().is_empty());
}

#[tokio::test]
async fn a_name_that_resolves_to_the_loopback_is_refused_unless_it_is_allowed() {
    let server = Server::start(|_| ok(b"here")).await;
    let url: Url = format!("http://localhost:{}/", server.port).parse().unwrap();
    let refused = fetch_allowing(&[], &url, 99).await.unwrap_err();
    assert!(matches!(&refused, FetchError::Refused(_)), "{refused:?}");
    let said = refused.to_string();
    assert!(said.contains("localhost") && !said.contains("127.0.0.1") && !said.contains("::1"), "{said}");
    assert!(refused.address().is_some_and(|address| address.is_loopback()), "the operator can know");
    assert!(server.requests().is_empty());

    let (fetcher, _spool) = fetcher(&["localhost".to_owned()]);
    let body = fetcher.fetch(&url, &mut Allowance::of(99)).await.unwrap();
    assert_eq!(body.digest(), Digest::of("here"));
}

#[tokio::test]
async fn an_address_that_a_server_redirects_to_is_in_no_message_even_if_it_is_allowed() {
    let inner = Server::start(|_| b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec()).await;
    let to = inner.url("/inner").to_string();
    let outer = Server::start(move |_| redirect(&to)).await;
    let (fetcher, _spool) = fetcher(&["localhost".to_owned(), "127.0.0.1".to_owned()]);
    let url = format!("http://localhost:{}/outer", outer.port).parse().unwrap();
    let message = permanent(fetcher.fetch(&url, &mut Allowance::of(9)).await);
    assert_eq!(message, format!("{url}: the server answered 404 Not Found"));
    assert_eq!(inner.requests().len(), 1);
}

#[tokio::test]
async fn credentials_go_to_the_first_host_only_and_into_no_message() {
    let other = Server::start(|_| ok(b"x")).await;
    let to = format!("http://eve:stolen@127.0.0.1:{}/", other.port);
    let server = Server::start(move |request| match request.split(' ').nth(1) {
        Some("/other?token=hidden") => redirect(&to),
        Some("/again") => redirect("/last"),
        _ => b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec(),
    })
    .await;
    let with = |path: &str| format!("http://me:se%40cret@127.0.0.1:{}{path}", server.port).parse::<Url>().unwrap();
    fetch_allowing(&[&server, &other], &with("/other?token=hidden"), 9).await.unwrap();
    let basic = "authorization: basic";
    assert!(server.requests()[0].to_lowercase().contains(basic));
    assert!(!other.requests()[0].to_lowercase().contains(basic), "{:?}", other.requests());

    let missing = fetch_allowing(&[&server], &with("/again"), 9).await.unwrap_err();
    assert!(server.requests().iter().all(|request| request.to_lowercase().contains(basic)));
    let refused = fetch_allowing(&[&server], &with("/other?token=hidden"), 9).await.unwrap_err();
    let gone: Url = "http://me:se%40cret@127.0.0.1:1/?token=hidden".parse().unwrap();
    let (fetcher, _spool) = fetcher(&["127.0.0.1".to_owned()]);
    let gone = fetcher.fetch(&gone, &mut Allowance::of(9)).await.unwrap_err();
    for error in [missing, refused, gone] {
        let text = format!("{error} {error:?}");
        assert!(!text.contains("cret") && !text.contains("hidden") && !text.contains("stolen"), "{text}");
    }
}

#[tokio::test]
async fn several_inputs_share_one_allowance() {
    let server = Server::start(|_| ok(b"1234")).await;
    let (fetcher, _spool) = fetcher(&["127.0.0.1".to_owned()]);
    let mut allowance = Allowance::of(10);
    fetcher.fetch(&"data:,abc".parse().unwrap(), &mut allowance).await.unwrap();
    fetcher.fetch(&server.url("/"), &mut allowance).await.unwrap();
    assert_eq!(allowance.left(), 3);
    let error = fetcher.fetch(&server.url("/"), &mut allowance).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { at_most: 10, observed: 11, .. }), "{error:?}");
    let error = fetcher.fetch(&"data:,1234".parse().unwrap(), &mut allowance).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { at_most: 10, observed: 11, .. }), "{error:?}");
}

#[tokio::test]
async fn data_urls_are_decoded_within_the_bound() {
    let fetch = async |text: &str| fetch_allowing(&[], &text.parse().unwrap(), 5).await;
    for (text, bytes) in
        [("data:,a%20b", "a b"), ("data:text/csv;base64,aGk=", "hi"), ("data:,", ""), ("data:,12345", "12345")]
    {
        assert_eq!(fetch(text).await.unwrap().digest(), Digest::of(bytes), "{text}");
    }
    assert!(permanent(fetch("data:text/plain").await).contains("comma"));
    assert!(permanent(fetch("data:;base64,a").await).contains("base64"));
    assert!(matches!(fetch("data:,123456").await, Err(FetchError::TooLarge { at_most: 5, observed: 6, .. })));
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_worth_another_attempt() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server { port: listener.local_addr().unwrap().port(), requests: Arc::default() };
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    });
    let url = format!("https://127.0.0.1:{}/", server.port).parse().unwrap();
    transient(fetch_allowing(&[&server], &url, 9).await);
}
