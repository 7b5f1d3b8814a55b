//! The bytes of the log: frames with length and checksum, and what is in them.
//!
//! A frame is `len: u32`, `check of len: u32`, `checksum of the payload: u64`, all little-endian, then the payload. One
//! frame is written and synced at a time, so that a frame which is not whole can only be the last, unless the disk is
//! damaged.

use base_json::Digest;
use bytes::Bytes;

use super::state::{Lease, Past, State};
use crate::{Batch, CommitId, Committed, Expect, Op, Revision};

/// How the files begin; the last byte is the version of the format.
pub(super) const MAGIC: &[u8; 8] = b"facts\r\n\x01";
const FRAME: usize = 16;

const SNAPSHOT: u8 = 1;
const COMMIT: u8 = 2;
const LEASE: u8 = 3;
const BLOB: u8 = 4;
const TOUCH: u8 = 5;

fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// The low half of a hash.
fn check_len(len: u32) -> u32 {
    let [a, b, c, d, ..] = fnv(&len.to_le_bytes()).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Wraps a payload; `None` if it is too long for a frame.
pub(super) fn frame(payload: &[u8]) -> Option<Vec<u8>> {
    let len = u32::try_from(payload.len()).ok()?;
    let mut out = Vec::with_capacity(FRAME + payload.len());
    out.extend(len.to_le_bytes());
    out.extend(check_len(len).to_le_bytes());
    out.extend(fnv(payload).to_le_bytes());
    out.extend(payload);
    Some(out)
}

/// Takes the frame that stands at the beginning, if it is whole.
fn unframe(bytes: &[u8]) -> Option<&[u8]> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (check, rest) = rest.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<8>()?;
    let len = u32::from_le_bytes(*len);
    if check_len(len) != u32::from_le_bytes(*check) {
        return None;
    }
    let payload = rest.get(..usize::try_from(len).ok()?)?;
    (fnv(payload) == u64::from_le_bytes(*sum)).then_some(payload)
}

/// The frames of a file and the length of the whole ones; an error names the offset of a damaged one.
pub(super) fn frames(file: &[u8]) -> Result<(Vec<&[u8]>, usize), usize> {
    let mut at = MAGIC.len();
    let mut frames = Vec::new();
    while let Some(payload) = file.get(at..).and_then(unframe) {
        frames.push(payload);
        at += FRAME + payload.len();
    }
    // A torn frame is the last one written. A whole frame behind it means that the disk lost what it had promised.
    let behind = at.saturating_add(1)..file.len();
    if behind
        .into_iter()
        .any(|from| unframe(&file[from..]).is_some_and(|p| !p.is_empty()))
    {
        return Err(at);
    }
    Ok((frames, at.min(file.len())))
}

#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    fn u64(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.u64(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn id(&mut self, id: CommitId) {
        self.0.extend(id.0.to_le_bytes());
    }

    pub(super) fn commit(&mut self, past: &Past) {
        self.0.push(COMMIT);
        self.id(past.id);
        self.u64(past.first());
        self.u64(past.changes.len() as u64);
        for change in &*past.changes {
            self.bytes(change.key.as_bytes());
            match &change.new {
                Some(value) => {
                    self.0.push(1);
                    self.bytes(value);
                }
                None => self.0.push(0),
            }
        }
    }

    pub(super) fn lease(&mut self, name: &str, lease: &Lease) {
        self.0.push(LEASE);
        self.bytes(name.as_bytes());
        self.bytes(lease.holder.as_bytes());
        self.u64(lease.token);
        self.u64(lease.until_ms);
    }

    /// Writes the state at the newest revision, which must have no history. `oldest` is what may be read once the
    /// commits that follow are there again.
    pub(super) fn snapshot(&mut self, state: &State, oldest: u64) {
        self.0.push(SNAPSHOT);
        self.u64(state.revision);
        self.u64(oldest);
        self.u64(state.keys);
        for (key, slot) in state.rows(std::ops::Bound::Unbounded) {
            let Some(slot) = slot else { continue };
            self.bytes(key.as_bytes());
            self.u64(slot.created);
            self.u64(slot.modified);
            self.bytes(&slot.value);
        }
        let outcomes = state.outcomes.as_deref();
        self.u64(outcomes.map_or(0, |outcomes| outcomes.order.len() as u64));
        for id in outcomes.into_iter().flat_map(|outcomes| &outcomes.order) {
            let committed = outcomes.and_then(|outcomes| outcomes.by_id.get(id));
            let (first, last) = committed.map_or((0, 0), |c| (c.first.0, c.last.0));
            self.id(*id);
            self.u64(first);
            self.u64(last);
        }
        for (name, lease) in &state.leases {
            self.lease(name, lease);
        }
    }

    pub(super) fn blob(&mut self, digest: &Digest, bytes: &[u8], stored_ms: u64) {
        self.0.push(BLOB);
        self.0.extend(digest.as_bytes());
        self.u64(stored_ms);
        self.bytes(bytes);
    }

    pub(super) fn touch(&mut self, digest: &Digest, stored_ms: u64) {
        self.0.push(TOUCH);
        self.0.extend(digest.as_bytes());
        self.u64(stored_ms);
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn u8(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn u64(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.u64()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn id(&mut self) -> Option<CommitId> {
        Some(CommitId(u128::from_le_bytes(self.array()?)))
    }
}

/// Brings what a frame of the log says into the state; `None` if it makes no sense.
pub(super) fn replay(payload: &[u8], state: &mut State) -> Option<()> {
    let mut from = Reader(payload);
    while !from.0.is_empty() {
        match from.u8()? {
            SNAPSHOT => replay_snapshot(&mut from, state)?,
            COMMIT => replay_commit(&mut from, state)?,
            LEASE => {
                let name = from.text()?;
                let lease = Lease {
                    holder: from.text()?.into(),
                    token: from.u64()?,
                    until_ms: from.u64()?,
                };
                state.set_lease(name, lease);
            }
            _ => return None,
        }
    }
    Some(())
}

fn replay_snapshot(from: &mut Reader<'_>, state: &mut State) -> Option<()> {
    *state = State::new(None);
    state.revision = from.u64()?;
    state.oldest = from.u64()?;
    for _ in 0..from.u64()? {
        let key = from.text()?;
        let slot = super::image::Slot {
            created: from.u64()?,
            modified: from.u64()?,
            value: Bytes::copy_from_slice(from.bytes()?),
        };
        state.set(key, Some(slot));
    }
    for _ in 0..from.u64()? {
        let id = from.id()?;
        let committed = Committed {
            first: Revision(from.u64()?),
            last: Revision(from.u64()?),
        };
        state.remember(id, committed);
    }
    Some(())
}

fn replay_commit(from: &mut Reader<'_>, state: &mut State) -> Option<()> {
    let id = from.id()?;
    let first = from.u64()?;
    let mut ops = Vec::new();
    for _ in 0..from.u64()? {
        let key = from.text()?.to_owned();
        let expect = Expect::Any;
        ops.push(match from.u8()? {
            0 => Op::Delete { key, expect },
            1 => Op::Put {
                key,
                expect,
                value: Bytes::copy_from_slice(from.bytes()?),
            },
            _ => return None,
        });
    }
    let wrote = ops.len() as u64;
    let made = state.write(&Batch::new(id, ops));
    (made.first.0 == first && made.last.0 + 1 == first + wrote).then_some(())
}

/// What a frame of the blobs' file says.
pub(super) enum BlobItem {
    Blob(Digest, Bytes, u64),
    Touch(Digest, u64),
}

/// Reads a frame of the blobs' file; `None` if it makes no sense.
pub(super) fn blob_items(payload: &[u8]) -> Option<Vec<BlobItem>> {
    let mut from = Reader(payload);
    let mut items = Vec::new();
    while !from.0.is_empty() {
        let tag = from.u8()?;
        let digest = Digest::from_bytes(from.array()?);
        let stored_ms = from.u64()?;
        items.push(match tag {
            BLOB => BlobItem::Blob(digest, Bytes::copy_from_slice(from.bytes()?), stored_ms),
            TOUCH => BlobItem::Touch(digest, stored_ms),
            _ => return None,
        });
    }
    Some(items)
}
