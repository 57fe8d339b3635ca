use super::*;
use crate::queue::Queue;
use crate::queue::sqlite::fixture::{Fixture, document, failed, worker};

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

#[test]
fn finding_a_job_is_a_seek() {
    let plan = Fixture::new().plan(FIND);
    assert!(plan.contains("jobs USING INDEX sqlite_autoindex_jobs_1 (id=?)"), "{plan}");
}
