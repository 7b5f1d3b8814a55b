//! Records in packs: many small values in few objects of bounded size.
//!
//! A pack is the compressed form of any number of entries. A value that is too large for one is cut into parts, which may
//! lie in different packs. Every change is a list of writes in an order in which any number of them may be lost from the
//! end: what is new is there before what it replaces goes, and the newest complete value of a key counts.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use roadstead_sync::{BLOB_PREFIX, Persisted};

use super::Changes;

/// How large a pack may become, in bytes.
const PACK: usize = 256 << 10;
/// How large the parts are that a value is cut into, in bytes.
const PART: usize = 160 << 10;
/// How much a pack may hold before it is compressed, in bytes.
const RAW: usize = 2 << 20;
/// How many packs are looked at for room.
const LOOKED_AT: usize = 4;
const LEVEL: i32 = 3;
const MAGIC: &[u8; 4] = b"RSP1";

/// What a pack holds: records change often, contents never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Records,
    Content,
}

impl Class {
    fn of(key: &str) -> Self {
        if key.starts_with(BLOB_PREFIX) {
            Self::Content
        } else {
            Self::Records
        }
    }
}

/// Names a pack.
pub(super) type PackId = (Class, u32);

/// A pack that is to be written; without bytes it is to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) pack: PackId,
    pub(super) bytes: Option<Bytes>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    key: String,
    /// Grows with every change of any key.
    seq: u64,
    part: u16,
    parts: u16,
    value: Bytes,
}

impl Entry {
    fn size(&self) -> usize {
        self.key.len() + self.value.len() + 20
    }
}

/// A pack could not be read.
#[derive(Debug, thiserror::Error)]
#[error("it is no pack of records: {0}")]
pub(super) struct Unreadable(&'static str);

fn encode(entries: &[Entry]) -> Bytes {
    let mut raw = MAGIC.to_vec();
    for entry in entries {
        let length = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        raw.extend(length(entry.key.len()));
        raw.extend(length(entry.value.len()));
        raw.extend(entry.seq.to_be_bytes());
        raw.extend(entry.part.to_be_bytes());
        raw.extend(entry.parts.to_be_bytes());
        raw.extend(entry.key.as_bytes());
        raw.extend(&entry.value);
    }
    // compressing to memory fails for want of memory only
    zstd::bulk::compress(&raw, LEVEL).unwrap_or_default().into()
}

fn decode(packed: &[u8]) -> Result<Vec<Entry>, Unreadable> {
    let raw = zstd::bulk::decompress(packed, 2 * RAW).map_err(|_| Unreadable("not compressed"))?;
    let raw = Bytes::from(raw);
    let mut rest = raw
        .strip_prefix(MAGIC)
        .map(|rest| raw.slice_ref(rest))
        .ok_or(Unreadable("of another version"))?;
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let cut = || Unreadable("cut off");
        if rest.len() < 20 {
            return Err(cut());
        }
        let head = rest.split_to(20);
        let number = |range: std::ops::Range<usize>| {
            head[range]
                .iter()
                .fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte))
        };
        let length = |range| usize::try_from(number(range)).unwrap_or(usize::MAX);
        let (key, value) = (length(0..4), length(4..8));
        if key.saturating_add(value) > rest.len() {
            return Err(cut());
        }
        let key = String::from_utf8(rest.split_to(key).to_vec())
            .map_err(|_| Unreadable("a key is no text"))?;
        let short = |range| u16::try_from(number(range)).unwrap_or(0);
        entries.push(Entry {
            key,
            seq: number(8..16),
            part: short(16..18),
            parts: short(18..20),
            value: rest.split_to(value),
        });
    }
    Ok(entries)
}

#[derive(Debug, Default)]
struct Pack {
    packed: Bytes,
    /// How much it holds, before it is compressed.
    raw: usize,
}

/// Which pack holds what.
#[derive(Debug, Default)]
pub(super) struct Layout {
    packs: BTreeMap<PackId, Pack>,
    /// Where the parts of each value lie.
    places: BTreeMap<String, Vec<PackId>>,
    seq: u64,
}

/// The packs that a change touches, taken apart.
#[derive(Default)]
struct Open(BTreeMap<PackId, Vec<Entry>>);

impl Open {
    fn get<'a>(&'a mut self, id: PackId, packs: &BTreeMap<PackId, Pack>) -> &'a mut Vec<Entry> {
        self.0.entry(id).or_insert_with(|| {
            let packed = packs.get(&id).map(|pack| pack.packed.clone());
            packed
                .and_then(|packed| decode(&packed).ok())
                .unwrap_or_default()
        })
    }
}

impl Layout {
    /// Reads packs. Returns the layout, the values, and the packs to write at once: what a change that broke off has
    /// left behind goes before anything else is changed.
    pub(super) fn load(
        packs: impl IntoIterator<Item = (PackId, Bytes)>,
    ) -> (Self, Persisted, Vec<Write>, Vec<(PackId, Unreadable)>) {
        let mut layout = Self::default();
        // of each key, the parts of each version
        type Parts = Vec<(u16, u16, PackId, Bytes)>;
        let mut found: BTreeMap<String, BTreeMap<u64, Parts>> = BTreeMap::new();
        let mut unreadable = Vec::new();
        for (id, packed) in packs {
            let entries = match decode(&packed) {
                Ok(entries) => entries,
                Err(error) => {
                    unreadable.push((id, error));
                    Vec::new()
                }
            };
            let raw = entries.iter().map(Entry::size).sum();
            layout.packs.insert(id, Pack { packed, raw });
            for entry in entries {
                layout.seq = layout.seq.max(entry.seq);
                let versions = found.entry(entry.key).or_default();
                versions.entry(entry.seq).or_default().push((
                    entry.part,
                    entry.parts,
                    id,
                    entry.value,
                ));
            }
        }
        let mut values = Persisted::new();
        let mut stale: BTreeMap<PackId, BTreeSet<(String, u64)>> = BTreeMap::new();
        for (key, versions) in found {
            let mut chosen = false;
            for (seq, mut parts) in versions.into_iter().rev() {
                parts.sort_by_key(|(part, ..)| *part);
                let whole = parts.iter().enumerate().all(|(at, (part, of, ..))| {
                    at == *part as usize && *of as usize == parts.len()
                });
                if chosen || !whole {
                    for (_, _, id, _) in parts {
                        stale.entry(id).or_default().insert((key.clone(), seq));
                    }
                    continue;
                }
                chosen = true;
                let value = match parts.as_slice() {
                    // a slice would keep the whole pack alive
                    [(_, _, _, value)] => Bytes::copy_from_slice(value),
                    parts => parts
                        .iter()
                        .flat_map(|(_, _, _, value)| value.iter().copied())
                        .collect(),
                };
                values.insert(key.clone(), value);
                let places = parts.into_iter().map(|(_, _, id, _)| id).collect();
                layout.places.insert(key.clone(), places);
            }
        }
        let mut open = Open::default();
        for (id, stale) in stale {
            let entries = open.get(id, &layout.packs);
            entries.retain(|entry| !stale.contains(&(entry.key.clone(), entry.seq)));
        }
        for (id, _) in &unreadable {
            open.0.insert(*id, Vec::new());
        }
        let writes = layout.close(open);
        (layout, values, writes, unreadable)
    }

    /// Takes in changes; returns the writes that carry them out, in their order.
    pub(super) fn change(&mut self, changes: Changes) -> Vec<Write> {
        let mut adds = Open::default();
        let mut removes: Vec<(PackId, String, u64)> = Vec::new();
        for (key, value) in changes {
            self.seq += 1;
            let seq = self.seq;
            let old = self.places.remove(&key).unwrap_or_default();
            let Some(value) = value else {
                removes.extend(old.into_iter().map(|id| (id, key.clone(), seq)));
                continue;
            };
            let parts: Vec<Bytes> = if value.is_empty() {
                vec![value]
            } else {
                (0..value.len())
                    .step_by(PART)
                    .map(|from| value.slice(from..value.len().min(from + PART)))
                    .collect()
            };
            let of = u16::try_from(parts.len()).unwrap_or(u16::MAX);
            let mut places = Vec::with_capacity(parts.len());
            for (part, value) in (0_u16..).zip(parts) {
                let entry = Entry {
                    key: key.clone(),
                    seq,
                    part,
                    parts: of,
                    value,
                };
                // one write replaces a value that lies in one piece where it lay
                let same = (of == 1 && old.len() == 1)
                    .then(|| old[0])
                    .filter(|id| self.fits(*id, entry.size(), Some(&key), &mut adds));
                let id = same.unwrap_or_else(|| self.room(Class::of(&key), entry.size()));
                let entries = adds.get(id, &self.packs);
                if same.is_some() {
                    entries.retain(|entry| entry.key != key);
                }
                let size = entry.size();
                entries.push(entry);
                self.packs.entry(id).or_default().raw += size;
                places.push(id);
            }
            for id in old {
                // where it was replaced in its place, nothing older is left
                if of != 1 || places[0] != id {
                    removes.push((id, key.clone(), seq));
                }
            }
            self.places.insert(key, places);
        }
        let mut writes = self.close(adds);
        let mut gone = Open::default();
        for (id, key, below) in removes {
            let kept = self.places.contains_key(&key);
            gone.get(id, &self.packs)
                .retain(|entry| entry.key != key || (kept && entry.seq >= below));
        }
        writes.extend(self.close(gone));
        writes
    }

    /// Has a pack room for so much more?
    fn fits(&self, id: PackId, size: usize, instead: Option<&str>, open: &mut Open) -> bool {
        let Some(pack) = self.packs.get(&id) else {
            return false;
        };
        let alone = instead.is_some_and(|key| {
            let entries = open.get(id, &self.packs);
            entries.iter().all(|entry| entry.key == key)
        });
        alone || self.has_room(pack, size)
    }

    fn has_room(&self, pack: &Pack, size: usize) -> bool {
        // what is new counts as if it could not be compressed
        let known = decoded_size(&pack.packed);
        let new = pack.raw.saturating_sub(known);
        pack.packed.len() + new + size <= PACK && pack.raw + size <= RAW
    }

    /// A pack with room, or a new one.
    fn room(&self, class: Class, size: usize) -> PackId {
        let range = (class, 0)..=(class, u32::MAX);
        let mut packs = self.packs.range(range.clone()).rev().take(LOOKED_AT);
        if let Some((id, _)) = packs.find(|(_, pack)| self.has_room(pack, size)) {
            return *id;
        }
        let last = self
            .packs
            .range(range)
            .next_back()
            .map(|((_, last), _)| *last);
        (class, last.map_or(0, |last| last.saturating_add(1)))
    }

    /// Puts packs together again.
    fn close(&mut self, open: Open) -> Vec<Write> {
        let mut writes = Vec::new();
        for (id, entries) in open.0 {
            if entries.is_empty() {
                self.packs.remove(&id);
                writes.push(Write {
                    pack: id,
                    bytes: None,
                });
                continue;
            }
            let packed = encode(&entries);
            let raw = entries.iter().map(Entry::size).sum();
            let before = self.packs.insert(
                id,
                Pack {
                    packed: packed.clone(),
                    raw,
                },
            );
            if before.is_none_or(|before| before.packed != packed) {
                writes.push(Write {
                    pack: id,
                    bytes: Some(packed),
                });
            }
        }
        writes
    }
}

/// How much a pack holds that was compressed already.
fn decoded_size(packed: &[u8]) -> usize {
    if packed.is_empty() {
        return 0;
    }
    zstd::zstd_safe::get_frame_content_size(packed)
        .ok()
        .flatten()
        .and_then(|size| usize::try_from(size).ok())
        .map_or(0, |size| size.saturating_sub(MAGIC.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk of packs; writes may be lost from some point on.
    #[derive(Default, Clone)]
    struct Disk(BTreeMap<PackId, Bytes>);

    impl Disk {
        fn write(&mut self, writes: &[Write]) {
            for write in writes {
                match &write.bytes {
                    Some(bytes) => drop(self.0.insert(write.pack, bytes.clone())),
                    None => drop(self.0.remove(&write.pack)),
                }
            }
        }

        fn load(&self) -> (Layout, Persisted) {
            let packs = self.0.iter().map(|(id, bytes)| (*id, bytes.clone()));
            let (layout, values, writes, unreadable) = Layout::load(packs);
            assert!(unreadable.is_empty());
            let mut clean = self.clone();
            clean.write(&writes);
            let packs = clean.0.iter().map(|(id, bytes)| (*id, bytes.clone()));
            let (_, again, more, _) = Layout::load(packs);
            assert_eq!(
                (again, more),
                (values.clone(), Vec::new()),
                "cleaned at once"
            );
            (layout, values)
        }
    }

    /// Bytes that do not compress.
    fn noise(length: usize, seed: u64) -> Bytes {
        let mut state = seed | 1;
        (0..length)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_be_bytes()[3]
            })
            .collect()
    }

    #[test]
    fn values_of_any_size_come_back_and_packs_stay_small() {
        let mut disk = Disk::default();
        let mut layout = Layout::default();
        let mut expected = Persisted::new();
        for (round, size) in [0, 1, 500, PART - 1, PART, PART + 1, 5 * PART + 7, 700_000]
            .into_iter()
            .enumerate()
        {
            let mut changes = Changes::new();
            for key in [
                "order".to_owned(),
                format!("app/p/{round}"),
                format!("blob/{round:064}"),
            ] {
                let value = noise(size, 7 + round as u64);
                expected.insert(key.clone(), value.clone());
                changes.insert(key, Some(value));
            }
            disk.write(&layout.change(changes));
            assert_eq!(disk.load().1, expected);
        }
        for bytes in disk.0.values() {
            assert!(bytes.len() <= PACK + 1024, "{}", bytes.len());
        }
        let all = expected.keys().map(|key| (key.clone(), None)).collect();
        disk.write(&layout.change(all));
        assert!(disk.0.is_empty(), "{:?}", disk.0.keys());
    }

    #[test]
    fn a_small_change_writes_one_small_pack() {
        let mut layout = Layout::default();
        let text =
            |n: usize| Bytes::from(format!("{{\"kind\":\"ConfigMap\",\"number\":{n}}}").repeat(30));
        let many = (0..5000).map(|n| (format!("blob/{n:064}"), Some(text(n))));
        let writes = layout.change(many.collect());
        assert!(
            writes.len() < 40,
            "{} writes for 5,000 contents",
            writes.len()
        );
        let order = |n: usize| Changes::from([("order".to_owned(), Some(text(n)))]);
        layout.change(order(1));
        let writes = layout.change(order(2));
        assert_eq!(writes.len(), 1);
        assert!(
            layout.change(Changes::new()).is_empty(),
            "no change, no write"
        );
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]
        #[test]
        fn any_write_may_be_the_last(
            steps in proptest::collection::vec(
                proptest::collection::vec((0_u8..6, proptest::option::weighted(0.8, 0_usize..400_000)), 1..4), 1..8),
            lost in 0_usize..6,
        ) {
            let mut disk = Disk::default();
            let mut layout = Layout::default();
            let mut before = Persisted::new();
            let last = steps.len() - 1;
            for (at, step) in steps.into_iter().enumerate() {
                let mut changes = Changes::new();
                let mut after = before.clone();
                for (key, size) in step {
                    let key = if key < 3 { format!("app/{key}") } else { format!("blob/{key:064}") };
                    let value = size.map(|size| noise(size, size as u64 + at as u64));
                    match &value {
                        Some(value) => drop(after.insert(key.clone(), value.clone())),
                        None => drop(after.remove(&key)),
                    }
                    changes.insert(key, value);
                }
                let touched: Vec<String> = changes.keys().cloned().collect();
                let writes = layout.change(changes);
                if at == last {
                    let kept = writes.len().saturating_sub(lost);
                    disk.write(&writes[..kept]);
                    let (again, found) = disk.load();
                    for key in touched {
                        let value = found.get(&key);
                        proptest::prop_assert!(
                            value == before.get(&key) || value == after.get(&key),
                            "{} is neither old nor new", key
                        );
                    }
                    for (key, value) in &before {
                        if before.get(key) == after.get(key) {
                            proptest::prop_assert_eq!(found.get(key), Some(value));
                        }
                    }
                    layout = again;
                } else {
                    disk.write(&writes);
                    proptest::prop_assert_eq!(&disk.load().1, &after);
                    before = after;
                }
            }
        }
    }
}
