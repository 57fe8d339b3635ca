//! Jobs of a server, of every kind, beside those of the file's own queue.

use super::*;
use crate::queue::Claimed;

/// Who runs them.
const WORKER: &str = "stranger";

/// All that there is of them.
const ROWS: &str = "
    SELECT 'job', json_array(seq, hex(id), state, tube, host, priority, ready_at, expires_at, kicks, attempts, uncounted,
        hex(worker), started_at, finished_at, verdict, published, hex(submitted_as), (SELECT json FROM documents
            WHERE documents.seq = jobs.seq), (SELECT json_group_array(tag) FROM tags WHERE tags.seq = jobs.seq))
        FROM jobs WHERE unicode(host) IS 1
    UNION ALL SELECT 'place', json_array(seq, server, number, hex(body), reserves, releases, timeouts, kicks) FROM placed
    UNION ALL SELECT 'end', json_array(seq, attempt, decision, committed) FROM settling
    UNION ALL SELECT 'attempt', json_array(seq, attempt, worker, started_at, finished_at, verdict, usage)
        FROM attempts JOIN placed USING (seq)
    UNION ALL SELECT 'count', json_array(tube, host, state, jobs) FROM counts WHERE unicode(host) IS 1
    ORDER BY 1, 2";

/// What a file knows of the jobs of a server.
pub(in crate::queue::sqlite) struct Strangers {
    ids: Vec<JobId>,
    before: Vec<String>,
}

impl Strangers {
    /// Has the file know of some.
    pub(in crate::queue::sqlite) async fn beside(fixture: &Fixture) -> Self {
        let ledger = ledger(fixture);
        let mut ids = Vec::new();
        let tagged = || Document { tags: vec!["a".to_owned()], ..document() };
        for (number, document) in (1..).zip([
            tagged(),
            Document { priority: 0, ..tagged() },
            Document { delay: Some(Span(Duration::from_secs(1))), ..tagged() },
            Document { expires: Some("1s".parse().unwrap()), ..tagged() },
        ]) {
            let id = JobId::new();
            let place = Place { number, body: Digest::of(document.canonical()), counts: Counts::default() };
            ledger.submitted(vec![(Submission { id, document }, place)]).await.unwrap();
            ids.push(id);
        }
        let given_back = JobId::new();
        ledger.given_back(sighting(Some(given_back), &document(), 10, 1)).await.unwrap();
        for (number, verdict, decision) in [
            (11, Verdict::Done, Decision::Finish),
            (12, failed(), Decision::Bury),
            (13, failed(), Decision::Retry(Duration::from_secs(1))),
        ] {
            let lease = run_as_stranger(&ledger, number).await.lease;
            begin(&ledger, &lease, verdict, decision).await;
            ledger.commit(&lease, &worker(WORKER)).await.unwrap();
            ids.push(lease.id);
        }
        let cancelled = run_as_stranger(&ledger, 14).await.lease.id;
        ledger.cancelled(cancelled, "it is enough").await.unwrap();
        let running = run_as_stranger(&ledger, 15).await.lease.id;
        let ending = run_as_stranger(&ledger, 16).await.lease;
        begin(&ledger, &ending, Verdict::Done, Decision::Finish).await;
        ids.extend([given_back, cancelled, running, ending.id]);
        // The statistics are of all attempts from here, and not what this is about.
        fixture.sql("DELETE FROM endings; DELETE FROM timings");
        Self { ids, before: rows(fixture) }
    }

    pub(in crate::queue::sqlite) fn ids(&self) -> &[JobId] {
        &self.ids
    }

    /// Nothing of it has changed.
    pub(in crate::queue::sqlite) fn assert_unchanged(&self, fixture: &Fixture) {
        assert_eq!(rows(fixture), self.before);
    }
}

async fn run_as_stranger(ledger: &Ledger, number: u64) -> Claimed {
    match ledger.sight(sighting(None, &document(), number, 1), &worker(WORKER)).await.unwrap() {
        Ruling::Run(claimed) => *claimed,
        ruling => panic!("it is not run: {ruling:?}"),
    }
}

async fn begin(ledger: &Ledger, lease: &crate::queue::Lease, verdict: Verdict, decision: Decision) {
    let settlement = Settlement { verdict, decision, usage: Usage::default(), published: true };
    ledger.begin(&worker(WORKER), lease, settlement, 1).await.unwrap();
}

fn rows(fixture: &Fixture) -> Vec<String> {
    let connection = fixture.reader();
    let mut statement = connection.prepare(ROWS).unwrap();
    let rows = statement.query_map([], |row| Ok(format!("{} {}", row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
    rows.unwrap().map(Result::unwrap).collect()
}
