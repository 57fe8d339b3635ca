//! Workers whose jobs all end at once, and receivers on the loopback.

use super::*;
use crate::job::{DeliveryState, JobId};
use crate::worker::tests::{Fixture, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use url::Url;

fn delivery(tries: u32, since: Timestamp) -> Delivery {
    let url = "http://a.example/".parse().unwrap();
    Delivery { id: JobId::from_bytes([0; 16]), attempt: 1, url, tries, since }
}

#[test]
fn a_result_is_sent_again_after_longer_and_longer_waits_until_a_day_is_over() {
    let since = Timestamp::UNIX_EPOCH;
    let (mut now, mut waits) = (since, Vec::new());
    let given_up = loop {
        let tries = u32::try_from(waits.len()).unwrap();
        match again(&delivery(tries, since), now, "nobody listens".to_owned(), None) {
            Delivered::Again { after, .. } => {
                waits.push(after.as_secs());
                now += after;
            }
            outcome => break outcome,
        }
    };
    assert_eq!(waits[..11], [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600]);
    assert!(now.duration_since(since).as_hours() == 23, "{now}");
    let times = waits.len() + 1;
    let Delivered::GivenUp { reason } = given_up else { panic!("{given_up:?}") };
    assert!(reason.starts_with(&format!("nobody listens; it was tried {times} times within 23h ")), "{reason}");
}

#[test]
fn a_result_whose_receiver_is_left_alone_is_given_up_after_a_day_without_being_tried() {
    let since = Timestamp::UNIX_EPOCH;
    let (after, hour) = (Duration::from_secs(600), jiff::SignedDuration::from_hours(1));
    let left_alone = |seconds| LeftAlone { after, silent: Duration::from_secs(seconds) };
    for (hours, seconds) in [(23, 9_999), (25, 3_599)] {
        let put_off = put_off(&delivery(3, since), since + hours * hour, left_alone(seconds));
        assert_eq!(put_off, Delivered::Untried { after }, "{hours} h, silent for {seconds} s");
    }
    for (tries, times) in [(0, "0 times"), (1, "1 time")] {
        let Delivered::TooLate { reason } = put_off(&delivery(tries, since), since + 25 * hour, left_alone(3_600))
        else {
            panic!("it is still waited for");
        };
        assert_eq!(reason, format!("the receiver has not answered; it was tried {times} within 25h"));
    }
}

#[test]
fn a_receiver_that_asks_for_patience_gets_it_within_bounds() {
    let now = Timestamp::UNIX_EPOCH;
    let wait = |asked| match again(&delivery(0, now), now, String::new(), Some(Duration::from_secs(asked))) {
        Delivered::Again { after, .. } => after.as_secs(),
        outcome => panic!("{outcome:?}"),
    };
    assert_eq!([wait(0), wait(30), wait(86_400)], [1, 30, 600]);
}

/// A receiver that hands out the connections that came to it, each with the head of its request.
async fn receiver() -> (Url, mpsc::UnboundedReceiver<(TcpStream, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap()).parse().unwrap();
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            sender.send((stream, String::from_utf8(head).unwrap())).unwrap();
        }
    });
    (url, receiver)
}

#[tokio::test]
async fn a_worker_that_ends_by_itself_first_tries_to_send_what_is_due() {
    for (answer, state) in [
        (&b"HTTP/1.1 204 No Content\r\n\r\n"[..], DeliveryState::Delivered),
        (b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", DeliveryState::Pending),
        (b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", DeliveryState::GivenUp),
    ] {
        let fixture = Fixture::new();
        let (url, mut received) = receiver().await;
        let id = fixture.submit_for(Some(url)).await;
        let (_sender, shutdown) = watch::channel(Shutdown::No);
        let answering = async {
            let (mut stream, _) = received.recv().await.unwrap();
            stream.write_all(answer).await.unwrap();
            stream
        };
        let (made, _stream) = within(20.0, async { tokio::join!(fixture.worker().run(shutdown), answering) }).await;
        assert_eq!(made.unwrap(), 1);
        let delivery = fixture.find(id).await.delivery.unwrap();
        assert_eq!((delivery.state, delivery.tries), (state, 1));
    }
}

#[tokio::test]
async fn a_worker_that_is_to_stop_now_waits_for_no_receiver_and_the_next_one_sends_again() {
    let fixture = Fixture::new();
    let (url, mut received) = receiver().await;
    let id = fixture.submit_for(Some(url)).await;
    let (sender, shutdown) = watch::channel(Shutdown::No);
    let running = tokio::spawn(fixture.worker().run(shutdown));
    let (_silent, first) = within(20.0, received.recv()).await.unwrap();
    sender.send_replace(Shutdown::Now);
    within(5.0, running).await.unwrap().unwrap();
    let delivery = fixture.find(id).await.delivery.unwrap();
    assert_eq!((delivery.state, delivery.tries, delivery.reason), (DeliveryState::Pending, 0, None));

    let (sender, shutdown) = watch::channel(Shutdown::No);
    let running = tokio::spawn(fixture.worker().run(shutdown));
    let (mut stream, second) = within(20.0, received.recv()).await.unwrap();
    assert_eq!(first, second, "the key among the rest");
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    while fixture.find(id).await.delivery.unwrap().state != DeliveryState::Delivered {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    sender.send_replace(Shutdown::Drain);
    within(5.0, running).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_worker_that_drains_lets_arrive_what_is_being_sent() {
    let fixture = Fixture::new();
    let (url, mut received) = receiver().await;
    let id = fixture.submit_for(Some(url)).await;
    let (sender, shutdown) = watch::channel(Shutdown::No);
    let running = tokio::spawn(fixture.worker().run(shutdown));
    let (mut stream, _) = within(20.0, received.recv()).await.unwrap();
    sender.send_replace(Shutdown::Drain);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!running.is_finished());
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    within(5.0, running).await.unwrap().unwrap();
    assert_eq!(fixture.find(id).await.delivery.unwrap().state, DeliveryState::Delivered);
}

#[tokio::test]
async fn a_result_that_was_removed_is_given_up() {
    let fixture = Fixture::new();
    let (url, mut received) = receiver().await;
    let id = fixture.submit_for(Some(url)).await;
    let (sender, shutdown) = watch::channel(Shutdown::No);
    let running = tokio::spawn(fixture.worker().run(shutdown));
    drop(within(20.0, received.recv()).await);
    sender.send_replace(Shutdown::Now);
    within(5.0, running).await.unwrap().unwrap();
    fixture.remove_outcomes();
    let (_sender, shutdown) = watch::channel(Shutdown::No);
    let running = tokio::spawn(fixture.worker().run(shutdown));
    let delivery = within(20.0, async {
        loop {
            let delivery = fixture.find(id).await.delivery.unwrap();
            if delivery.state == DeliveryState::GivenUp {
                break delivery;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert_eq!(delivery.await.reason.as_deref(), Some("the result is no longer there"));
    running.abort();
}
