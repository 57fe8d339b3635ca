//! What may happen to a queue.

use crate::job::{Document, Span, Tube, Unique, UniqueFor, When};
use proptest::prelude::*;
use std::ops::Range;
use std::time::Duration;

pub(super) const WORKERS: [&str; 3] = ["node1", "node10", "node2"];
pub(super) const TUBES: [&str; 2] = ["default", "night"];

pub(super) fn tube(index: usize) -> Tube {
    TUBES[index].parse().unwrap()
}

/// One thing that is done. Workers and tubes are places in their lists; jobs and claims are taken from all that
/// there ever were.
#[derive(Debug, Clone)]
pub(in crate::queue) enum Step {
    Submit(Box<Document>),
    SubmitAgain { job: prop::sample::Index, other: bool },
    Claim { worker: usize, tubes: Range<usize>, most: usize },
    Begin { claim: prop::sample::Index, worker: usize },
    Settle { claim: prop::sample::Index, worker: usize, end: End },
    GiveBack { claim: prop::sample::Index, worker: usize },
    Act { jobs: Vec<prop::sample::Index>, act: Act },
    Pause { tube: usize, seconds: Option<u64> },
    Resume { tube: usize },
    Unregister { worker: usize },
    Lose { worker: usize },
    Forget { seconds: u64 },
    Sleep(u64),
}

#[derive(Debug, Clone, Copy)]
pub(in crate::queue) enum End {
    Done,
    Failed { wait: u64 },
    Buried,
    Interrupted,
}

#[derive(Debug, Clone)]
pub(in crate::queue) enum Act {
    Cancel,
    Hold,
    Release,
    Kick,
    Delete,
    Update(Patch),
}

/// What is changed in a document; a delay may also be taken away.
#[derive(Debug, Clone)]
pub(in crate::queue) struct Patch {
    pub(super) priority: Option<u32>,
    pub(super) tube: Option<usize>,
    pub(super) delay: Option<Option<u64>>,
}

pub(super) fn span(seconds: u64) -> Span {
    Span(Duration::from_secs(seconds))
}

fn documents() -> impl Strategy<Value = Document> {
    let unique = prop::option::weighted(0.3, (0..2, prop::option::of(1..9_u64)));
    let place = (0..3_u32, 0..2_usize, prop::option::weighted(0.2, 0..3_usize));
    let times = (prop::option::weighted(0.4, 1..9_u64), prop::option::weighted(0.3, 1..9_u64));
    (place, times, unique, prop::bool::weighted(0.1), 1..3_u32).prop_map(
        |((priority, index, host), (delay, expires), unique, hold, max_attempts)| Document {
            priority,
            tube: tube(index),
            host: host.map(|host| WORKERS[host].to_owned()),
            delay: delay.map(span),
            expires: expires.map(|expires| When::After(span(expires))),
            unique: unique.map(|(key, period)| Unique {
                key: format!("key {key}"),
                period: period.map_or(UniqueFor::Done, |period| UniqueFor::For(span(period))),
            }),
            hold,
            max_attempts,
            ..super::super::document()
        },
    )
}

fn acts() -> impl Strategy<Value = Act> {
    let patch =
        (prop::option::of(0..3_u32), prop::option::of(0..2_usize), prop::option::of(prop::option::of(0..6_u64)));
    prop_oneof![
        2 => Just(Act::Cancel),
        2 => Just(Act::Hold),
        3 => Just(Act::Release),
        4 => Just(Act::Kick),
        2 => Just(Act::Delete),
        3 => patch.prop_map(|(priority, tube, delay)| Act::Update(Patch { priority, tube, delay })),
    ]
}

pub(in crate::queue) fn steps() -> impl Strategy<Value = Step> {
    let end = prop_oneof![
        2 => Just(End::Done),
        2 => (0..4_u64).prop_map(|wait| End::Failed { wait }),
        2 => Just(End::Buried),
        1 => Just(End::Interrupted),
    ];
    let tubes = prop_oneof![Just(0..1), Just(1..2), Just(0..2)];
    let one = any::<prop::sample::Index>;
    prop_oneof![
        6 => documents().prop_map(|document| Step::Submit(Box::new(document))),
        3 => (one(), any::<bool>()).prop_map(|(job, other)| Step::SubmitAgain { job, other }),
        8 => (0..3_usize, tubes, 0..4_usize).prop_map(|(worker, tubes, most)| Step::Claim { worker, tubes, most }),
        6 => (one(), 0..3_usize, end).prop_map(|(claim, worker, end)| Step::Settle { claim, worker, end }),
        4 => (one(), 0..3_usize).prop_map(|(claim, worker)| Step::Begin { claim, worker }),
        3 => (one(), 0..3_usize).prop_map(|(claim, worker)| Step::GiveBack { claim, worker }),
        7 => (prop::collection::vec(one(), 1..4), acts()).prop_map(|(jobs, act)| Step::Act { jobs, act }),
        1 => (0..2_usize, prop::option::of(0..5_u64)).prop_map(|(tube, seconds)| Step::Pause { tube, seconds }),
        1 => (0..2_usize).prop_map(|tube| Step::Resume { tube }),
        1 => (0..3_usize).prop_map(|worker| Step::Unregister { worker }),
        2 => (0..3_usize).prop_map(|worker| Step::Lose { worker }),
        1 => (0..6_u64).prop_map(|seconds| Step::Forget { seconds }),
        3 => (1..6_u64).prop_map(Step::Sleep),
    ]
}
