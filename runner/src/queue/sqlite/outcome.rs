//! What attempts leave: result documents and logs.
//!
//! One of at most 1 MiB is a blob in the attempt's row of `outcomes`, which the settling commit writes. A
//! larger one is written before, in pieces of 1 MiB each, and the row makes them visible. Pieces without a
//! row are leftovers. A blob is deflated where that makes it smaller; then it is shorter than the size
//! beside it.

use super::columns::integer;
use super::fault::Fault;
use crate::job::JobId;
use crate::queue::{LogPiece, Outcome, Published};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, named_params};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::sync::Arc;

/// The most bytes of a document or a log in one blob, and in one answer about a log.
pub(super) const PIECE: usize = 1 << 20;
/// Fewer bytes are not deflated.
const WORTHWHILE: usize = 256;
/// So many bytes are deflated on the caller's thread.
const QUICK: usize = 64 << 10;
/// So large a document is read on the caller's thread.
pub(super) const SMALL: usize = 64 << 10;
/// What running attempts have logged is kept up to this size, the largest that a log may have.
const LIVE: i64 = 16 << 20;

const KEEP: &str = "
    INSERT INTO outcomes (seq, attempt, settled_at, files, document_size, log_size, document, log)
    VALUES (:seq, :attempt, :now, :files, :document_size, :log_size, :document, :log)";

const KEEP_PIECE: &str = "
    INSERT OR REPLACE INTO pieces (seq, attempt, kind, place, size, bytes)
    VALUES (:seq, :attempt, :kind, :place, :size, :bytes)";

const WRITTEN: &str = "
    SELECT COALESCE(SUM(size), 0) FROM pieces WHERE seq = ?1 AND attempt = ?2 AND kind = ?3";

const DROP_PIECES: &str = "DELETE FROM pieces WHERE seq = ?1 AND attempt = ?2 AND kind = ?3";
const DROP_LIVE: &str = "DELETE FROM live WHERE seq = ?1 AND attempt = ?2";

const LIVE_SIZE: &str = "
    SELECT place + length(bytes) FROM live WHERE seq = ?1 AND attempt = ?2 ORDER BY place DESC LIMIT 1";

const APPEND_LIVE: &str = "INSERT INTO live (seq, attempt, place, bytes) VALUES (?1, ?2, ?3, ?4)";

/// The document that counts. A job of an old version has no row in `outcomes`.
const COUNTING: &str = "
    SELECT jobs.seq, published, COALESCE(settled_at, finished_at), outcomes.seq IS NULL, files, public_url, document_size,
        document
    FROM jobs LEFT JOIN outcomes ON outcomes.seq = jobs.seq AND outcomes.attempt = published
    WHERE id = :id AND state IN ('done', 'dead') AND published IS NOT NULL";

/// The document of any attempt. One of an old version has no row in `outcomes` either, but ended by itself.
const OF_ATTEMPT: &str = "
    SELECT jobs.seq, attempts.attempt, COALESCE(settled_at, attempts.finished_at), outcomes.seq IS NULL, files, public_url,
        document_size, document
    FROM jobs JOIN attempts ON attempts.seq = jobs.seq AND attempts.attempt = :attempt
        LEFT JOIN outcomes ON outcomes.seq = jobs.seq AND outcomes.attempt = attempts.attempt
    WHERE id = :id AND attempts.finished_at IS NOT NULL
        AND (outcomes.seq IS NOT NULL OR attempts.verdict ->> 'kind' NOT IN ('lost', 'interrupted', 'cancelled'))";

const PIECES: &str = "
    SELECT size, bytes FROM pieces WHERE seq = ?1 AND attempt = ?2 AND kind = 'document' ORDER BY place";

const LOG: &str = "
    SELECT jobs.seq, attempts.finished_at IS NULL, log_size, log
    FROM jobs JOIN attempts ON attempts.seq = jobs.seq AND attempts.attempt = :attempt
        LEFT JOIN outcomes ON outcomes.seq = jobs.seq AND outcomes.attempt = attempts.attempt
    WHERE id = :id";

const LOG_PIECE: &str = "
    SELECT size, bytes FROM pieces WHERE seq = ?1 AND attempt = ?2 AND kind = 'log' AND place = ?3";

const LIVE_PIECES: &str = "
    SELECT place, bytes FROM live WHERE seq = :seq AND attempt = :attempt AND place >= COALESCE((
        SELECT MAX(place) FROM live WHERE seq = :seq AND attempt = :attempt AND place <= :from), 0)
    ORDER BY place";

/// Leftovers: pieces of attempts that have ended long ago, and not with an outcome. A piece of each is
/// looked at.
const LEFTOVERS: &str = "
    SELECT pieces.rowid, pieces.seq, pieces.attempt,
        NOT EXISTS (SELECT 1 FROM outcomes WHERE outcomes.seq = pieces.seq AND outcomes.attempt = pieces.attempt)
        AND EXISTS (SELECT 1 FROM attempts WHERE attempts.seq = pieces.seq AND attempts.attempt = pieces.attempt
            AND finished_at < :before)
    FROM pieces WHERE pieces.rowid > :after ORDER BY pieces.rowid LIMIT :most";

/// A document or a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Document,
    Log,
}

impl Kind {
    const ALL: [Kind; 2] = [Kind::Document, Kind::Log];

    fn as_str(self) -> &'static str {
        match self {
            Kind::Document => "document",
            Kind::Log => "log",
        }
    }

    /// The one of this name.
    pub(super) fn named(name: &str) -> Result<Self, Fault> {
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == name);
        kind.ok_or_else(|| Fault::corrupt("a kind of pieces", name))
    }
}

/// A document or a log on its way into the queue.
pub(super) struct Packed {
    size: usize,
    /// None if it is in pieces.
    blob: Option<Vec<u8>>,
}

impl Packed {
    /// A part of this size, packed here; without bytes it is in pieces.
    fn of(size: usize, bytes: Option<&[u8]>) -> Self {
        Self { size, blob: bytes.map(deflated) }
    }
}

/// An outcome on its way into the queue.
pub(super) struct Parcel {
    document: Packed,
    log: Packed,
    files: bool,
}

impl Parcel {
    /// What an export has: the size of each part, and its bytes unless they are in pieces.
    pub(super) fn imported(document: (usize, Option<&[u8]>), log: (usize, Option<&[u8]>), files: bool) -> Self {
        Self { document: Packed::of(document.0, document.1), log: Packed::of(log.0, log.1), files }
    }

    /// Packs what fits into a row; the rest is to be written in pieces before.
    pub(super) async fn pack(outcome: &Outcome) -> Self {
        let pack = async |bytes: &Arc<[u8]>| Packed {
            size: bytes.len(),
            blob: if bytes.len() > PIECE { None } else { Some(packed(bytes, 0).await) },
        };
        Self { document: pack(&outcome.document).await, log: pack(&outcome.log).await, files: outcome.files }
    }

    /// Whether anything of it is in pieces.
    pub(super) fn has_pieces(&self) -> bool {
        self.document.blob.is_none() || self.log.blob.is_none()
    }
}

/// The parts of an outcome that do not fit into a row.
pub(super) fn large(outcome: &Outcome) -> impl Iterator<Item = (Kind, &Arc<[u8]>)> {
    [(Kind::Document, &outcome.document), (Kind::Log, &outcome.log)]
        .into_iter()
        .filter(|(_, bytes)| bytes.len() > PIECE)
}

/// A piece on its way into the queue.
pub(super) struct Piece {
    kind: Kind,
    place: i64,
    size: usize,
    bytes: Vec<u8>,
}

impl Piece {
    /// The piece of `whole` at this place, if it has one there.
    pub(super) async fn at(kind: Kind, whole: &Arc<[u8]>, place: usize) -> Option<Self> {
        let from = place.checked_mul(PIECE).filter(|from| *from < whole.len())?;
        let size = PIECE.min(whole.len() - from);
        Some(Self { kind, place: integer(place), size, bytes: packed(whole, from).await })
    }

    /// A piece of an export.
    pub(super) fn imported(kind: Kind, place: u32, bytes: &[u8]) -> Self {
        Self { kind, place: place.into(), size: bytes.len(), bytes: deflated(bytes) }
    }

    /// Writes it, in place of one that was written before.
    pub(super) fn keep(&self, connection: &Connection, seq: i64, attempt: u32) -> Result<(), Fault> {
        connection.prepare_cached(KEEP_PIECE)?.execute(named_params! {
            ":seq": seq, ":attempt": attempt, ":kind": self.kind.as_str(), ":place": self.place,
            ":size": integer(self.size), ":bytes": self.bytes,
        })?;
        Ok(())
    }
}

/// A piece of `whole` from `from` on as a blob. Much is deflated where no other task waits for that.
async fn packed(whole: &Arc<[u8]>, from: usize) -> Vec<u8> {
    let to = whole.len().min(from.saturating_add(PIECE));
    if to - from <= QUICK {
        return deflated(&whole[from..to]);
    }
    let shared = Arc::clone(whole);
    let packed = tokio::task::spawn_blocking(move || deflated(&shared[from..to])).await;
    packed.unwrap_or_else(|_| whole[from..to].to_vec())
}

thread_local! {
    // What it keeps between two uses is larger than most documents.
    static DEFLATE: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), false));
}

/// The bytes, deflated if that makes them fewer.
fn deflated(bytes: &[u8]) -> Vec<u8> {
    if bytes.len() < WORTHWHILE {
        return bytes.to_vec();
    }
    DEFLATE.with_borrow_mut(|deflate| {
        deflate.reset();
        let mut shorter = Vec::with_capacity(bytes.len() - 1);
        match deflate.compress_vec(bytes, &mut shorter, FlushCompress::Finish) {
            Ok(Status::StreamEnd) => shorter,
            _ => bytes.to_vec(),
        }
    })
}

/// What a blob was before it was packed.
pub(super) fn unpacked(blob: &[u8], size: usize) -> Result<Vec<u8>, Fault> {
    if size > PIECE || blob.len() > size {
        return Err(Fault::Corrupt(format!("a blob of {} bytes stands for {size}", blob.len())));
    }
    if blob.len() == size {
        return Ok(blob.to_vec());
    }
    let mut bytes = Vec::with_capacity(size);
    match Decompress::new(false).decompress_vec(blob, &mut bytes, FlushDecompress::Finish) {
        Ok(Status::StreamEnd) if bytes.len() == size => Ok(bytes),
        Ok(_) => Err(Fault::corrupt("a document or log", "its blob is incomplete")),
        Err(error) => Err(Fault::corrupt("a document or log", error)),
    }
}

/// Keeps what an attempt leaves; of one that was cancelled before, only the log.
///
/// # Errors
/// Also if its pieces are not all there, which were swept after a long wait. Then all is to be written
/// again.
pub(super) fn keep(
    connection: &Connection,
    (seq, attempt): (i64, u32),
    parcel: &Parcel,
    with_document: bool,
    now: i64,
) -> Result<(), Fault> {
    for (kind, part) in [(Kind::Document, &parcel.document), (Kind::Log, &parcel.log)] {
        if part.blob.is_none() {
            if kind == Kind::Document && !with_document {
                connection.prepare_cached(DROP_PIECES)?.execute((seq, attempt, kind.as_str()))?;
                continue;
            }
            let written: i64 =
                connection.prepare_cached(WRITTEN)?.query_row((seq, attempt, kind.as_str()), |row| row.get(0))?;
            if written != integer(part.size) {
                return Err(Fault::Unusable(format!("a part of the {} is missing; settle again", kind.as_str())));
            }
        }
    }
    let document = Some(&parcel.document).filter(|_| with_document);
    connection.prepare_cached(KEEP)?.execute(named_params! {
        ":seq": seq, ":attempt": attempt, ":now": now, ":files": parcel.files,
        ":document_size": document.map(|document| integer(document.size)),
        ":log_size": integer(parcel.log.size),
        ":document": document.and_then(|document| document.blob.as_deref()),
        ":log": parcel.log.blob,
    })?;
    drop_live(connection, seq, attempt)
}

/// Deletes what a running attempt has logged.
pub(super) fn drop_live(connection: &Connection, seq: i64, attempt: u32) -> Result<(), Fault> {
    connection.prepare_cached(DROP_LIVE)?.execute((seq, attempt))?;
    Ok(())
}

/// Deletes what an attempt has left that came to nothing: of a lost lease, or one that has the number of an
/// attempt which a loss of power took away.
pub(super) fn drop_leftovers(connection: &Connection, seq: i64, attempt: u32) -> Result<(), Fault> {
    for kind in Kind::ALL {
        connection.prepare_cached(DROP_PIECES)?.execute((seq, attempt, kind.as_str()))?;
    }
    drop_live(connection, seq, attempt)
}

/// Looks at `most` pieces after this one, deletes leftovers of attempts that ended before then, and returns
/// how far it has come.
pub(super) fn sweep(connection: &Connection, after: i64, most: usize, before: i64) -> Result<i64, Fault> {
    let mut statement = connection.prepare_cached(LEFTOVERS)?;
    let mut rows = statement.query(named_params! {":after": after, ":most": integer(most), ":before": before})?;
    let (mut looked_at, mut reached) = (0, after);
    while let Some(row) = rows.next()? {
        (looked_at, reached) = (looked_at + 1, row.get(0)?);
        if row.get(3)? {
            drop_leftovers(connection, row.get(1)?, row.get(2)?)?;
            return Ok(reached);
        }
    }
    Ok(if looked_at == most { reached } else { 0 })
}

/// Appends to what a running attempt has logged. What goes beyond the largest log is dropped.
pub(super) fn append_live(connection: &Connection, seq: i64, attempt: u32, bytes: &[u8]) -> Result<(), Fault> {
    let size = connection.prepare_cached(LIVE_SIZE)?.query_row((seq, attempt), |row| row.get(0)).optional()?;
    let size: i64 = size.unwrap_or(0);
    let room = usize::try_from(LIVE.saturating_sub(size)).unwrap_or(0);
    let bytes = &bytes[..bytes.len().min(room)];
    if !bytes.is_empty() {
        connection.prepare_cached(APPEND_LIVE)?.execute((seq, attempt, size, bytes))?;
    }
    Ok(())
}

/// A document that was looked for.
pub(super) enum Found {
    /// There is none.
    None,
    /// It is larger than was asked for.
    Larger,
    /// It is here. That of a job of an old version is empty.
    Here(Published),
}

/// The result document of a job, or of one of its attempts, if it has at most so many bytes.
pub(super) fn result(connection: &Connection, id: JobId, attempt: Option<u32>, most: usize) -> Result<Found, Fault> {
    let found = |row: &Row<'_>| Ok(document(connection, row, most));
    let found = match attempt {
        None => connection.prepare_cached(COUNTING)?.query_row(named_params! {":id": id.as_bytes()}, found),
        Some(attempt) => {
            let named = named_params! {":id": id.as_bytes(), ":attempt": attempt};
            connection.prepare_cached(OF_ATTEMPT)?.query_row(named, found)
        }
    };
    found.optional()?.unwrap_or(Ok(Found::None))
}

fn document(connection: &Connection, row: &Row<'_>, most: usize) -> Result<Found, Fault> {
    let (seq, attempt, is_old): (i64, u32, bool) = (row.get(0)?, row.get(1)?, row.get(3)?);
    let size: Option<usize> = row.get(6)?;
    let document = match (is_old, size) {
        (true, _) => Vec::new(),
        (false, None) => return Ok(Found::None),
        (false, Some(size)) if size > most => return Ok(Found::Larger),
        (false, Some(size)) => match row.get_ref(7)? {
            ValueRef::Null => joined(connection, seq, attempt, size)?,
            blob => unpacked(blob.as_blob().map_err(rusqlite::Error::from)?, size)?,
        },
    };
    let public_url = row.get::<_, Option<String>>(5)?.map(|url| url.parse()).transpose();
    Ok(Found::Here(Published {
        attempt,
        document,
        settled_at: row.get(2)?,
        files: is_old || row.get(4)?,
        public_url: public_url.map_err(|error| Fault::corrupt("a URL", error))?,
    }))
}

/// A document from its pieces.
fn joined(connection: &Connection, seq: i64, attempt: u32, size: usize) -> Result<Vec<u8>, Fault> {
    let mut statement = connection.prepare_cached(PIECES)?;
    let mut rows = statement.query((seq, attempt))?;
    let mut whole = Vec::new();
    while let Some(row) = rows.next()? {
        whole.extend(unpacked(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?, row.get(0)?)?);
        if whole.len() > size {
            break;
        }
    }
    if whole.len() == size { Ok(whole) } else { Err(Fault::corrupt("a document", "a piece of it is missing")) }
}

/// The log of an attempt from byte `from` on.
pub(super) fn log(connection: &Connection, id: JobId, attempt: u32, from: u64) -> Result<Option<LogPiece>, Fault> {
    let mut statement = connection.prepare_cached(LOG)?;
    let mut rows = statement.query(named_params! {":id": id.as_bytes(), ":attempt": attempt})?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (seq, runs): (i64, bool) = (row.get(0)?, row.get(1)?);
    let from = usize::try_from(from).unwrap_or(usize::MAX);
    let Some(size) = row.get::<_, Option<usize>>(2)? else {
        return if runs { live(connection, seq, attempt, from).map(Some) } else { Ok(None) };
    };
    if from >= size {
        return Ok(Some(LogPiece { bytes: Vec::new(), is_last: true }));
    }
    let (start, mut bytes) = match row.get_ref(3)? {
        ValueRef::Null => {
            let place = from / PIECE;
            let mut statement = connection.prepare_cached(LOG_PIECE)?;
            let piece = statement
                .query_row((seq, attempt, integer(place)), |row| Ok(unpacked(row.get_ref(1)?.as_blob()?, row.get(0)?)));
            (place * PIECE, piece.optional()?.unwrap_or_else(|| Err(Fault::corrupt("a log", "a piece is missing")))?)
        }
        blob => (0, unpacked(blob.as_blob().map_err(rusqlite::Error::from)?, size)?),
    };
    let is_last = start.saturating_add(bytes.len()) >= size;
    bytes.drain(..(from - start).min(bytes.len()));
    Ok(Some(LogPiece { bytes, is_last }))
}

/// What a running attempt has logged so far.
fn live(connection: &Connection, seq: i64, attempt: u32, from: usize) -> Result<LogPiece, Fault> {
    let mut statement = connection.prepare_cached(LIVE_PIECES)?;
    let mut rows = statement.query(named_params! {":seq": seq, ":attempt": attempt, ":from": integer(from)})?;
    let mut bytes = Vec::new();
    while let Some(row) = rows.next()? {
        let place: usize = row.get(0)?;
        let piece = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        let skipped = from.saturating_sub(place).min(piece.len());
        let room = PIECE - bytes.len();
        bytes.extend(piece[skipped..].iter().take(room));
        if bytes.len() == PIECE {
            break;
        }
    }
    Ok(LogPiece { bytes, is_last: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Decision, Verdict};
    use crate::queue::sqlite::SqliteQueue;
    use crate::queue::sqlite::fixture::{Fixture, document, worker};
    use crate::queue::sqlite::writer::Durable;
    use crate::queue::{Jobs, Lease, Report, Settled, Settlement, Work};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn packing_loses_nothing(bytes in prop::collection::vec(any::<u8>(), 0..2_000), times in 1..20_usize) {
            let bytes = bytes.repeat(times);
            let blob = deflated(&bytes);
            prop_assert!(blob.len() <= bytes.len());
            prop_assert_eq!(unpacked(&blob, bytes.len()).unwrap(), bytes);
        }

        #[test]
        fn damaged_blobs_are_errors(blob in prop::collection::vec(any::<u8>(), 0..500), size in any::<usize>()) {
            if let Ok(bytes) = unpacked(&blob, size) {
                prop_assert_eq!(bytes.len(), size);
            }
        }
    }

    fn rows(fixture: &Fixture, table: &str) -> i64 {
        fixture.reader().query_row(&format!("SELECT COUNT(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }

    fn large() -> Outcome {
        let text: Vec<u8> =
            (0..(5_u32 << 18)).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        Outcome { document: text.into(), log: b"line\n".repeat(1 << 19).into(), files: false }
    }

    async fn settle(queue: &SqliteQueue, name: &str, lease: &Lease, outcome: Outcome) -> Settled {
        let (verdict, decision, usage) = (Verdict::Done, Decision::Finish, crate::job::Usage::default());
        queue.settle(&worker(name), lease, Settlement { verdict, decision, usage, outcome }).await.unwrap()
    }

    #[tokio::test]
    async fn large_outcomes_are_kept_in_pieces() {
        let fixture = Fixture::new();
        let id = fixture.submit(document()).await;
        let lease = fixture.claim("a").await.unwrap().lease;
        assert_eq!(settle(&fixture.queue, "a", &lease, large()).await, Settled::Counts);
        assert_eq!(settle(&fixture.queue, "a", &lease, large()).await, Settled::Counts, "again");
        assert_eq!(rows(&fixture, "pieces"), 5 + 3);
        let published = fixture.queue.result(id, None).await.unwrap().unwrap();
        assert!(published.document == large().document.to_vec());
        let (mut log, mut is_last) = (Vec::new(), false);
        while !is_last {
            let piece = fixture.queue.log(id, 1, log.len() as u64).await.unwrap().unwrap();
            assert!(piece.bytes.len() <= PIECE && !piece.bytes.is_empty());
            log.extend(piece.bytes);
            is_last = piece.is_last;
        }
        assert!(log == large().log.to_vec());
        fixture.queue.act(&[id], &crate::queue::Action::Delete).await.unwrap();
        assert_eq!((rows(&fixture, "pieces"), rows(&fixture, "outcomes")), (0, 0));
    }

    #[tokio::test]
    async fn stale_settle_of_a_large_outcome_leaves_no_pieces() {
        let fixture = Fixture::new();
        fixture.submit(document()).await;
        let lease = fixture.claim("a").await.unwrap().lease;
        fixture.queue.unregister(&worker("a")).await.unwrap();
        fixture.sql("INSERT INTO pieces VALUES (1, 1, 'log', 0, 3, x'010203')");
        assert_eq!(settle(&fixture.queue, "a", &lease, large()).await, Settled::Stale);
        assert_eq!((rows(&fixture, "pieces"), rows(&fixture, "outcomes")), (0, 0));
    }

    #[tokio::test]
    async fn missing_pieces_publish_nothing() {
        let fixture = Fixture::new();
        fixture.submit(document()).await;
        let lease = fixture.claim("a").await.unwrap().lease;
        let (parcel, held) = (Parcel::pack(&large()).await, lease.clone());
        let early = move |connection: &Connection, _| keep(connection, (1, held.attempt), &parcel, true, 0);
        let refused = fixture.queue.write(1, Durable::Now, early).await.unwrap_err().to_string();
        assert!(refused.contains("a part of the document is missing; settle again"), "{refused}");
        assert_eq!(rows(&fixture, "outcomes"), 0);
        assert_eq!(settle(&fixture.queue, "a", &lease, large()).await, Settled::Counts);
    }

    #[tokio::test]
    async fn leftovers_go_with_the_next_claim_or_after_an_hour() {
        let fixture = Fixture::new();
        fixture.submit_all(vec![document(); 3]).await;
        // A loss of power took a claim away after its worker had written something; others ended without a
        // settle.
        fixture.sql("INSERT INTO pieces VALUES (1, 1, 'log', 0, 3, x'010203')");
        fixture.sql("INSERT INTO live VALUES (1, 1, 0, x'010203')");
        let lease = fixture.claim("a").await.unwrap().lease;
        assert_eq!((rows(&fixture, "pieces"), rows(&fixture, "live")), (0, 0));
        settle(&fixture.queue, "a", &lease, large()).await;
        fixture.claim("b").await.unwrap();
        fixture.claim("c").await.unwrap();
        fixture.queue.unregister(&worker("b")).await.unwrap();
        fixture.sql("INSERT INTO pieces VALUES (2, 1, 'log', 0, 3, x'010203'), (3, 1, 'log', 0, 3, x'010203')");
        let never = crate::queue::Retention::default();
        for (wait, left) in [(0, 10), (3_601, 9), (3_601, 9)] {
            fixture.advance(std::time::Duration::from_secs(wait));
            fixture.queue.forget(&never, 9).await.unwrap();
            assert_eq!(rows(&fixture, "pieces"), left, "those of outcomes and of running attempts stay");
        }
    }

    #[tokio::test]
    async fn live_log_is_bounded_and_goes_with_the_settle() {
        let fixture = Fixture::new();
        let id = fixture.submit(document()).await;
        let lease = fixture.claim("a").await.unwrap().lease;
        for part in [b"a".repeat(10), b"b".repeat(9 << 20), b"c".repeat(9 << 20)] {
            let report = Report { lease: lease.clone(), progress: None, log: part };
            fixture.queue.report(&worker("a"), vec![report]).await.unwrap();
        }
        let log = async |from| fixture.queue.log(id, 1, from).await.unwrap().unwrap();
        let (start, end) = (log(5).await, log((16 << 20) - 3).await);
        assert_eq!((&start.bytes[..7], start.bytes.len(), start.is_last), (&b"aaaaabb"[..], PIECE, false));
        assert_eq!((&end.bytes[..], end.is_last), (&b"ccc"[..], false));
        settle(&fixture.queue, "a", &lease, Outcome { log: (*b"all").into(), ..Outcome::default() }).await;
        assert_eq!((rows(&fixture, "live"), log(1).await.bytes, log(9).await.is_last), (0, b"ll".to_vec(), true));
    }

    #[tokio::test]
    async fn job_of_an_old_version_has_an_empty_document_and_no_log() {
        let fixture = Fixture::new();
        let id = fixture.submit(document()).await;
        let lease = fixture.claim("a").await.unwrap().lease;
        fixture.settle("a", &lease, Verdict::Done, Decision::Finish).await.unwrap();
        fixture.sql("DELETE FROM outcomes");
        for attempt in [None, Some(1)] {
            let old = fixture.queue.result(id, attempt).await.unwrap().unwrap();
            assert_eq!((old.attempt, old.document.len(), old.files), (1, 0, true));
            assert_eq!(old.settled_at, fixture.now().as_millisecond());
        }
        assert_eq!(fixture.queue.log(id, 1, 0).await.unwrap(), None);
        fixture.queue.act(&[id], &crate::queue::Action::Delete).await.unwrap();
        assert_eq!(fixture.queue.forgotten(None, 9).await.unwrap().0, [id], "its files are still to be removed");
    }

    /// A document as the worker makes them, of about 900 bytes.
    fn usual(id: JobId) -> Vec<u8> {
        let digest = |text: &str| crate::job::Digest::of(format!("{id} {text}"));
        format!(
            r#"{{"id":"{id}","algorithm":"no-op","attempt":1,"state":"done","timestamp":"2026-11-21T18:00:00.123Z","verdict":{{"kind":"done"}},"result":null,"files":[],"usage":{{"fuel":27398702,"peak_memory":1179648,"wall_ms":12.3,"input_bytes":0,"result_bytes":4}},"provenance":{{"module":"{}","params":"{}","inputs":{{}},"seed":1234567890123,"clock":"2026-11-21T18:00:00.000Z","limits":{{"fuel":10000000000,"memory":268435456,"result_size":67108864,"result_files":1000,"document_size":8388608,"log_size":1048576,"input_size":268435456,"ttr":"60s"}},"engine":"wasmtime 48.0.8","adapter":"{}","configuration":"{}"}}}}"#,
            digest("module"), digest("params"), digest("adapter"), digest("configuration"),
        )
        .into_bytes()
    }

    #[tokio::test]
    async fn finished_job_takes_at_most_2_kib() {
        const JOBS: usize = 10_000;
        let fixture = Fixture::new();
        fixture.submit_all(vec![document(); JOBS]).await;
        let mut settled = 0;
        while settled < JOBS {
            let claimed =
                fixture.queue.claim(&worker("node1.example.org"), &[crate::job::Tube::default()], 128).await.unwrap();
            let settles = claimed.iter().map(|claimed| {
                let document = usual(claimed.lease.id);
                assert!((850..1_100).contains(&document.len()), "{}", document.len());
                let outcome = Outcome { document: document.into(), ..Outcome::default() };
                settle(&fixture.queue, "node1.example.org", &claimed.lease, outcome)
            });
            settled += futures_util::future::join_all(settles).await.len();
        }
        fixture.sql("PRAGMA wal_checkpoint(TRUNCATE)");
        let size = fixture.path().metadata().unwrap().len();
        println!("{} bytes a job", size / JOBS as u64);
        assert!(size <= 2_048 * JOBS as u64, "{} bytes a job", size / JOBS as u64);
        let all = crate::queue::Retention { done: Some(std::time::Duration::ZERO), ..Default::default() };
        let started = std::time::Instant::now();
        assert_eq!(fixture.queue.forget(&all, JOBS).await.unwrap(), JOBS);
        println!("{:.0} jobs deleted a second", JOBS as f64 / started.elapsed().as_secs_f64());
        assert!(fixture.queue.forgotten(None, 9).await.unwrap().0.is_empty(), "none left files");
    }
}
