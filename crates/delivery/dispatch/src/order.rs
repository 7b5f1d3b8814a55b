//! Orders: what one cluster should run, signed for that cluster at that moment.

use std::collections::BTreeMap;

use base_json::Digest;
use base_sign::{Envelope, Signer, Verifier};
use k8s_object::ObjectId;
use roadstead_model::{Adopt, AppKey, ClusterId, Hold, ReleaseId, SyncOptions, Time, VariantId};
use serde::{Deserialize, Serialize};

/// Everything that one cluster should run. Small: an entry names digests, never contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// For whom, when, and of what.
    pub header: OrderHeader,
    /// What to do for each App.
    pub entries: BTreeMap<AppKey, Entry>,
}

/// The signed part of an order: it binds the entries by their root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderHeader {
    /// The cluster that the order is for.
    pub cluster: ClusterId,
    /// Raised when a hub is restored from a backup.
    pub epoch: u64,
    /// Grows with each order inside an epoch; an agent refuses a lower (epoch, sequence) than the highest it obeyed.
    pub sequence: u64,
    /// When it was signed.
    pub issued_at: Time,
    /// The digest of all entries, see [`root_of`].
    pub root: Digest,
    /// Features that an agent must know to obey this order; an unknown one refuses the order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub critical: Vec<String>,
}

/// A header with its signature: a DSSE envelope in JSON whose payload is the header's canonical JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedHeader(pub base_json::Value);

/// What a cluster should do for one App.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The Release.
    pub release: ReleaseId,
    /// The commit that the Release came from, for people and for `SameCommit`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub commit: String,
    /// The list of objects.
    pub variant: VariantId,
    /// What to do with them.
    pub phase: EntryPhase,
    /// How.
    #[serde(default)]
    pub options: SyncOptions,
    /// May existing objects be taken over?
    #[serde(default)]
    pub adopt: Adopt,
    /// Apps whose objects this one may take over without a removal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub takes_over_from: Vec<AppKey>,
    /// Apps on the same cluster that must be ready first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<WaitsFor>,
    /// Leave it alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// Objects to remove, after the new ones are healthy. Absence never removes: only what is listed here goes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tombstones: Vec<ObjectId>,
    /// Tombstones beyond the budget, or of protected kinds, that somebody approved, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approved: Vec<ObjectId>,
    /// Grows when somebody asks for another try; a higher one clears a terminal failure and lets hooks run again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempt: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What to do with an App's objects in a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EntryPhase {
    /// Apply them and keep them so.
    Deliver,
    /// The same, but going back: hooks do not run unless they say so, and what the failed Release created goes.
    Revert,
    /// Give up ownership and keep the objects as they are: marks are taken off, nothing is removed.
    Release,
    /// Remove the tombstones, then forget the App.
    Remove,
}

/// An App on the same cluster that must be ready first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitsFor {
    /// The App.
    pub app: AppKey,
    /// It must have synced this commit; empty when any healthy state will do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub commit: String,
}

/// What changed between two orders of one cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderDelta {
    /// The root that the agent holds; `None` when this delta is the whole order.
    pub base: Option<Digest>,
    /// The new header, signed.
    pub header: SignedHeader,
    /// Entries that are new or changed.
    pub changed: BTreeMap<AppKey, Entry>,
    /// Apps that the order no longer names. This removes nothing in the cluster: the agent lets go of the objects.
    pub gone: Vec<AppKey>,
}

/// The highest order that an agent obeyed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Known {
    /// Its epoch.
    pub epoch: u64,
    /// Its sequence.
    pub sequence: u64,
}

/// Why an agent refuses an order. It keeps the one it has, and says so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// It is for another cluster.
    #[error("order is for cluster {named}, this is {own}")]
    OtherCluster {
        /// The cluster named in it.
        named: ClusterId,
        /// This cluster.
        own: ClusterId,
    },
    /// It is older than one that was obeyed already.
    #[error("order {epoch}.{sequence} is older than {}.{}, which was obeyed already", .known.epoch, .known.sequence)]
    Replayed {
        /// Its epoch.
        epoch: u64,
        /// Its sequence.
        sequence: u64,
        /// The highest one obeyed.
        known: Known,
    },
    /// The entries do not have the signed root.
    #[error("entries have root {found}, the signed header says {signed}")]
    WrongRoot {
        /// The root of the entries.
        found: Digest,
        /// The signed one.
        signed: Digest,
    },
    /// The delta starts from an order that the agent does not hold.
    #[error("delta starts from root {base}, the agent holds {held}")]
    OtherBase {
        /// The delta's base.
        base: Digest,
        /// The agent's root.
        held: Digest,
    },
    /// It asks for something that this agent does not know.
    #[error("order needs feature {0:?}, which this agent does not know; upgrade the agent")]
    UnknownCritical(String),
    /// The signature is missing or wrong.
    #[error("signature refused: {0}")]
    Signature(String),
    /// It cannot be read.
    #[error("order is malformed: {0}")]
    Malformed(String),
}

/// What a signed header is, in its envelope.
const HEADER_TYPE: &str = "application/vnd.roadstead.order.v1+json";

/// Signs a header: a DSSE envelope around its canonical JSON.
pub fn sign_header(header: &OrderHeader, signer: &dyn Signer) -> SignedHeader {
    // a header and an envelope are strings and numbers: neither can fail to become JSON
    let payload = base_json::canonical_of(header).unwrap_or_default();
    let envelope = Envelope::seal(HEADER_TYPE, &payload, &[signer]);
    SignedHeader(serde_json::to_value(envelope).unwrap_or_default())
}

/// Returns the header if a trusted key signed it.
pub fn open_header(
    signed: &SignedHeader,
    verifier: &dyn Verifier,
) -> Result<OrderHeader, OrderError> {
    let envelope = Envelope::deserialize(&signed.0)
        .map_err(|error| OrderError::Malformed(error.to_string()))?;
    let payload = envelope
        .open(HEADER_TYPE, verifier)
        .map_err(|error| OrderError::Signature(error.to_string()))?;
    let value = base_json::parse_strict(&payload)
        .map_err(|error| OrderError::Malformed(error.to_string()))?;
    OrderHeader::deserialize(value).map_err(|error| OrderError::Malformed(error.to_string()))
}

/// Why the hub ended an agent's stream, as the agent shows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("hub refused the agent: {reason}")]
pub struct StreamRefused {
    /// What the hub said.
    pub reason: String,
}

/// The digest of all entries: over the canonical JSON of {app: digest of its entry}.
pub fn root_of(entries: &BTreeMap<AppKey, Entry>) -> Digest {
    let mut map = base_json::Map::new();
    for (app, entry) in entries {
        let bytes = base_json::canonical_of(entry).unwrap_or_default();
        map.insert(
            app.to_string(),
            base_json::Value::String(Digest::of(&bytes).to_string()),
        );
    }
    Digest::of_value(&base_json::Value::Object(map))
}

/// What changed from `old` to `new`; the whole of `new` when `old` is `None`.
pub fn delta(
    old: Option<(Digest, &BTreeMap<AppKey, Entry>)>,
    new: &BTreeMap<AppKey, Entry>,
    header: SignedHeader,
) -> OrderDelta {
    let Some((base, old)) = old else {
        return OrderDelta {
            base: None,
            header,
            changed: new.clone(),
            gone: Vec::new(),
        };
    };
    let changed = new
        .iter()
        .filter(|(app, entry)| old.get(*app) != Some(entry));
    let changed = changed
        .map(|(app, entry)| (app.clone(), entry.clone()))
        .collect();
    let gone = old
        .keys()
        .filter(|app| !new.contains_key(*app))
        .cloned()
        .collect();
    OrderDelta {
        base: Some(base),
        header,
        changed,
        gone,
    }
}

/// Applies a delta to the entries that an agent holds and checks the result against the verified header: the cluster,
/// the (epoch, sequence), the root and the critical features.
pub fn apply_delta(
    held: &BTreeMap<AppKey, Entry>,
    own: &ClusterId,
    known: Known,
    header: &OrderHeader,
    delta: &OrderDelta,
    understood: &[&str],
) -> Result<BTreeMap<AppKey, Entry>, OrderError> {
    if header.cluster != *own {
        return Err(OrderError::OtherCluster {
            named: header.cluster.clone(),
            own: own.clone(),
        });
    }
    if (Known {
        epoch: header.epoch,
        sequence: header.sequence,
    }) < known
    {
        return Err(OrderError::Replayed {
            epoch: header.epoch,
            sequence: header.sequence,
            known,
        });
    }
    if let Some(feature) = header
        .critical
        .iter()
        .find(|feature| !understood.contains(&feature.as_str()))
    {
        return Err(OrderError::UnknownCritical(feature.clone()));
    }
    let mut entries = match delta.base {
        None => BTreeMap::new(),
        Some(base) => {
            let root = root_of(held);
            if base != root {
                return Err(OrderError::OtherBase { base, held: root });
            }
            held.clone()
        }
    };
    for app in &delta.gone {
        entries.remove(app);
    }
    entries.extend(
        delta
            .changed
            .iter()
            .map(|(app, entry)| (app.clone(), entry.clone())),
    );
    let found = root_of(&entries);
    if found != header.root {
        return Err(OrderError::WrongRoot {
            found,
            signed: header.root,
        });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Toy(&'static str);

    impl Signer for Toy {
        fn key_id(&self) -> String {
            self.0.to_owned()
        }

        fn sign(&self, message: &[u8]) -> Vec<u8> {
            [self.0.as_bytes(), Digest::of(message).as_bytes()].concat()
        }
    }

    impl Verifier for Toy {
        fn verify(&self, key_id: &str, message: &[u8], signature: &[u8]) -> bool {
            key_id == self.0 && signature == self.sign(message)
        }
    }

    fn header() -> OrderHeader {
        OrderHeader {
            cluster: ClusterId("c1".to_owned()),
            epoch: 2,
            sequence: 7,
            issued_at: Time(1_000),
            root: root_of(&BTreeMap::new()),
            critical: vec!["later".to_owned()],
        }
    }

    #[test]
    fn opens_the_header_that_was_signed() {
        let signed = sign_header(&header(), &Toy("a"));
        assert_eq!(open_header(&signed, &Toy("a")), Ok(header()));
        assert!(matches!(
            open_header(&signed, &Toy("b")),
            Err(OrderError::Signature(_))
        ));
    }

    #[test]
    fn refuses_what_is_no_signed_header() {
        for value in [
            base_json::json!(null),
            base_json::json!({"payload": "!", "payloadType": HEADER_TYPE, "signatures": []}),
        ] {
            assert!(open_header(&SignedHeader(value), &Toy("a")).is_err());
        }
        let other = Envelope::seal(HEADER_TYPE, b"{\"cluster\":\"c1\"}", &[&Toy("a")]);
        let other = SignedHeader(serde_json::to_value(other).unwrap());
        assert!(matches!(
            open_header(&other, &Toy("a")),
            Err(OrderError::Malformed(_))
        ));
    }

    #[test]
    fn a_delta_that_crossed_another_order_is_told_apart_from_a_bad_one() {
        let none = BTreeMap::new();
        let header = OrderHeader {
            critical: Vec::new(),
            ..header()
        };
        let known = Known {
            epoch: 2,
            sequence: 6,
        };
        let other = Digest::of(b"an order that was on its way");
        let own = ClusterId("c1".to_owned());
        let crossed = delta(Some((other, &none)), &none, sign_header(&header, &Toy("a")));
        // the agent asks again from the root that it holds, and keeps what it has until then
        assert_eq!(
            apply_delta(&none, &own, known, &header, &crossed, &[]),
            Err(OrderError::OtherBase {
                base: other,
                held: root_of(&none)
            })
        );
        let whole = delta(None, &none, sign_header(&header, &Toy("a")));
        assert_eq!(
            apply_delta(&none, &own, known, &header, &whole, &[]),
            Ok(BTreeMap::new())
        );
    }
}
