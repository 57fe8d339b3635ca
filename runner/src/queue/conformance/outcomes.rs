//! What attempts leave: documents and logs for readers, and results on their way to a `result_url`.

use super::subject::{Backend, SECOND, Subject, by_hand, document, failed, outcome_of, whole_log, worker};
use crate::job::{Decision, DeliveryState, Document, JobId, State, Tube, Usage, Verdict};
use crate::queue::{
    Action, Delivered, Delivery, Lease, LogPiece, Outcome, Published, Retention, Settled, Settlement, WorkerId,
};
use std::time::Duration;

/// This many bytes that no compressor makes smaller, and that are not text.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ bytes as u64;
    let mut next = || {
        // xorshift64*
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    (0..bytes.div_ceil(8)).flat_map(|_| next().to_le_bytes()).take(bytes).collect()
}

/// A JSON text of exactly this many bytes, or nothing for none.
fn json(bytes: usize) -> Vec<u8> {
    if bytes == 0 {
        return Vec::new();
    }
    let digits: String = noise(bytes).iter().map(|byte| char::from(b'0' + byte % 10)).collect();
    format!("\"{}\"", &digits[2..]).into_bytes()
}

fn document_of(lease: &Lease) -> Vec<u8> {
    outcome_of(lease).document.to_vec()
}

fn log_of(lease: &Lease) -> Vec<u8> {
    outcome_of(lease).log.to_vec()
}

pub(super) async fn outcome_can_be_read_once_it_is_settled(queue: &Subject<impl Backend>) {
    let elsewhere = queue.backend.elsewhere().await;
    let id = queue.submit(document()).await;
    assert_eq!(elsewhere.result(id, None).await.unwrap(), None);
    assert_eq!(elsewhere.log(id, 1, 0).await.unwrap(), None, "there is no attempt yet");
    let lease = queue.lease("a").await;
    assert_eq!(elsewhere.result(id, None).await.unwrap(), None);
    assert_eq!(elsewhere.result(id, Some(1)).await.unwrap(), None);
    queue.finish("a", &lease).await;
    let finished_at = queue.find(id).await.finished_at.unwrap();
    let published = Published {
        attempt: 1,
        document: document_of(&lease),
        settled_at: finished_at.as_millisecond(),
        files: false,
        public_url: None,
    };
    for attempt in [None, Some(1)] {
        assert_eq!(elsewhere.result(id, attempt).await.unwrap(), Some(published.clone()));
    }
    assert_eq!(whole_log(&*elsewhere, id, 1).await, Some((log_of(&lease), true)));
    assert_eq!(elsewhere.result(id, Some(2)).await.unwrap(), None);
    assert_eq!(elsewhere.log(id, 2, 0).await.unwrap(), None);
    assert_eq!(elsewhere.result(JobId::new(), None).await.unwrap(), None);
    assert_eq!(elsewhere.log(JobId::new(), 1, 0).await.unwrap(), None);
}

pub(super) async fn result_says_whether_and_where_there_are_files(queue: &Subject<impl Backend>) {
    let url = "https://node1.example/".parse().unwrap();
    let node = WorkerId { public_url: Some(url), ..worker("node1") };
    queue.queue().register(&node).await.unwrap();
    let id = queue.submit(document()).await;
    let lease = queue.queue().claim(&node, &[Tube::default()], 1).await.unwrap().remove(0).lease;
    let outcome = Outcome { files: true, ..outcome_of(&lease) };
    let settlement =
        Settlement { verdict: Verdict::Done, decision: Decision::Finish, usage: Usage::default(), outcome };
    assert_eq!(queue.queue().settle(&node, &lease, settlement).await.unwrap(), Settled::Counts);
    let published = queue.result(id, None).await.unwrap();
    assert_eq!((published.files, &published.public_url), (true, &node.public_url));
    assert_eq!(queue.find(id).await.public_url, node.public_url);
}

pub(super) async fn stale_settle_leaves_nothing_to_read(queue: &Subject<impl Backend>) {
    let id = queue.submit(document()).await;
    let lost = queue.lease("a").await;
    queue.lose("a").await;
    let large = Outcome { document: json(3 << 20).into(), log: noise(3 << 20).into(), files: true };
    let late = queue.settle_with("a", &lost, Verdict::Done, Decision::Finish, large.clone()).await;
    assert_eq!(late, Settled::Stale);
    assert_eq!((queue.result(id, None).await, queue.result(id, Some(1)).await), (None, None));
    assert!(queue.log(id, 1).await.is_none_or(|log| log.is_empty()));
    let lease = queue.lease("b").await;
    let late = queue.settle_with("a", &lease, Verdict::Done, Decision::Finish, large).await;
    assert_eq!(late, Settled::Stale, "it is the lease of b");
    assert_eq!(queue.result(id, Some(2)).await, None);
    queue.finish("b", &lease).await;
    assert_eq!((queue.document(id).await, queue.log(id, 2).await), (Some(document_of(&lease)), Some(log_of(&lease))));
}

pub(super) async fn settling_twice_keeps_the_first_outcome(queue: &Subject<impl Backend>) {
    let id = queue.submit(document()).await;
    let lease = queue.lease("a").await;
    queue.finish("a", &lease).await;
    let first = queue.result(id, None).await;
    queue.advance(SECOND).await;
    let other = Outcome { document: json(3 << 20).into(), log: noise(3 << 20).into(), files: true };
    let again = queue.settle_with("a", &lease, Verdict::Done, Decision::Finish, other).await;
    assert_eq!(again, Settled::Counts);
    assert_eq!((queue.result(id, None).await, queue.log(id, 1).await), (first, Some(log_of(&lease))));
}

pub(super) async fn settle_after_a_cancel_keeps_the_log_only(queue: &Subject<impl Backend>) {
    for size in [100, 3 << 20] {
        let id = queue.submit(document()).await;
        let lease = queue.lease("a").await;
        queue.act(id, &by_hand()).await.unwrap();
        let before = queue.find(id).await;
        let outcome = Outcome { document: json(size).into(), log: noise(size).into(), files: false };
        for _ in 0..2 {
            let late = queue.settle_with("a", &lease, Verdict::Done, Decision::Finish, outcome.clone()).await;
            assert_eq!(late, Settled::Cancelled);
            assert_eq!((queue.result(id, None).await, queue.result(id, Some(1)).await), (None, None));
            assert!(queue.log(id, 1).await.is_some_and(|log| log == noise(size)), "the log of {size} bytes");
        }
        let by_another = queue.settle("b", &lease, Verdict::Done, Decision::Finish).await;
        assert_eq!(by_another, Settled::Stale);
        let after = queue.find(id).await;
        assert_eq!(
            (after.state, &after.verdict, after.finished_at),
            (State::Cancelled, &before.verdict, before.finished_at)
        );
    }
}

pub(super) async fn documents_and_logs_come_back_byte_for_byte(queue: &Subject<impl Backend>) {
    for size in [0, 1 << 10, 3 << 20] {
        for (document_size, log_size) in [(size, size), (100, size), (size, 0)] {
            let id = queue.submit(document()).await;
            let lease = queue.lease("a").await;
            let outcome = Outcome { document: json(document_size).into(), log: noise(log_size).into(), files: false };
            let settled = queue.settle_with("a", &lease, Verdict::Done, Decision::Finish, outcome).await;
            assert_eq!(settled, Settled::Counts);
            let (document, log) = (queue.document(id).await.unwrap(), queue.log(id, 1).await.unwrap_or_default());
            assert!(document == json(document_size), "{} of {document_size} bytes of document", document.len());
            assert!(log == noise(log_size), "{} of {log_size} bytes of log", log.len());
        }
    }
}

pub(super) async fn text_that_compresses_well_comes_back_as_well(queue: &Subject<impl Backend>) {
    let id = queue.submit(document()).await;
    let lease = queue.lease("a").await;
    let log = "a line that is logged again and again\n".repeat(80_000).into_bytes();
    let document = format!("[{}0]", "0,".repeat(2 << 20)).into_bytes();
    let outcome = Outcome { document: document.clone().into(), log: log.clone().into(), files: false };
    queue.settle_with("a", &lease, Verdict::Done, Decision::Finish, outcome).await;
    assert!(queue.document(id).await.is_some_and(|read| read == document));
    assert!(queue.log(id, 1).await.is_some_and(|read| read == log));
}

pub(super) async fn logs_of_failed_attempts_stay_readable(queue: &Subject<impl Backend>) {
    let id = queue.submit(document()).await;
    let mut leases = Vec::new();
    for end in [Decision::Retry(SECOND), Decision::Retry(SECOND), Decision::Finish] {
        let lease = queue.lease("a").await;
        let verdict = if end == Decision::Finish { Verdict::Done } else { failed() };
        assert_eq!(queue.settle("a", &lease, verdict, end).await, Settled::Counts);
        leases.push(lease);
        for lease in &leases {
            assert_eq!(queue.log(id, lease.attempt).await, Some(log_of(lease)));
        }
        queue.advance(SECOND).await;
    }
    assert_eq!(queue.document(id).await, Some(document_of(&leases[2])));
}

pub(super) async fn job_that_waits_for_a_retry_has_no_result(queue: &Subject<impl Backend>) {
    let id = queue.submit(document()).await;
    let lease = queue.lease("a").await;
    queue.fail("a", &lease).await;
    assert_eq!(queue.result(id, None).await, None);
    assert_eq!(queue.find(id).await.published, None);
}

pub(super) async fn log_of_a_running_attempt_is_what_was_reported(queue: &Subject<impl Backend>) {
    let elsewhere = queue.backend.elsewhere().await;
    let id = queue.submit(document()).await;
    let lease = queue.lease("a").await;
    let mut expected = Vec::new();
    for part in [b"one\n".to_vec(), vec![], noise(300_000), b"three\n".to_vec()] {
        queue.report_log("a", &lease, &part).await;
        expected.extend(part);
        let (log, is_complete) = whole_log(&*elsewhere, id, 1).await.unwrap();
        assert!(log == expected && !is_complete, "{} of {} bytes", log.len(), expected.len());
    }
    let piece = elsewhere.log(id, 1, expected.len() as u64 - 3).await.unwrap().unwrap();
    assert_eq!(piece, LogPiece { bytes: b"ee\n".to_vec(), is_last: false });
    queue.finish("a", &lease).await;
    assert_eq!(whole_log(&*elsewhere, id, 1).await, Some((log_of(&lease), true)), "the kept log takes its place");
}

pub(super) async fn log_is_read_from_the_byte_that_is_asked_for(queue: &Subject<impl Backend>) {
    let id = queue.submit(document()).await;
    let lease = queue.lease("a").await;
    let size = 3 << 20;
    let outcome = Outcome { log: noise(size).into(), ..outcome_of(&lease) };
    queue.settle_with("a", &lease, Verdict::Done, Decision::Finish, outcome).await;
    let log = noise(size);
    for from in [0, 1, 65_535, 65_536, 1 << 20, (1 << 20) + 1, size - 1, size, size + 1] {
        let piece = queue.queue().log(id, 1, from as u64).await.unwrap().unwrap();
        let rest = log.get(from..).unwrap_or_default();
        assert!(rest.starts_with(&piece.bytes), "from {from}");
        assert_eq!(piece.is_last, piece.bytes.len() == rest.len(), "from {from}");
        assert_eq!(piece.bytes.is_empty(), rest.is_empty(), "from {from}");
    }
    for from in [u64::MAX, i64::MAX as u64] {
        let piece = queue.queue().log(id, 1, from).await.unwrap();
        assert_eq!(piece, Some(LogPiece { bytes: vec![], is_last: true }));
    }
}

pub(super) async fn result_of_an_earlier_attempt_can_be_asked_for(queue: &Subject<impl Backend>) {
    let id = queue.submit(document()).await;
    let first = queue.lease("a").await;
    assert_eq!(queue.settle("a", &first, failed(), Decision::Bury).await, Settled::Counts);
    assert_eq!(queue.document(id).await, Some(document_of(&first)));
    assert_eq!(queue.act(id, &Action::Kick).await, Ok(State::Ready));
    assert_eq!(queue.result(id, Some(1)).await.unwrap().document, document_of(&first), "it stays");
    let second = queue.lease("a").await;
    queue.finish("a", &second).await;
    let published = queue.result(id, None).await.unwrap();
    assert_eq!((published.attempt, published.document), (2, document_of(&second)));
    let earlier = queue.result(id, Some(1)).await.unwrap();
    assert_eq!((earlier.attempt, earlier.document), (1, document_of(&first)));
}

pub(super) async fn deleting_a_job_removes_its_outcome_and_logs(queue: &Subject<impl Backend>) {
    let all = Retention { done: Some(Duration::ZERO), ..Retention::default() };
    for size in [1 << 10, 3 << 20] {
        for by_retention in [false, true] {
            let id = queue.submit(document()).await;
            let lease = queue.lease("a").await;
            queue.fail("a", &lease).await;
            queue.advance(SECOND).await;
            let lease = queue.lease("a").await;
            let outcome = Outcome { document: json(size).into(), log: noise(size).into(), files: false };
            queue.settle_with("a", &lease, Verdict::Done, Decision::Finish, outcome).await;
            assert!(queue.document(id).await.is_some());
            match by_retention {
                true => assert_eq!(queue.queue().forget(&all, 9).await.unwrap(), 1),
                false => assert_eq!(queue.act(id, &Action::Delete).await, Ok(State::Done)),
            }
            for attempt in 1..=2 {
                assert_eq!(queue.result(id, Some(attempt)).await, None);
                assert_eq!(queue.log(id, attempt).await, None);
            }
            assert_eq!(queue.result(id, None).await, None);
            let again = queue.settle("a", &lease, Verdict::Done, Decision::Finish).await;
            assert_eq!(again, Settled::Stale);
            assert_eq!((queue.document(id).await, queue.log(id, 2).await), (None, None), "it does not come back");
        }
    }
}

/// A job whose result is to be sent, done by its first attempt.
async fn done_with_url(queue: &Subject<impl Backend>) -> JobId {
    let url = Some("https://h.example/r".parse().unwrap());
    queue.ended(Document { result_url: url, ..document() }, Verdict::Done, Decision::Finish).await
}

/// The one result that is due.
async fn due(queue: &Subject<impl Backend>) -> Option<Delivery> {
    let mut due = queue.queue().deliveries(10 * SECOND, 9).await.unwrap();
    assert!(due.len() <= 1, "{due:?}");
    due.pop()
}

async fn delivery_state(queue: &Subject<impl Backend>, id: JobId) -> DeliveryState {
    queue.find(id).await.delivery.unwrap().state
}

pub(super) async fn result_of_an_ended_job_is_due_to_be_sent(queue: &Subject<impl Backend>) {
    queue.ended(document(), Verdict::Done, Decision::Finish).await;
    assert_eq!(due(queue).await, None, "it names no URL");
    let id = done_with_url(queue).await;
    let delivery = due(queue).await.unwrap();
    assert_eq!((delivery.id, delivery.attempt, delivery.tries), (id, 1, 0));
    assert_eq!(delivery.url.as_str(), "https://h.example/r");
    assert_eq!(due(queue).await, None, "it has been taken");
    assert_eq!(delivery_state(queue, id).await, DeliveryState::Pending);
    queue.queue().delivered(&delivery, Delivered::Yes).await.unwrap();
    assert_eq!(delivery_state(queue, id).await, DeliveryState::Delivered);
    queue.advance(11 * SECOND).await;
    assert_eq!(due(queue).await, None, "it has arrived");
}

pub(super) async fn delivery_of_a_dead_sender_is_due_again(queue: &Subject<impl Backend>) {
    let id = done_with_url(queue).await;
    let first = queue.queue().deliveries(SECOND, 9).await.unwrap().remove(0);
    queue.advance(2 * SECOND).await;
    let second = due(queue).await.unwrap();
    assert_eq!((second.id, second.tries, second.since), (id, 1, first.since));
    let failed = Delivered::GivenUp { reason: "too late".to_owned() };
    queue.queue().delivered(&first, failed).await.unwrap();
    assert_eq!(delivery_state(queue, id).await, DeliveryState::Pending, "the second sender has it");
    queue.queue().delivered(&first, Delivered::Yes).await.unwrap();
    assert_eq!(delivery_state(queue, id).await, DeliveryState::Delivered, "it has arrived all the same");
}

pub(super) async fn failed_delivery_is_due_again_after_a_while(queue: &Subject<impl Backend>) {
    let id = done_with_url(queue).await;
    let delivery = due(queue).await.unwrap();
    let again = Delivered::Again { after: 2 * SECOND, reason: "nobody listens".to_owned() };
    queue.queue().delivered(&delivery, again).await.unwrap();
    assert_eq!(due(queue).await, None);
    queue.advance(2 * SECOND).await;
    let delivery = due(queue).await.unwrap();
    assert_eq!(delivery.tries, 1);
    let untried = Delivered::Untried { after: SECOND };
    queue.queue().delivered(&delivery, untried).await.unwrap();
    queue.advance(SECOND).await;
    let delivery = due(queue).await.unwrap();
    assert_eq!(delivery.tries, 1, "it was not tried");
    let given_up = Delivered::GivenUp { reason: "410 Gone".to_owned() };
    queue.queue().delivered(&delivery, given_up).await.unwrap();
    queue.advance(11 * SECOND).await;
    assert_eq!(due(queue).await, None);
    let record = queue.find(id).await.delivery.unwrap();
    assert_eq!((record.state, record.reason.as_deref()), (DeliveryState::GivenUp, Some("410 Gone")));
}

pub(super) async fn job_is_kept_until_its_result_was_sent(queue: &Subject<impl Backend>) {
    let id = done_with_url(queue).await;
    let all = Retention { done: Some(Duration::ZERO), ..Retention::default() };
    assert_eq!(queue.queue().forget(&all, 9).await.unwrap(), 0);
    let delivery = due(queue).await.unwrap();
    assert_eq!(queue.queue().forget(&all, 9).await.unwrap(), 0, "it is on its way");
    queue.queue().delivered(&delivery, Delivered::Yes).await.unwrap();
    assert_eq!(queue.queue().forget(&all, 9).await.unwrap(), 1);
    assert_eq!(queue.queue().find(id).await.unwrap(), None);
}

pub(super) async fn newer_result_takes_the_place_of_an_unsent_one(queue: &Subject<impl Backend>) {
    let url = Some("https://h.example/r".parse().unwrap());
    let id = queue.ended(Document { result_url: url, ..document() }, failed(), Decision::Bury).await;
    assert_eq!(queue.act(id, &Action::Kick).await, Ok(State::Ready));
    let lease = queue.lease("a").await;
    queue.finish("a", &lease).await;
    let delivery = due(queue).await.unwrap();
    assert_eq!((delivery.id, delivery.attempt), (id, 2));
}
