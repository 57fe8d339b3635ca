//! What SQLite does for the ledger's statements.

use super::*;

#[test]
fn no_step_of_a_ledger_looks_at_more_jobs_than_it_needs() {
    let fixture = Fixture::new();
    for (sql, steps) in [
        (entry::BY_ID, &["jobs USING INDEX sqlite_autoindex_jobs_1 (id=?)", "placed USING INTEGER PRIMARY KEY"][..]),
        (entry::PAGE, &["placed USING INTEGER PRIMARY KEY (rowid>?)", "jobs USING INTEGER PRIMARY KEY (rowid=?)"]),
        (entry::NUMBERED, &["placed USING COVERING INDEX placed_number (server=? AND number=?)"]),
        (identity::KNOWN, &["jobs USING INDEX sqlite_autoindex_jobs_1 (id=?)", "placed USING INTEGER PRIMARY KEY"]),
        (identity::SAME, &["placed USING INDEX placed_number (server=? AND number=?)"]),
        (missing::MISS, &["jobs USING INDEX sqlite_autoindex_jobs_1 (id=?)", "placed USING INTEGER PRIMARY KEY"]),
        (missing::UNENDED, &["placed USING INTEGER PRIMARY KEY (rowid>?)", "jobs USING INTEGER PRIMARY KEY (rowid=?)"]),
        (missing::MISSING, &["jobs USING INDEX placed_ended (host=? AND state=? AND finished_at<?)"]),
        (unreadable::FORGET, &["unreadable USING PRIMARY KEY (server=? AND number=?)"]),
    ] {
        let plan = fixture.plan(sql);
        assert!(steps.iter().all(|step| plan.contains(step)), "{sql}: {plan}");
        assert!(!plan.contains("SCAN") && !plan.contains("TEMP"), "{sql}: {plan}");
    }
    // Of attempts that run or end there are no more than workers have slots.
    for (sql, first) in [(ending::OPEN, "SCAN settling; "), (ending::RUNNING, "SEARCH jobs USING INDEX jobs_running")] {
        let plan = fixture.plan(sql);
        assert!(plan.starts_with(first) && plan.matches("SCAN").count() < 2, "{sql}: {plan}");
        assert!(plan.contains("placed USING INTEGER PRIMARY KEY"), "{sql}: {plan}");
    }
}
