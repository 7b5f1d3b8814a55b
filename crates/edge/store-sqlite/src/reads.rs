//! Reads, each inside one snapshot.

use std::sync::Arc;

use base_store::{At, Change, Entry, Page, Range, ReadError, Revision};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::error::read_failed;
use crate::schema::{Meta, number, signed};
use crate::writer::Made;

/// Runs reads at one moment of the store.
pub(crate) fn snapshot<T>(
    connection: &Connection,
    read: impl FnOnce(&Connection) -> Result<T, ReadError>,
) -> Result<T, ReadError> {
    let transaction = connection
        .unchecked_transaction()
        .map_err(|error| read_failed(&error))?;
    // Only reads were made: how the transaction ends is of no matter.
    read(&transaction)
}

/// What begins with a prefix, as the bounds of an index: from (inclusive) to (exclusive), or to the end.
fn bounds(prefix: &str) -> (&[u8], Option<Vec<u8>>) {
    let mut end = prefix.as_bytes().to_vec();
    // No byte of UTF-8 is 0xff: the last can always be raised.
    match end.last_mut() {
        Some(last) => {
            *last += 1;
            (prefix.as_bytes(), Some(end))
        }
        None => (&[], None),
    }
}

/// The first place behind a key.
fn behind(key: &str) -> Vec<u8> {
    let mut place = key.as_bytes().to_vec();
    place.push(0);
    place
}

/// Behind every key: UTF-8 has no such byte.
const END: &[u8] = &[0xff];

/// The revision at which a read looks, if it can.
fn readable(meta: &Meta, at: At) -> Result<u64, ReadError> {
    let (oldest, newest) = (Revision(meta.oldest), Revision(meta.revision));
    match at {
        At::Newest => Ok(meta.revision),
        At::Revision(asked) if asked < oldest => Err(ReadError::Compacted { asked, oldest }),
        At::Revision(asked) if asked > newest => Err(ReadError::Future { asked, newest }),
        At::Revision(asked) => Ok(asked.0),
    }
}

fn failed(error: rusqlite::Error) -> ReadError {
    read_failed(&error)
}

fn text(bytes: Vec<u8>) -> rusqlite::Result<String> {
    String::from_utf8(bytes).map_err(|error| rusqlite::Error::Utf8Error(0, error.utf8_error()))
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        key: text(row.get(0)?)?,
        value: row.get::<_, Vec<u8>>(1)?.into(),
        created: Revision(number(row, 2)?),
        modified: Revision(number(row, 3)?),
    })
}

pub(crate) fn get(connection: &Connection, key: &str, at: At) -> Result<Option<Entry>, ReadError> {
    let revision = match at {
        At::Newest => None,
        at => Some(readable(&Meta::read(connection).map_err(failed)?, at)?),
    };
    get_at(connection, key, revision).map_err(failed)
}

fn get_at(
    connection: &Connection,
    key: &str,
    revision: Option<u64>,
) -> rusqlite::Result<Option<Entry>> {
    if let Some(revision) = revision {
        // The first change behind the revision says what was before it.
        let changed = connection
            .prepare_cached(
                "SELECT key, old, created, old_modified FROM change WHERE key = ? AND revision > ? \
                 ORDER BY revision LIMIT 1",
            )?
            .query_row(params![key.as_bytes(), signed(revision)], |row| {
                let there = row.get_ref(1)? != rusqlite::types::ValueRef::Null;
                there.then(|| entry(row)).transpose()
            })
            .optional()?;
        if let Some(before) = changed {
            return Ok(before);
        }
    }
    connection
        .prepare_cached("SELECT key, value, created, modified FROM entry WHERE key = ?")?
        .query_row([key.as_bytes()], entry)
        .optional()
}

pub(crate) fn range(connection: &Connection, range: &Range) -> Result<Page, ReadError> {
    let meta = Meta::read(connection).map_err(failed)?;
    let revision = readable(&meta, range.at)?;
    let (entries, remaining) = page(connection, range, revision).map_err(failed)?;
    Ok(Page {
        entries,
        revision: Revision(revision),
        remaining,
    })
}

/// A key that has changed since the revision that is read.
struct Changed {
    key: Vec<u8>,
    /// The first change since: what it found is what was there.
    first: i64,
    was: bool,
    is: bool,
}

/// Lists the keys between two places that have changed since a revision, sorted.
fn changed_since(
    connection: &Connection,
    start: &[u8],
    end: &[u8],
    revision: u64,
) -> rusqlite::Result<Vec<Changed>> {
    // The changes since are few beside the keys: SQLite must not walk the keys' index for them.
    let mut statement = connection.prepare_cached(
        "SELECT c.key, min(c.revision), c.old IS NOT NULL,
            EXISTS (SELECT 1 FROM entry e WHERE e.key = c.key)
         FROM change c NOT INDEXED WHERE c.revision > ?3 AND c.key >= ?1 AND c.key < ?2
         GROUP BY c.key ORDER BY c.key",
    )?;
    let rows = statement.query_map(params![start, end, signed(revision)], |row| {
        Ok(Changed {
            key: row.get(0)?,
            first: row.get(1)?,
            was: row.get(2)?,
            is: row.get(3)?,
        })
    })?;
    rows.collect()
}

/// Reads a page as it was at a revision: what is current, but for the keys that have changed since.
fn page(
    connection: &Connection,
    range: &Range,
    revision: u64,
) -> rusqlite::Result<(Vec<Entry>, usize)> {
    let (start, end) = bounds(&range.prefix);
    let end = end.as_deref().unwrap_or(END);
    let start = match &range.after {
        Some(after) if after.as_bytes() >= start => behind(after),
        _ => start.to_vec(),
    };
    let limit = if range.limit == 0 {
        usize::MAX
    } else {
        range.limit
    };
    let changed = changed_since(connection, &start, end, revision)?;
    let mut lost = changed.iter().filter(|changed| changed.was).peekable();
    let mut entries: Vec<Entry> = Vec::new();
    let mut statement = connection.prepare_cached(
        "SELECT key, value, created, modified FROM entry WHERE key >= ?1 AND key < ?2 ORDER BY key",
    )?;
    let mut rows = statement.query(params![start, end])?;
    let mut row = rows.next()?;
    while entries.len() < limit {
        let key = match row {
            Some(row) => Some(row.get_ref(0)?.as_blob()?),
            None => None,
        };
        let before = lost.next_if(|lost| key.is_none_or(|key| *lost.key <= *key));
        if let Some(lost) = before {
            entries.push(before_change(connection, lost.first)?);
        } else if let (Some(key), Some(current)) = (key, row) {
            let is_changed = changed
                .binary_search_by(|changed| (*changed.key).cmp(key))
                .is_ok();
            if !is_changed {
                entries.push(entry(current)?);
            }
            row = rows.next()?;
        } else {
            break;
        }
    }
    let remaining = match entries.last() {
        Some(last) if entries.len() == limit => {
            let start = behind(&last.key);
            let follow = changed.iter().filter(|changed| changed.key >= start);
            let (was, is) = follow.fold((0, 0), |(was, is), changed| {
                (was + u64::from(changed.was), is + u64::from(changed.is))
            });
            count(connection, &start, end)? + was - is
        }
        _ => 0,
    };
    Ok((entries, usize::try_from(remaining).unwrap_or(usize::MAX)))
}

/// Reads what a change found.
fn before_change(connection: &Connection, revision: i64) -> rusqlite::Result<Entry> {
    connection
        .prepare_cached("SELECT key, old, created, old_modified FROM change WHERE revision = ?")?
        .query_row([revision], entry)
}

fn count(connection: &Connection, start: &[u8], end: &[u8]) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT count(*) FROM entry WHERE key >= ? AND key < ?")?
        .query_row([start, end], |row| number(row, 0))
}

/// Reads the whole commits behind `from` up to `to`, with what they changed under the prefix.
pub(crate) fn since(
    connection: &Connection,
    prefix: &str,
    from: Revision,
    to: u64,
) -> Result<Vec<Made>, ReadError> {
    let oldest = Meta::read(connection).map_err(failed)?.oldest;
    if from.0 < oldest {
        return Err(ReadError::Compacted {
            asked: from,
            oldest: Revision(oldest),
        });
    }
    changes(connection, prefix, from, to).map_err(failed)
}

fn changes(
    connection: &Connection,
    prefix: &str,
    from: Revision,
    to: u64,
) -> rusqlite::Result<Vec<Made>> {
    let (start, end) = bounds(prefix);
    let end = end.as_deref().unwrap_or(END);
    // What a change made of its key is what the next one found there, or what is current.
    let mut statement = connection.prepare_cached(
        "SELECT c.revision, c.last, c.key, c.created, c.old, n.revision IS NOT NULL, n.old, e.value
         FROM change c
         LEFT JOIN change n ON n.revision =
             (SELECT min(x.revision) FROM change x WHERE x.key = c.key AND x.revision > c.revision)
         LEFT JOIN entry e ON e.key = c.key
         WHERE c.revision > ?1 AND c.last <= ?2 AND +c.key >= ?3 AND +c.key < ?4
         ORDER BY c.revision",
    )?;
    let bytes = |row: &Row<'_>, at| -> rusqlite::Result<Option<Bytes>> {
        Ok(row.get::<_, Option<Vec<u8>>>(at)?.map(Bytes::from))
    };
    let rows = statement.query_map(params![signed(from.0), signed(to), start, end], |row| {
        let changed_again: bool = row.get(5)?;
        let change = Change {
            revision: Revision(number(row, 0)?),
            key: text(row.get(2)?)?,
            old: bytes(row, 4)?,
            new: bytes(row, if changed_again { 6 } else { 7 })?,
            created: Revision(number(row, 3)?),
        };
        Ok((Revision(number(row, 1)?), change))
    })?;
    let mut commits: Vec<(Revision, Vec<Change>)> = Vec::new();
    for row in rows {
        let (last, change) = row?;
        match commits.last_mut() {
            Some((of, changes)) if *of == last => changes.push(change),
            _ => commits.push((last, vec![change])),
        }
    }
    let made = commits.into_iter();
    Ok(made
        .map(|(last, changes)| (Arc::from(changes), last))
        .collect())
}
