//! Jobs that the server has no more.

use super::*;

const WAITS: Unended = Unended { is_dead: false, is_missing: false };
const MISSING: Unended = Unended { is_dead: false, is_missing: true };
const DEAD: Unended = Unended { is_dead: true, is_missing: false };

#[tokio::test]
async fn a_job_that_is_missing_is_left_out_and_forgotten_unless_it_is_met_again() {
    let fixture = Fixture::new();
    let ledger = ledger(&fixture);
    let delayed = Document { delay: Some(Span(Duration::from_secs(3))), ..document() };
    let place = |number| Place { number, body: Digest::of(delayed.canonical()), counts: Counts::default() };
    let [gone, back, done] = std::array::from_fn(|_| JobId::new());
    for (id, number) in [(gone, 1), (back, 2), (done, 3)] {
        ledger.submitted(vec![(Submission { id, document: delayed.clone() }, place(number))]).await.unwrap();
    }
    fixture.advance(Duration::from_secs(3));
    let ended = run(&ledger, sighting(Some(done), &delayed, 3, 1)).await;
    end(&ledger, &ended, Verdict::Done, Decision::Finish).await;
    assert_eq!(ledger.unended(0, 1).await.unwrap(), (vec![(gone, place(1), WAITS)], Some(1)));
    assert_eq!(ledger.unended(1, 9).await.unwrap(), (vec![(back, place(2), WAITS)], Some(3)));
    assert_eq!(ledger.unended(3, 9).await.unwrap(), (vec![], None));
    let other = Place { body: Digest::of("another"), ..place(2) };
    ledger.miss(vec![(back, other)]).await.unwrap();
    assert_eq!(ledger.page(None, 9).await.unwrap().0.len(), 3, "that was another job");
    ledger.miss(vec![(gone, place(1)), (back, place(2)), (done, place(3))]).await.unwrap();
    assert_eq!(ledger.unended(0, 9).await.unwrap().0, [(gone, place(1), MISSING), (back, place(2), MISSING)]);
    let listed = async || ledger.page(None, 9).await.unwrap().0.iter().map(|one| one.record.id).collect::<Vec<_>>();
    assert_eq!(listed().await, [done]);
    let (record, _) = ledger.find(gone).await.unwrap().unwrap();
    assert_eq!((record.state, record.finished_at), (State::Ready, None));
    run(&ledger, sighting(Some(back), &delayed, 2, 1)).await;
    assert_eq!(listed().await, [back, done]);
    let hour = Duration::from_secs(3600);
    assert_eq!(ledger.forget_missing(hour, 9).await.unwrap(), 0);
    fixture.advance(hour);
    assert_eq!(ledger.forget_missing(hour, 9).await.unwrap(), 1);
    assert!(ledger.find(gone).await.unwrap().is_none());
    let again = ledger.sight(sighting(Some(gone), &delayed, 1, 1), &worker("a")).await.unwrap();
    assert!(matches!(again, Ruling::Run(_)), "the server has it after all: {again:?}");
}

#[tokio::test]
async fn a_dead_job_that_the_server_has_no_more_is_forgotten_once_it_was_kept_for_long_enough() {
    let fixture = Fixture::new();
    let (ledger, hour) = (ledger(&fixture), Duration::from_secs(3600));
    let [dead, done] = std::array::from_fn(|_| JobId::new());
    for (id, number, verdict, decision) in
        [(dead, 1, failed(), Decision::Bury), (done, 2, Verdict::Done, Decision::Finish)]
    {
        let claimed = run(&ledger, sighting(Some(id), &document(), number, 1)).await;
        end(&ledger, &claimed, verdict, decision).await;
    }
    let (unended, _) = ledger.unended(0, 9).await.unwrap();
    assert_eq!(unended.iter().map(|(id, _, stands)| (*id, *stands)).collect::<Vec<_>>(), [(dead, DEAD)]);
    let gone = unended.iter().map(|(id, place, _)| (*id, *place)).collect::<Vec<_>>();
    let forget = async |gone: Vec<_>| {
        ledger.miss_dead(gone, hour).await.unwrap();
        ledger.find(dead).await.unwrap().is_none()
    };
    fixture.advance(2 * hour);
    assert!(!forget(gone.clone()).await, "it was not missing for long enough");
    // The server had only been started without its binlog.
    ledger.found(vec![dead]).await.unwrap();
    fixture.advance(hour);
    assert!(!forget(gone.clone()).await, "it was missed for the first time");
    fixture.advance(hour);
    let other = Place { number: 7, ..gone[0].1 };
    assert!(!forget(vec![(dead, other), (done, gone[0].1)]).await, "that was another job");
    fixture.sql(
        "INSERT INTO deliveries VALUES (1, 1, zeroblob(16), 'https://h.example/', 'pending', 0, 1, 1, NULL, NULL)",
    );
    assert!(!forget(gone.clone()).await, "its result is still to be sent");
    fixture.sql("DELETE FROM deliveries");
    assert!(forget(gone).await);
    assert!(ledger.find(done).await.unwrap().is_some(), "it is not dead");
    // By that its results are found and removed.
    assert_eq!(fixture.queue.forgotten(None, 9).await.unwrap().0, [dead]);
}
