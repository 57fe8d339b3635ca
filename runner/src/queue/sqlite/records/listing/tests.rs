use super::*;
use crate::job::{Document, JobId, State, Tube};
use crate::queue::Queue;
use crate::queue::sqlite::fixture::{Fixture, document};
use crate::queue::sqlite::records::expired;
use std::time::Duration;
use walk::Walk;

async fn all(fixture: &Fixture, filter: &Filter, limit: usize) -> Vec<JobId> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = fixture.queue.list(filter, after, limit).await.unwrap();
        assert!(page.len() <= limit && page.iter().all(|record| record.history.is_none()));
        ids.extend(page.iter().map(|record| record.id));
        match next {
            Some(_) => after = next,
            None => return ids,
        }
    }
}

#[tokio::test]
async fn pages_of_any_size_hold_every_job_once_in_order_of_submission() {
    let fixture = Fixture::new();
    let mut ids = Vec::new();
    for hold in [true, false, false, true, true, false, true] {
        ids.push(fixture.submit(Document { hold, ..document() }).await);
    }
    fixture.claim("a").await.unwrap();
    for limit in [1, 2, 3, 7, 8] {
        assert_eq!(all(&fixture, &Filter::default(), limit).await, ids);
        let states = vec![State::Running, State::Held, State::Held];
        let held_or_running = [ids[0], ids[1], ids[3], ids[4], ids[6]];
        assert_eq!(all(&fixture, &Filter { states, ..Filter::default() }, limit).await, held_or_running);
    }
    assert_eq!(fixture.queue.list(&Filter::default(), Some(u64::MAX), 9).await.unwrap(), (vec![], None));
    assert_eq!(fixture.queue.list(&Filter::default(), None, usize::MAX).await.unwrap().0.len(), ids.len());
    assert_eq!(fixture.queue.list(&Filter::default(), None, 0).await.unwrap(), (vec![], None));
}

#[tokio::test]
async fn a_listing_can_be_narrowed_by_everything_at_once() {
    let fixture = Fixture::new();
    let tagged = |tags: &[&str]| tags.iter().map(|&tag| tag.to_owned()).collect::<Vec<_>>();
    let tube: Tube = "night".parse().unwrap();
    fixture.submit(Document { tags: tagged(&["a"]), ..document() }).await;
    fixture.submit(Document { tags: tagged(&["a"]), tube: tube.clone(), hold: true, ..document() }).await;
    let wanted = Document { tags: tagged(&["b", "a", "b"]), tube: tube.clone(), ..document() };
    let wanted = fixture.submit(wanted).await;
    fixture.submit(Document { tube: tube.clone(), ..document() }).await;
    let filter = Filter {
        states: vec![State::Ready],
        tubes: vec![tube],
        algorithm: Some("x".parse().unwrap()),
        tags: vec!["a".to_owned()],
        ..Filter::default()
    };
    assert_eq!(all(&fixture, &filter, 1).await, [wanted]);
    let injected = Filter { tags: vec!["a' OR 1=1 --".to_owned()], ..Filter::default() };
    assert!(all(&fixture, &injected, 1).await.is_empty());
}

#[tokio::test]
async fn a_job_that_has_expired_is_cancelled_though_no_worker_has_come_by() {
    let fixture = Fixture::new();
    let expires = Some("10s".parse().unwrap());
    let delay = Some("1h".parse().unwrap());
    let ready = fixture.submit(Document { expires, ..document() }).await;
    let others = [
        fixture.submit(Document { expires, hold: true, ..document() }).await,
        fixture.submit(Document { expires, delay, ..document() }).await,
    ];
    let lasting = fixture.submit(document()).await;
    let waiting = Filter { states: vec![State::Held, State::Delayed, State::Ready], ..Filter::default() };
    let cancelled = Filter { states: vec![State::Cancelled], ..Filter::default() };
    let everything = [ready, others[0], others[1], lasting];
    fixture.advance(Duration::from_millis(9_999));
    assert_eq!(all(&fixture, &waiting, 1).await, everything);
    assert_eq!(fixture.find(ready).await.state, State::Ready);
    fixture.advance(Duration::from_millis(1));
    assert_eq!(all(&fixture, &waiting, 1).await, [lasting]);
    assert_eq!(all(&fixture, &cancelled, 1).await, everything[..3]);
    assert_eq!(all(&fixture, &Filter::default(), 1).await, everything);
    for id in &everything[..3] {
        let record = fixture.find(*id).await;
        assert_eq!((record.state, record.verdict), (State::Cancelled, Some(expired())));
        assert_eq!(record.finished_at.unwrap().duration_since(record.submitted_at).as_secs(), 10);
    }
    let (listed, _) = fixture.queue.list(&cancelled, None, 1).await.unwrap();
    assert_eq!(listed[0].state, State::Cancelled);
}

#[tokio::test]
async fn a_page_of_large_documents_ends_early_and_goes_on() {
    let fixture = Fixture::new();
    let data = format!("data:,{}", "x".repeat((2 << 20) - 10));
    let large = Document { input: Some(crate::job::Input::One(data.parse().unwrap())), ..document() };
    fixture.submit_all(vec![large; 40]).await;
    let (page, next) = fixture.queue.list(&Filter::default(), None, 40).await.unwrap();
    assert!(page.len() < 40 && next.is_some());
    assert_eq!(all(&fixture, &Filter::default(), 40).await.len(), 40);
}

#[tokio::test]
async fn a_page_ends_once_enough_jobs_were_looked_at_and_says_where_to_go_on() {
    let fixture = Fixture::new();
    let mut ids = fixture.submit_all(vec![document(); 9]).await;
    let night = Document { tube: "night".parse().unwrap(), hold: true, ..document() };
    ids.push(fixture.submit(night).await);
    let connection = fixture.reader();
    let filter = Filter { tubes: vec!["night".parse().unwrap()], ..Filter::default() };
    let (mut after, mut pages, mut found) = (None, 0, Vec::new());
    loop {
        let (records, next) = page(&connection, &filter, after, 100, 0, 4).unwrap();
        (pages, after) = (pages + 1, next);
        found.extend(records.iter().map(|record| record.id));
        if next.is_none() {
            break;
        }
    }
    assert_eq!((pages, found), (3, vec![ids[9]]));
    // Of the states, the one whose walk has come the least far says how far the page has come.
    let filter = Filter { states: vec![State::Ready, State::Held], ..Filter::default() };
    let (records, next) = page(&connection, &filter, None, 100, 0, 4).unwrap();
    assert_eq!((records.len(), next), (4, Some(4)));
}

#[test]
fn a_listing_by_state_or_tag_or_time_is_a_walk_along_an_index() {
    let fixture = Fixture::new();
    for (walk, step) in [
        (Walk::In(State::Ready), "jobs USING INDEX jobs_state (state=? AND rowid>?)"),
        (Walk::Tagged("a"), "tags USING PRIMARY KEY (tag=? AND seq>?)"),
        (Walk::All, "jobs USING INTEGER PRIMARY KEY (rowid>?)"),
    ] {
        let plan = fixture.plan(&walk.sql());
        assert!(plan.contains(step) && !plan.contains("SCAN jobs") && !plan.contains("ORDER BY"), "{walk:?}: {plan}");
    }
    for (walk, step) in [
        (
            Walk::Ended(State::Done),
            "jobs USING COVERING INDEX jobs_ended (state=? AND finished_at>? AND finished_at<?)",
        ),
        (Walk::Expired, "jobs USING COVERING INDEX jobs_expiring (expires_at>? AND expires_at<?)"),
    ] {
        let plan = fixture.plan(&walk.sql());
        assert!(plan.contains(step) && !plan.contains("SCAN jobs"), "{walk:?}: {plan}");
    }
}

mod property;
