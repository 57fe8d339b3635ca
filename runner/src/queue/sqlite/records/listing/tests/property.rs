//! Any filter over any jobs, against the same filter over all records in memory.

use super::super::*;
use crate::job::{Decision, Document, Span, State, Verdict, When};
use crate::queue::Times;
use crate::queue::sqlite::fixture::{Fixture, failed};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::sample::subsequence;
use std::time::Duration;

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
