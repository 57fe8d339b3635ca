//! The registered algorithms: modules by digest, and names that point at them.
//!
//! The bytes of a module are written in pieces of 1 MiB, so that nobody waits for long, and count once its
//! row is there.

use super::columns::{integer, time};
use super::fault::Fault;
use crate::job::{AlgorithmName, Digest, Document, Shape};
use crate::queue::{Algorithm, Version};
use rusqlite::{Connection, OptionalExtension, Row};

/// The bytes of one piece.
pub(super) const PIECE: usize = 1 << 20;
/// As many earlier versions of a name are kept.
const EARLIER: usize = 100;

const VERSIONS: &str = "
    SELECT name, digest, shape, size, added_at FROM algorithms JOIN modules USING (digest)
    WHERE name = ?1 ORDER BY place DESC";

const ALL_VERSIONS: &str = "
    SELECT name, digest, shape, size, added_at FROM algorithms JOIN modules USING (digest) ORDER BY name, place DESC";

const CURRENT: &str = "SELECT digest FROM algorithms WHERE name = ?1 ORDER BY place DESC LIMIT 1";

const KEEP_PIECE: &str = "INSERT OR REPLACE INTO module_pieces (digest, place, bytes) VALUES (?1, ?2, ?3)";

const WRITTEN: &str = "SELECT COALESCE(SUM(length(bytes)), 0) FROM module_pieces WHERE digest = ?1";

const KEEP: &str = "INSERT OR IGNORE INTO modules (digest, shape, size) VALUES (?1, ?2, ?3)";

const POINT: &str = "INSERT INTO algorithms (name, digest, added_at) VALUES (?1, ?2, ?3)";

const IS_KNOWN: &str = "SELECT 1 FROM algorithms WHERE name = ?1 AND (digest = ?2 OR added_at > ?3)";

const UNPOINT: &str = "DELETE FROM algorithms WHERE name = ?1 AND digest = ?2";

const TRIM: &str = "
    DELETE FROM algorithms WHERE name = ?1
        AND place NOT IN (SELECT place FROM algorithms WHERE name = ?1 ORDER BY place DESC LIMIT ?2)";

const SIZE: &str = "SELECT size FROM modules WHERE digest = ?1";

const BYTES: &str = "SELECT bytes FROM module_pieces WHERE digest = ?1 ORDER BY place";

/// Pieces of modules that were never whole.
const LEFTOVERS: &str = "
    DELETE FROM module_pieces WHERE rowid IN (
        SELECT rowid FROM module_pieces WHERE digest NOT IN (SELECT digest FROM modules) LIMIT 16)";

/// The name of a shape, as a column keeps it.
fn named(shape: Shape) -> &'static str {
    match shape {
        Shape::Algorithm => "algorithm",
        Shape::Command => "command",
    }
}

/// The shape of this name.
pub(super) fn shape(name: &str) -> Result<Shape, Fault> {
    let shape = [Shape::Algorithm, Shape::Command].into_iter().find(|shape| named(*shape) == name);
    shape.ok_or_else(|| Fault::corrupt("the shape of a module", name))
}

/// Writes the piece of a module at this place.
pub(super) fn keep_piece(connection: &Connection, digest: Digest, place: usize, bytes: &[u8]) -> Result<(), Fault> {
    connection.prepare_cached(KEEP_PIECE)?.execute((digest.as_bytes(), integer(place), bytes))?;
    Ok(())
}

/// Has a module count whose pieces were written; whether they are all there.
pub(super) fn keep(connection: &Connection, digest: Digest, shape: Shape, size: usize) -> Result<bool, Fault> {
    let written: i64 = connection.prepare_cached(WRITTEN)?.query_row([digest.as_bytes()], |row| row.get(0))?;
    if written != integer(size) {
        return Ok(false);
    }
    connection.prepare_cached(KEEP)?.execute((digest.as_bytes(), named(shape), integer(size)))?;
    Ok(true)
}

/// Points a name at a module that is there, and returns the algorithm.
pub(super) fn point(
    connection: &Connection,
    name: &AlgorithmName,
    digest: Digest,
    now: i64,
) -> Result<Algorithm, Fault> {
    if current(connection, name)? != Some(digest) {
        connection.prepare_cached(UNPOINT)?.execute((name.as_str(), digest.as_bytes()))?;
        connection.prepare_cached(POINT)?.execute((name.as_str(), digest.as_bytes(), now))?;
        connection.prepare_cached(TRIM)?.execute((name.as_str(), integer(EARLIER + 1)))?;
    }
    find(connection, name)?.ok_or_else(|| Fault::Corrupt(format!("the module {digest} is missing")))
}

/// Takes in that a name pointed at a module from then on. What is known of the name and later counts more.
pub(super) fn take_in(
    connection: &Connection,
    name: &AlgorithmName,
    digest: Digest,
    added_at: i64,
) -> Result<(), Fault> {
    let known = (name.as_str(), digest.as_bytes(), added_at);
    if connection.prepare_cached(IS_KNOWN)?.exists(known)? {
        return Ok(());
    }
    connection.prepare_cached(POINT)?.execute(known)?;
    connection.prepare_cached(TRIM)?.execute((name.as_str(), integer(EARLIER + 1)))?;
    Ok(())
}

/// The module that a name points at.
pub(super) fn current(connection: &Connection, name: &AlgorithmName) -> Result<Option<Digest>, Fault> {
    let current = connection.prepare_cached(CURRENT)?.query_row([name.as_str()], |row| row.get(0)).optional()?;
    Ok(current.map(Digest::from_bytes))
}

/// The module that a job of this document is pinned to from now on.
pub(super) fn pinned(connection: &Connection, document: &Document) -> Result<Option<Digest>, Fault> {
    match document.algorithm.digest {
        Some(digest) => Ok(Some(digest)),
        None => current(connection, &document.algorithm.name),
    }
}

fn version(row: &Row<'_>) -> Result<(AlgorithmName, Version), Fault> {
    let name: String = row.get(0)?;
    let name = name.parse().map_err(|error| Fault::corrupt("an algorithm's name", error))?;
    let version = Version {
        module: Digest::from_bytes(row.get(1)?),
        shape: shape(row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?)?,
        size: row.get(3)?,
        added_at: time(row.get(4)?)?,
    };
    Ok((name, version))
}

/// The algorithm of this name.
pub(super) fn find(connection: &Connection, name: &AlgorithmName) -> Result<Option<Algorithm>, Fault> {
    let mut statement = connection.prepare_cached(VERSIONS)?;
    let mut rows = statement.query([name.as_str()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (name, current) = version(row)?;
    let mut algorithm = Algorithm { name, current, earlier: Vec::new() };
    while let Some(row) = rows.next()? {
        algorithm.earlier.push(version(row)?.1);
    }
    Ok(Some(algorithm))
}

/// All algorithms, by name.
pub(super) fn all(connection: &Connection) -> Result<Vec<Algorithm>, Fault> {
    let mut statement = connection.prepare_cached(ALL_VERSIONS)?;
    let mut rows = statement.query([])?;
    let mut all: Vec<Algorithm> = Vec::new();
    while let Some(row) = rows.next()? {
        let (name, version) = version(row)?;
        match all.last_mut().filter(|last| last.name == name) {
            Some(algorithm) => algorithm.earlier.push(version),
            None => all.push(Algorithm { name, current: version, earlier: Vec::new() }),
        }
    }
    Ok(all)
}

/// Forgets a name; whether there was one.
pub(super) fn remove(connection: &Connection, name: &AlgorithmName) -> Result<bool, Fault> {
    Ok(connection.prepare_cached("DELETE FROM algorithms WHERE name = ?1")?.execute([name.as_str()])? > 0)
}

/// A module's bytes, as they are kept. At most as many are read as it should have.
pub(super) fn bytes(connection: &Connection, digest: Digest) -> Result<Option<Vec<u8>>, Fault> {
    let size = connection.prepare_cached(SIZE)?.query_row([digest.as_bytes()], |row| row.get::<_, usize>(0));
    let Some(size) = size.optional()? else { return Ok(None) };
    let mut statement = connection.prepare_cached(BYTES)?;
    let mut rows = statement.query([digest.as_bytes()])?;
    let mut bytes = Vec::new();
    while let Some(row) = rows.next()? {
        bytes.extend_from_slice(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?);
        if bytes.len() > size {
            break;
        }
    }
    Ok(Some(bytes))
}

/// Deletes some of what is left of modules that were never whole. One that is being written is written
/// again.
pub(super) fn sweep(connection: &Connection) -> Result<(), Fault> {
    connection.prepare_cached(LEFTOVERS)?.execute([])?;
    Ok(())
}
