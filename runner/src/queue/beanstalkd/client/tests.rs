use super::answer::{HEAD, MAX_BODY};
use super::*;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

/// A client whose server has said all that it will ever say.
async fn told(said: &[u8]) -> Client<DuplexStream> {
    let (near, mut far) = duplex(1 << 16);
    far.write_all(said).await.unwrap();
    tokio::spawn(async move {
        // Reads on, so that nothing but silence keeps the client waiting; closes when the client does.
        far.shutdown().await.unwrap();
        tokio::io::copy(&mut far, &mut tokio::io::sink()).await
    });
    Client::new(near)
}

#[tokio::test]
async fn a_body_is_taken_to_the_byte() {
    let mut client = told(b"RESERVED 7 4\r\n\r\n\r\n\r\nTIMED_OUT\r\n").await;
    let reserved = client.reserve(0).await.unwrap().unwrap();
    assert_eq!(reserved, Reserved { number: 7, body: Body::Whole(b"\r\n\r\n".to_vec()) });
    assert_eq!(client.reserve(0).await.unwrap(), None);
    assert!(client.is_usable());
}

#[tokio::test]
async fn after_an_answer_that_is_none_the_connection_is_given_up() {
    for said in [
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "RESERVED 7 4\r\nabcdef\r\n",
        "RESERVED 7 4\r\nab",
        "RESERVED 7 9999999999\r\n",
        "DELETED\r\n",
        "RESERVED 7",
        "",
        &"x".repeat(10_000),
    ] {
        let mut client = told(said.as_bytes()).await;
        let error = client.reserve(0).await.unwrap_err();
        assert!(matches!(error, ClientError::Malformed(_) | ClientError::Connection(_)), "{said}: {error}");
        assert!(!client.is_usable());
        assert!(matches!(client.touch(7).await, Err(ClientError::GivenUp)));
    }
}

#[tokio::test]
async fn a_refusal_leaves_the_connection_as_it_is() {
    let mut client = told(b"USING default\r\nDRAINING\r\nTOUCHED\r\n").await;
    let refused = client.put(&Tube::default(), 0, 0, 1, b"x").await;
    assert!(matches!(refused, Err(ClientError::Denied(Denial::Draining))));
    assert!(client.touch(1).await.unwrap());
}

#[tokio::test]
async fn a_command_that_was_broken_off_gives_the_connection_up() {
    let (near, _far) = duplex(1 << 10);
    let mut client = Client::new(near);
    let _ = tokio::time::timeout(Duration::from_millis(1), client.touch(1)).await;
    assert!(matches!(client.touch(1).await, Err(ClientError::GivenUp)));
}

#[tokio::test]
async fn a_server_that_says_nothing_is_not_waited_for_without_an_end() {
    let (near, _far) = duplex(1 << 10);
    let mut client = Client { patience: Duration::from_millis(50), ..Client::new(near) };
    assert!(matches!(client.reserve(1).await, Err(ClientError::Silent(patience)) if patience.as_millis() == 1_050));
}

#[tokio::test]
async fn a_job_that_is_too_long_is_read_past_and_not_kept() {
    let length = MAX_BODY + 1;
    let (near, mut far) = duplex(1 << 16);
    let _server = tokio::spawn(async move {
        far.write_all(format!("RESERVED 7 {length}\r\n").as_bytes()).await.unwrap();
        far.write_all(&vec![b'x'; length]).await.unwrap();
        far.write_all(b"\r\nTOUCHED\r\n").await.unwrap();
        far
    });
    let mut client = Client::new(near);
    let body = client.reserve(0).await.unwrap().unwrap().body;
    assert_eq!(body, Body::TooLong { length, head: vec![b'x'; HEAD] });
    assert!(client.touch(7).await.unwrap());
}

#[tokio::test]
async fn only_the_tubes_that_change_are_watched_and_ignored() {
    let (near, mut far) = duplex(1 << 16);
    far.write_all(&b"WATCHING 2\r\n".repeat(10)).await.unwrap();
    let mut client = Client::new(near);
    let tubes = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<Tube>>();
    client.watch(&tubes(&["a", "b"])).await.unwrap();
    client.watch(&tubes(&["b", "a"])).await.unwrap();
    client.watch(&tubes(&["b", "default"])).await.unwrap();
    drop(client);
    let mut said = String::new();
    far.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "watch a\r\nwatch b\r\nignore default\r\nwatch default\r\nignore a\r\n");
}

proptest! {
    #[test]
    fn whatever_a_server_says_is_taken_or_refused(said in proptest::collection::vec(any::<u8>(), 0..500)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut client = told(&said).await;
            let _ = client.stats_job(1).await;
            let _ = client.reserve(0).await;
        });
    }
}
