//! What is held against a job that is to be tried once more.

use crate::queue::sqlite::fault::Fault;
use rusqlite::Connection;

const HERE: &str = "
    SELECT COUNT(*) FILTER (WHERE kind NOT IN ('lost', 'interrupted')), COUNT(*) FILTER (WHERE kind = 'lost')
    FROM (SELECT json_extract(verdict, '$.kind') AS kind FROM attempts WHERE seq = ?1)";

/// How many attempts are spent for certain: those that this file knows to have failed, and those that died with their
/// worker, of which the server has counted `deaths`, our own among them unless it was started again since.
///
/// What ended at other nodes in another way is not known here. It may have been nobody's fault, so no job is buried for it
/// before it was tried once more.
pub(super) fn spent(connection: &Connection, seq: i64, deaths: u32) -> Result<u32, Fault> {
    let (failed, lost): (u32, u32) =
        connection.prepare_cached(HERE)?.query_row([seq], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(failed.saturating_add(deaths.max(lost)))
}
