//! Blobs in the store's own file.

use base_json::Digest;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::Failure;
use crate::schema::{Meta, signed};

/// Stores blobs whose digests have been checked.
pub(crate) fn put(
    connection: &Connection,
    meta: &mut Meta,
    blobs: &[(Digest, Bytes)],
    now_ms: u64,
) -> Result<(), Failure> {
    let mut find = connection
        .prepare_cached("SELECT id, stored_ms < ?, damaged FROM blob WHERE digest = ?")?;
    for (digest, bytes) in blobs {
        let found: Option<(i64, bool, bool)> = find
            .query_row(params![signed(now_ms), &digest.as_bytes()[..]], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        match found {
            None => {
                let size = bytes.len() as u64;
                connection
                    .prepare_cached(
                        "INSERT INTO blob (digest, size, stored_ms, damaged) VALUES (?, ?, ?, 0)",
                    )?
                    .execute(params![
                        &digest.as_bytes()[..],
                        signed(size),
                        signed(now_ms)
                    ])?;
                write_content(connection, connection.last_insert_rowid(), bytes)?;
                meta.blobs += 1;
                meta.blob_bytes += size;
            }
            Some((id, older, damaged)) => {
                if damaged {
                    write_content(connection, id, bytes)?;
                }
                if older || damaged {
                    connection
                        .prepare_cached(
                            "UPDATE blob SET stored_ms = max(stored_ms, ?), damaged = 0 WHERE id = ?",
                        )?
                        .execute(params![signed(now_ms), id])?;
                }
            }
        }
    }
    Ok(())
}

fn write_content(connection: &Connection, id: i64, bytes: &[u8]) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO blob_content (id, content) VALUES (?, ?)")?
        .execute(params![id, bytes])?;
    Ok(())
}

/// Reads a blob's bytes, unchecked.
pub(crate) fn get(connection: &Connection, digest: &Digest) -> rusqlite::Result<Option<Bytes>> {
    connection
        .prepare_cached(
            "SELECT c.content FROM blob b LEFT JOIN blob_content c ON c.id = b.id WHERE b.digest = ?",
        )?
        .query_row([&digest.as_bytes()[..]], |row| {
            // A blob without content is a damaged one; no bytes have no digest but that of nothing.
            Ok(row.get::<_, Option<Vec<u8>>>(0)?.unwrap_or_default().into())
        })
        .optional()
}

/// Notes that a blob's bytes do not have its digest.
pub(crate) fn mark_damaged(connection: &Connection, digest: &Digest) -> Result<(), Failure> {
    connection
        .prepare_cached("UPDATE blob SET damaged = 1 WHERE digest = ?")?
        .execute([&digest.as_bytes()[..]])?;
    Ok(())
}

/// Tells which blobs are missing, or known to be damaged.
pub(crate) fn missing(
    connection: &Connection,
    digests: &[Digest],
) -> rusqlite::Result<Vec<Digest>> {
    let mut find =
        connection.prepare_cached("SELECT 1 FROM blob WHERE digest = ? AND damaged = 0")?;
    let mut missing = Vec::new();
    for digest in digests {
        if !find.exists([&digest.as_bytes()[..]])? {
            missing.push(*digest);
        }
    }
    Ok(missing)
}

/// Lists the blobs that were stored before a time.
pub(crate) fn older(connection: &Connection, before_ms: u64) -> rusqlite::Result<Vec<Digest>> {
    let mut statement =
        connection.prepare_cached("SELECT digest FROM blob WHERE stored_ms < ? ORDER BY digest")?;
    let rows = statement.query_map([signed(before_ms)], |row| row.get(0))?;
    rows.map(|row| row.map(Digest::from_bytes)).collect()
}

/// Removes blobs, but for those that were stored again since they were listed.
pub(crate) fn remove(
    connection: &Connection,
    meta: &mut Meta,
    digests: &[Digest],
    before_ms: u64,
) -> Result<u64, Failure> {
    let mut removed = 0;
    for digest in digests {
        let gone: Option<(i64, i64)> = connection
            .prepare_cached(
                "DELETE FROM blob WHERE digest = ? AND stored_ms < ? RETURNING id, size",
            )?
            .query_row(params![&digest.as_bytes()[..], signed(before_ms)], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        if let Some((id, size)) = gone {
            connection
                .prepare_cached("DELETE FROM blob_content WHERE id = ?")?
                .execute([id])?;
            meta.blobs -= 1;
            meta.blob_bytes -= size.cast_unsigned();
            removed += 1;
        }
    }
    Ok(removed)
}
