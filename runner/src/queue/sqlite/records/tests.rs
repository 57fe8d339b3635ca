use super::*;
use crate::queue::sqlite::fixture::{Fixture, document};
use crate::queue::{Filter, Queue};

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

#[test]
fn the_next_job_to_become_due_is_the_first_in_an_index() {
    let plan = Fixture::new().plan(NEXT_DUE);
    assert!(plan.contains("jobs USING INDEX jobs_delayed (ready_at>?)"), "{plan}");
    assert!(!plan.contains("SCAN") && !plan.contains("TEMP"), "{plan}");
}
