use super::*;
use crate::queue::Queue;
use crate::queue::sqlite::fixture::{Fixture, document, failed, worker};
use crate::queue::sqlite::ledger::tests::Strangers;

async fn act(fixture: &Fixture, id: JobId, action: &Action) -> Result<State, Refusal> {
    let mut acted = fixture.queue.act(&[id], action).await.unwrap();
    assert_eq!((acted.len(), acted[0].id), (1, id));
    acted.remove(0).outcome
}

#[tokio::test]
async fn no_number_of_kicks_is_too_many() {
    let fixture = Fixture::new();
    let id = fixture.submit(document()).await;
    let lease = fixture.claim("a").await.unwrap().lease;
    fixture.settle("a", &lease, failed(), Decision::Bury).await.unwrap();
    fixture.sql("UPDATE jobs SET kicks = 4294967295");
    assert_eq!(act(&fixture, id, &Action::Kick).await, Ok(State::Ready));
    let again = fixture.claim("a").await.unwrap();
    assert_eq!((again.granted, fixture.find(id).await.kicks), (u32::MAX, u32::MAX));
}

#[tokio::test]
async fn nothing_of_a_deleted_job_is_left_but_its_id() {
    let fixture = Fixture::new();
    let id = fixture.submit(Document { tags: vec!["a".to_owned()], ..document() }).await;
    let lease = fixture.claim("a").await.unwrap().lease;
    fixture.settle("a", &lease, Verdict::Done, Decision::Finish).await.unwrap();
    assert_eq!(act(&fixture, id, &Action::Delete).await, Ok(State::Done));
    fixture.queue.unregister(&worker("a")).await.unwrap();
    let connection = fixture.reader();
    for table in ["jobs", "documents", "tags", "attempts"] {
        let rows: u32 = connection.query_row(&format!("SELECT COUNT(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 0, "{table}");
    }
    assert_eq!(fixture.queue.forgotten(None, 9).await.unwrap().0, [id]);
}

#[tokio::test]
async fn a_job_that_cannot_be_read_can_only_be_deleted() {
    let fixture = Fixture::new();
    let id = fixture.submit(document()).await;
    fixture.sql("UPDATE documents SET json = CAST(x'ff' AS TEXT)");
    assert!(fixture.claim("a").await.is_none(), "it is buried");
    for action in [Action::Kick, Action::Update(serde_json::Map::new())] {
        let refusal = act(&fixture, id, &action).await.unwrap_err().to_string();
        assert!(refusal.contains("cannot be read") && refusal.ends_with("; delete it"), "{refusal}");
    }
    assert_eq!(act(&fixture, id, &Action::Delete).await, Ok(State::Dead));
    assert_eq!(fixture.queue.find(id).await.unwrap(), None);
}

#[tokio::test]
async fn nothing_is_done_to_a_servers_job_but_by_naming_the_server() {
    let fixture = Fixture::new();
    let strangers = Strangers::beside(&fixture).await;
    fixture.advance(std::time::Duration::from_secs(60));
    let patch = serde_json::json!({"priority": 5}).as_object().unwrap().clone();
    for action in [
        Action::Cancel { reason: String::new() },
        Action::Hold,
        Action::Release,
        Action::Kick,
        Action::Update(patch),
        Action::Delete,
    ] {
        for &id in strangers.ids() {
            let refusal = act(&fixture, id, &action).await.unwrap_err().to_string();
            assert_eq!(
                refusal,
                "it is a job of beanstalkd://127.0.0.1:11300; give --queue beanstalkd://127.0.0.1:11300"
            );
        }
    }
    assert!(fixture.claim("a").await.is_none());
    strangers.assert_unchanged(&fixture);
}

#[test]
fn finding_a_job_is_a_seek() {
    let plan = Fixture::new().plan(FIND);
    assert!(plan.contains("jobs USING INDEX sqlite_autoindex_jobs_1 (id=?)"), "{plan}");
}
