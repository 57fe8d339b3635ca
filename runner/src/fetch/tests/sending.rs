//! Results on their way to receivers of every kind.

use super::*;
use crate::fetch::send::Patience;
use crate::fetch::{Parcel, SendError, Sender};
use crate::job::JobId;
use base64::Engine as _;

const ID: &str = "bc3a0001-0203-0405-0607-08090a0b0c0d";
const LONG: Duration = Duration::from_secs(20);

fn parcel(document: &[u8]) -> Parcel {
    Parcel::new(document.to_vec(), ID.parse::<JobId>().unwrap(), 3)
}

fn sender(allow: &[String]) -> Sender {
    let rules = Rules { allow: allow.iter().map(|rule| rule.parse().unwrap()).collect(), deny: Vec::new() };
    Sender::new(UrlPolicy::new(Purpose::Result, rules)).unwrap()
}

async fn send_to(server: &Server, path: &str, document: &[u8]) -> Result<(), SendError> {
    let sender = sender(&[format!("127.0.0.1:{}", server.port)]);
    tokio::time::timeout(LONG, sender.send(&server.url(path), &parcel(document))).await.expect("it ends by itself")
}

/// A receiver that reads the whole body of each request, keeps it, and answers.
async fn receiver(
    answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
) -> (Server, tokio::sync::mpsc::UnboundedReceiver<Vec<u8>>) {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let answer = Arc::new(answer);
    let server = Server::start_with(move |mut stream, request| {
        let (sender, answer) = (sender.clone(), Arc::clone(&answer));
        async move {
            let length = field(&request, "content-length").parse().unwrap();
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.unwrap();
            sender.send(body).unwrap();
            let _ = stream.write_all(&answer(&request)).await;
            let _ = stream.shutdown().await;
        }
    })
    .await;
    (server, receiver)
}

fn field<'a>(request: &'a str, name: &str) -> &'a str {
    let fields = request.lines().filter_map(|line| line.split_once(": "));
    fields.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).next().unwrap_or_default()
}

fn answer(status: &str, headers: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: 0\r\n\r\n").into_bytes()
}

fn again(sent: Result<(), SendError>) -> (String, Option<Duration>, bool) {
    match sent.unwrap_err() {
        SendError::Transient { message, retry_after, is_silent } => (message, retry_after, is_silent),
        other => panic!("not transient: {other:?}"),
    }
}

fn given_up(sent: Result<(), SendError>) -> String {
    match sent.unwrap_err() {
        SendError::Permanent { message } => message,
        other => panic!("not permanent: {other:?}"),
    }
}

#[tokio::test]
async fn a_document_arrives_whole_with_its_length_its_digest_and_its_key() {
    let large: Vec<u8> = (0..3_000_000_u32).map(|place| (place % 251) as u8).collect();
    for document in [&b"{}"[..], &b""[..], &large] {
        let (server, mut received) = receiver(|_| answer("201 Created", "")).await;
        send_to(&server, "/a/b?token=1", document).await.unwrap();
        assert_eq!(received.recv().await.unwrap(), document);
        let request = &server.requests()[0];
        assert!(request.starts_with("PUT /a/b?token=1 HTTP/1.1\r\n"), "{request}");
        assert_eq!(field(request, "content-length"), document.len().to_string());
        assert_eq!(field(request, "content-type"), "application/json");
        let digest = base64::engine::general_purpose::STANDARD.encode(Digest::of(document).as_bytes());
        assert_eq!(field(request, "content-digest"), format!("sha-256=:{digest}:"));
        assert_eq!(field(request, "idempotency-key"), format!("\"{ID}-3\""));
        assert!(field(request, "transfer-encoding").is_empty(), "{request}");
    }
}

#[tokio::test]
async fn a_status_decides_whether_it_is_sent_again() {
    for (status, arrives) in [("200 OK", true), ("202 Accepted", true), ("204 No Content", true)] {
        let (server, _received) = receiver(move |_| answer(status, "")).await;
        assert_eq!(send_to(&server, "/", b"{}").await.is_ok(), arrives, "{status}");
    }
    for status in ["408 X", "425 X", "429 X", "500 X", "503 X", "599 X"] {
        let (server, _received) = receiver(move |_| answer(status, "retry-after: 7\r\n")).await;
        let (message, wait, is_silent) = again(send_to(&server, "/hook?token=hidden", b"{}").await);
        assert!(message.contains(&format!("/hook?…: the receiver answered {}", &status[..3])), "{message}");
        assert_eq!((wait, is_silent), (Some(Duration::from_secs(7)), false));
    }
    for status in ["400 X", "401 X", "404 X", "410 X", "301 X", "302 X", "303 X", "304 X", "600 X"] {
        let (server, _received) = receiver(move |_| answer(status, "location: /\r\n")).await;
        let message = given_up(send_to(&server, "/", b"{}").await);
        assert!(message.contains(&status[..3]), "{message}");
        assert_eq!(server.requests().len(), 1, "{status} is not followed");
    }
}

#[tokio::test]
async fn a_redirect_that_keeps_the_method_is_followed_with_the_whole_document() {
    let (there, mut received) = receiver(|_| answer("200 OK", "")).await;
    let to = there.url("/there").to_string();
    let (server, mut first) = receiver(move |request| match request.split(' ').nth(1) {
        Some("/a") => answer("307 Temporary Redirect", "location: b\r\n"),
        Some("/loop") => answer("308 Permanent Redirect", "location: /loop\r\n"),
        Some("/nowhere") => answer("307 Temporary Redirect", ""),
        _ => answer("308 Permanent Redirect", &format!("location: {to}\r\n")),
    })
    .await;
    let sender = sender(&["127.0.0.1".to_owned()]);
    let url = format!("http://me:secret@127.0.0.1:{}/a", server.port).parse().unwrap();
    sender.send(&url, &parcel(b"[1]")).await.unwrap();
    assert_eq!(first.recv().await.unwrap(), b"[1]");
    assert_eq!(first.recv().await.unwrap(), b"[1]");
    assert_eq!(received.recv().await.unwrap(), b"[1]");
    assert!(!field(&server.requests()[1], "authorization").is_empty());
    assert!(field(&there.requests()[0], "authorization").is_empty(), "credentials go to their own server only");
    assert_eq!(field(&there.requests()[0], "idempotency-key"), format!("\"{ID}-3\""));
    assert!(given_up(send_to(&server, "/loop", b"{}").await).contains("redirected more than 5 times"));
    assert!(given_up(send_to(&server, "/nowhere", b"{}").await).contains("but not to a URL"));
}

#[tokio::test]
async fn nothing_is_sent_to_what_the_policy_forbids_and_a_refusal_tells_no_address() {
    let secret = Server::start(|_| answer("200 OK", "")).await;
    let refused = sender(&[]).send(&secret.url("/"), &parcel(b"{}")).await.unwrap_err();
    assert!(matches!(&refused, SendError::Refused(_)), "{refused:?}");
    let name: Url = format!("http://localhost:{}/", secret.port).parse().unwrap();
    let refused = sender(&[]).send(&name, &parcel(b"{}")).await.unwrap_err();
    assert!(refused.address().is_some_and(|address| address.is_loopback()), "the operator can know");
    assert!(!refused.to_string().contains("127.0.0.1") && !refused.to_string().contains("::1"), "{refused}");
    for target in [secret.url("/").to_string(), name.to_string(), "http://169.254.169.254/".to_owned()] {
        let to = format!("location: {target}\r\n");
        let (server, _received) = receiver(move |_| answer("307 X", &to)).await;
        let refused = send_to(&server, "/", b"{}").await.unwrap_err();
        assert!(matches!(&refused, SendError::Refused(_)), "{target}: {refused:?}");
        assert!(!refused.to_string().contains("127.0.0.1") && !refused.to_string().contains("169.254"), "{refused}");
    }
    assert!(secret.requests().is_empty());
}

#[tokio::test]
async fn a_receiver_that_cannot_be_reached_or_says_nothing_is_tried_again() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let gone = Server { port: unused, requests: Arc::default() };
    let (message, _, is_silent) = again(send_to(&gone, "/", b"{}").await);
    assert!(message.starts_with(&format!("http://127.0.0.1:{unused}/: ")) && is_silent, "{message}");
    for nonsense in [&b""[..], b"\x00\xffSSH-2.0-nonsense\r\n\r\n"] {
        let server = Server::start(|_| nonsense.to_vec()).await;
        assert!(again(send_to(&server, "/", b"{}").await).2);
    }
}

#[tokio::test]
async fn no_receiver_is_waited_for_longer_than_it_may_take() {
    let short = Duration::from_millis(300);
    let deaf = Server::start_with(async |stream, _| {
        tokio::time::sleep(LONG).await;
        drop(stream);
    })
    .await;
    let slow = Server::start_with(async |mut stream, _| {
        while stream.read(&mut [0; 65_536]).await.is_ok_and(|size| size > 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let dripping = Server::start_with(async |mut stream, _| {
        let mut sent = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await;
        while sent.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
            sent = stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").await;
        }
    })
    .await;
    let large = vec![b'x'; 30_000_000];
    for (server, document, answer, total, said) in [
        (&deaf, &b"{}"[..], short, LONG, "no answer within 0.3 s"),
        (&deaf, &large[..], short, LONG, "no answer within 0.3 s"),
        (&dripping, b"{}", short, LONG, "no answer within 0.3 s"),
        (&slow, &large, LONG, short, "not taken and answered within 0.3 s"),
    ] {
        let mut sender = sender(&["127.0.0.1".to_owned()]);
        sender.patience = Patience { answer, total };
        let sent = tokio::time::timeout(LONG, sender.send(&server.url("/"), &parcel(document))).await;
        let (message, _, is_silent) = again(sent.expect("it ends by itself"));
        assert!(message.ends_with(said) && is_silent, "{message}");
    }
}

#[tokio::test]
async fn an_answer_without_an_end_is_not_listened_to() {
    let server = Server::start_with(async |mut stream, _| {
        let _ = stream.read_exact(&mut [0; 2]).await;
        let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        while sent.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
            sent = stream.write_all(b"1\r\nx\r\n").await;
        }
    })
    .await;
    send_to(&server, "/", b"{}").await.unwrap();
}
