use super::*;
use crate::job::{Decision, Span, Tube, Verdict, When};
use crate::queue::Jobs;
use crate::queue::sqlite::fixture::{Fixture, document, failed};
use jiff::SignedDuration;
use proptest::prelude::*;
use proptest::sample::subsequence;
use std::time::Duration;

#[tokio::test]
async fn a_damaged_row_is_an_error_that_names_the_job() {
    for damage in [
        "UPDATE documents SET json = 'null'",
        "UPDATE documents SET json = CAST(x'ff' AS TEXT)",
        "UPDATE jobs SET verdict = '{\"kind\": \"excellent\"}'",
        "UPDATE jobs SET submitted_at = 9223372036854775807",
        "UPDATE jobs SET attempts = -1",
        "PRAGMA ignore_check_constraints = 1; UPDATE jobs SET state = 'lost at sea'",
    ] {
        let fixture = Fixture::new();
        let id = fixture.submit(document()).await;
        fixture.sql(damage);
        let message = fixture.queue.find(id).await.unwrap_err().to_string();
        assert!(message.contains("queue.db: "), "{message}");
        assert!(fixture.queue.list(&Filter::default(), None, 9).await.is_err(), "{damage}");
    }
}

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
        assert_eq!((record.state, record.verdict), (State::Cancelled, Some(settle::expired())));
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

const WORKERS: [&str; 2] = ["node1", "node10"];
const TUBES: [&str; 2] = ["default", "night"];
const ALGORITHMS: [&str; 2] = ["x", "y"];
const TAGS: [&str; 3] = ["a", "b", "c"];
const KINDS: [&str; 4] = ["done", "failed", "cancelled", "interrupted"];
/// Of the fixture's clock, in milliseconds.
const START: i64 = 1_800_000_000_000;

#[derive(Debug, Clone)]
enum Step {
    Submit(Box<Document>),
    Work { worker: usize, end: Option<usize> },
    Sleep(u64),
}

fn documents() -> impl Strategy<Value = Document> {
    let names = (0..2_usize, 0..2_usize, prop::option::of(0..2_usize), subsequence(TAGS.to_vec(), 0..=3));
    let times = (prop::option::weighted(0.4, 1..4_u64), prop::option::weighted(0.2, 1..4_u64));
    let seconds = |seconds| Span(Duration::from_secs(seconds));
    (names, times, prop::bool::weighted(0.2)).prop_map(
        move |((tube, algorithm, host, tags), (expires, delay), hold)| Document {
            tube: TUBES[tube].parse().unwrap(),
            host: host.map(|host| WORKERS[host].to_owned()),
            tags: tags.into_iter().map(str::to_owned).collect(),
            expires: expires.map(|expires| When::After(seconds(expires))),
            delay: delay.map(seconds),
            hold,
            ..Document::new(ALGORITHMS[algorithm].parse().unwrap())
        },
    )
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => documents().prop_map(|document| Step::Submit(Box::new(document))),
        4 => (0..2_usize, prop::option::weighted(0.8, 0..4_usize)).prop_map(|(worker, end)| Step::Work { worker, end }),
        2 => (1..1_500_u64).prop_map(Step::Sleep),
    ]
}

fn times() -> impl Strategy<Value = Times> {
    // Finer than what is kept, so that a moment within a millisecond is asked for as well.
    let moment = || {
        let moment = |(micros, is_whole)| {
            let micros: i64 = if is_whole { micros / 1000 * 1000 } else { micros };
            Timestamp::from_millisecond(START).unwrap() + SignedDuration::from_micros(micros)
        };
        prop::option::weighted(0.4, (0..8_000_000_i64, any::<bool>()).prop_map(moment))
    };
    (moment(), moment()).prop_map(|(since, before)| Times { since, before })
}

fn filters() -> impl Strategy<Value = Filter> {
    let some = |values: &[&str]| {
        prop::option::weighted(
            0.2,
            prop::sample::select(values.iter().map(|&value| value.to_owned()).collect::<Vec<_>>()),
        )
    };
    let many = |values: &[&str], likely: f64| {
        let values: Vec<_> = values.iter().map(|&value| value.to_owned()).collect();
        let most = values.len();
        prop::option::weighted(likely, subsequence(values, 0..=most)).prop_map(Option::unwrap_or_default)
    };
    let states =
        prop::option::weighted(0.5, subsequence(State::ALL.to_vec(), 0..=3)).prop_map(Option::unwrap_or_default);
    let names = (many(&TUBES, 0.3), some(&ALGORITHMS), many(&TAGS, 0.3), some(&WORKERS), some(&WORKERS));
    (states, names, many(&KINDS, 0.3), times(), times()).prop_map(
        |(states, (tubes, algorithm, tags, host, worker), verdicts, submitted, finished)| Filter {
            states,
            tubes: tubes.iter().map(|tube| tube.parse().unwrap()).collect(),
            algorithm: algorithm.map(|algorithm| algorithm.parse().unwrap()),
            tags,
            host,
            worker,
            verdicts,
            submitted,
            finished,
        },
    )
}

fn fits(record: &Record, filter: &Filter) -> bool {
    let document = &record.document;
    let any = |given: &[String], wanted: &str| given.iter().any(|one| one == wanted);
    let within = |time: Option<Timestamp>, times: Times| match time {
        Some(time) => times.since.is_none_or(|since| time >= since) && times.before.is_none_or(|before| time < before),
        None => times == Times::default(),
    };
    (filter.states.is_empty() || filter.states.contains(&record.state))
        && (filter.tubes.is_empty() || filter.tubes.contains(&document.tube))
        && filter.algorithm.as_ref().is_none_or(|algorithm| document.algorithm.name == *algorithm)
        && filter.tags.iter().all(|tag| document.tags.contains(tag))
        && (filter.host.is_none() || filter.host == document.host)
        && filter
            .worker
            .as_ref()
            .is_none_or(|worker| record.history.iter().flatten().any(|attempt| attempt.worker == *worker))
        && (filter.verdicts.is_empty()
            || record.verdict.as_ref().is_some_and(|verdict| any(&filter.verdicts, verdict.kind())))
        && within(Some(record.submitted_at), filter.submitted)
        && within(record.finished_at, filter.finished)
}

async fn live(fixture: &Fixture, steps: Vec<Step>) -> Vec<Record> {
    let mut ids = Vec::new();
    for step in steps {
        match step {
            Step::Submit(document) => ids.push(fixture.submit(*document).await),
            Step::Sleep(millis) => fixture.advance(Duration::from_millis(millis)),
            Step::Work { worker, end } => {
                let Some(claimed) = fixture.claim(WORKERS[worker]).await else { continue };
                let message = String::new();
                let (verdict, decision) = match end {
                    None => continue,
                    Some(0) => (Verdict::Done, Decision::Finish),
                    Some(1) => (failed(), Decision::Bury),
                    Some(2) => (Verdict::Cancelled { message }, Decision::Cancel),
                    Some(_) => (Verdict::Interrupted { message }, Decision::Retry(Duration::ZERO)),
                };
                fixture.settle(WORKERS[worker], &claimed.lease, verdict, decision).await.unwrap();
            }
        }
    }
    let mut records = Vec::new();
    for id in ids {
        records.push(fixture.find(id).await);
    }
    records
}

fn check(fixture: &Fixture, records: &[Record], filter: &Filter) {
    let expected: Vec<_> = records.iter().filter(|record| fits(record, filter)).collect();
    let (connection, now) = (fixture.reader(), fixture.now().as_millisecond());
    for (limit, most) in [(1, 1), (1, 100), (2, 3), (3, 2), (7, 5), (100, 4), (100, 100)] {
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let (records, next) = page(&connection, filter, after, limit, now, most).unwrap();
            assert!(records.len() <= limit && (next.is_none() || next > after), "it goes on");
            listed.extend(records);
            after = next;
            if after.is_none() {
                break;
            }
        }
        let listed: Vec<_> = listed.iter().map(|record| (record.id, record.state)).collect();
        let expected: Vec<_> = expected.iter().map(|record| (record.id, record.state)).collect();
        assert_eq!(listed, expected, "pages of {limit}, of {most} jobs that were looked at");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_listing_is_what_the_filter_leaves_of_all_records_whatever_the_pages(
        steps in prop::collection::vec(steps(), 1..30),
        filters in prop::collection::vec(filters(), 12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new();
            let records = live(&fixture, steps).await;
            for filter in &filters {
                check(&fixture, &records, filter);
            }
        });
    }
}
