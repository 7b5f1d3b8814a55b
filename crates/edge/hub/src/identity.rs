//! Who the hub is, and who its clusters are: the CA, the keys that orders are signed with, tokens and certificates.
//!
//! All of it is in the store, so that a backup of the store is a backup of the hub.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use base_store::{At, Batch, CommitError, CommitId, Expect, Op, Range, Revision, Store};
use bytes::Bytes;
use parking_lot::RwLock;
use roadstead_model::{ClusterId, Time};
use roadstead_wire::keys::{KeySet, SigningKey};
use roadstead_wire::pki::{Ca, Issued, IssuedPair, Validity};
use roadstead_wire::token::{JoinToken, TokenRecord};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::HubError;
use crate::clock::{commit_id, now, random};

const CA: &str = "s/ca";
const KEY: &str = "s/order-key";
const HUB: &str = "s/hub";
const REVOKED: &str = "s/revoked/";
const AGENTS: &str = "s/agent/";
const TOKENS: &str = "s/token/";

/// How long the record of an ended token is kept, so that it is told from one that never was.
const TOKEN_KEPT_MS: u64 = 7 * 86_400_000;

const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 86_400);
const AGENT_DAYS: Duration = Duration::from_secs(90 * 86_400);
const USER_DAYS: Duration = Duration::from_secs(365 * 86_400);
const SERVER_DAYS: Duration = Duration::from_secs(365 * 86_400);

#[derive(Serialize, Deserialize)]
struct StoredCa {
    certificate: String,
    key: String,
}

#[derive(Serialize, Deserialize)]
struct StoredKey {
    key: String,
    /// The keys that were before it, each with its successor's statement; none until the first rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    set: Option<serde_json::Value>,
}

#[derive(Serialize, Deserialize)]
struct StoredHub {
    id: String,
}

/// The certificate that a cluster's agent has.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AgentRecord {
    pub(crate) serial: String,
    pub(crate) not_after: Time,
    /// Certificates from before the last renewals, with their ends: a revocation means these too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) earlier: Vec<(String, Time)>,
}

impl AgentRecord {
    /// Every certificate that may still be shown.
    fn all(&self) -> Vec<(String, Time)> {
        let mut all = self.earlier.clone();
        all.push((self.serial.clone(), self.not_after));
        all
    }
}

/// The key that orders are signed with now, and the set by which agents come to trust it.
pub(crate) struct OrderKeys {
    pub(crate) key: SigningKey,
    pub(crate) set: KeySet,
}

impl OrderKeys {
    fn read(stored: &StoredKey) -> Result<Self, HubError> {
        let key = SigningKey::from_pem(&stored.key)?;
        let set = match &stored.set {
            Some(set) => KeySet::from_json(set.to_string().as_bytes())?,
            None => KeySet::new(key.public().clone()),
        };
        Ok(Self { key, set })
    }
}

/// Who the hub is.
pub(crate) struct Identity {
    store: Arc<dyn Store>,
    pub(crate) ca: Ca,
    orders: RwLock<Arc<OrderKeys>>,
    pub(crate) hub_id: String,
    pub(crate) epoch: u64,
    revoked: RwLock<BTreeSet<String>>,
}

fn put<T: Serialize>(key: &str, value: &T, expect: Expect) -> Op {
    Op::Put {
        key: key.to_owned(),
        value: Bytes::from(serde_json::to_vec(value).unwrap_or_default()),
        expect,
    }
}

fn read<T: DeserializeOwned>(
    store: &dyn Store,
    key: &str,
) -> Result<Option<(T, Revision)>, HubError> {
    let Some(entry) = store.get(key, At::Newest)? else {
        return Ok(None);
    };
    let value = serde_json::from_slice(&entry.value).map_err(|error| HubError::Damaged {
        key: key.to_owned(),
        problem: error.to_string(),
    })?;
    Ok(Some((value, entry.modified)))
}

impl Identity {
    /// Reads the hub's identity, or makes it in a new store.
    pub(crate) fn open(store: Arc<dyn Store>, epoch: u64) -> Result<Self, HubError> {
        if store.get(CA, At::Newest)?.is_none() {
            let ca = Ca::generate("Roadstead hub", Validity::starting(now(), TEN_YEARS))?;
            let key = SigningKey::generate()?;
            let mut bytes = [0; 16];
            random(&mut bytes);
            let id = base_json::Digest::of(&bytes).short();
            let ops = vec![
                put(
                    CA,
                    &StoredCa {
                        certificate: ca.certificate_pem(),
                        key: ca.key_pem(),
                    },
                    Expect::Absent,
                ),
                put(
                    KEY,
                    &StoredKey {
                        key: key.to_pem()?,
                        set: None,
                    },
                    Expect::Absent,
                ),
                put(HUB, &StoredHub { id }, Expect::Absent),
            ];
            store.commit(Batch::new(CommitId(commit_id()), ops))?;
        }
        let missing = |key: &str| HubError::Damaged {
            key: key.to_owned(),
            problem: "it is missing".to_owned(),
        };
        let (ca, _): (StoredCa, _) = read(&*store, CA)?.ok_or_else(|| missing(CA))?;
        let (key, _): (StoredKey, _) = read(&*store, KEY)?.ok_or_else(|| missing(KEY))?;
        let (hub, _): (StoredHub, _) = read(&*store, HUB)?.ok_or_else(|| missing(HUB))?;
        let ca = Ca::load(&ca.certificate, &ca.key)?;
        let orders = RwLock::new(Arc::new(OrderKeys::read(&key)?));
        let range = Range {
            prefix: REVOKED.to_owned(),
            after: None,
            limit: 0,
            at: At::Newest,
        };
        let revoked = store
            .range(&range)?
            .entries
            .into_iter()
            .map(|entry| entry.key[REVOKED.len()..].to_owned());
        let revoked = RwLock::new(revoked.collect());
        Ok(Self {
            ca,
            orders,
            hub_id: hub.id,
            epoch,
            revoked,
            store,
        })
    }

    /// The key that orders are signed with now, and the set that agents are given.
    pub(crate) fn order_keys(&self) -> Arc<OrderKeys> {
        Arc::clone(&self.orders.read())
    }

    /// Signs orders with a new key from now on; returns its id. The key before it vouches for it, so that agents which
    /// trust that one believe the new one, whenever they come.
    pub(crate) fn rotate(&self) -> Result<String, HubError> {
        // one at a time: two would each vouch for their own successor of the same key
        let mut orders = self.orders.write();
        let (stored, revision) =
            read::<StoredKey>(&*self.store, KEY)?.ok_or_else(|| HubError::Damaged {
                key: KEY.to_owned(),
                problem: "it is missing".to_owned(),
            })?;
        let before = OrderKeys::read(&stored)?;
        let key = SigningKey::generate()?;
        let mut set = before.set;
        let id = set.admit(&before.key.vouch(key.public()))?;
        let json = serde_json::from_slice(&set.to_json()).map_err(|error| HubError::Damaged {
            key: KEY.to_owned(),
            problem: error.to_string(),
        })?;
        let stored = StoredKey {
            key: key.to_pem()?,
            set: Some(json),
        };
        let op = put(KEY, &stored, Expect::At(revision));
        self.store
            .commit(Batch::new(CommitId(commit_id()), vec![op]))?;
        *orders = Arc::new(OrderKeys { key, set });
        Ok(id)
    }

    /// Forgets join tokens that ended a week ago, and revocations of certificates that could not be shown any more
    /// anyway; how many of each.
    pub(crate) fn forget_ended(
        &self,
        now: Time,
        offline_grace: Duration,
    ) -> Result<(usize, usize), HubError> {
        let mut ops = Vec::new();
        let mut counts = [0, 0];
        let grace = u64::try_from(offline_grace.as_millis()).unwrap_or(u64::MAX);
        for (at, prefix) in [TOKENS, REVOKED].into_iter().enumerate() {
            let range = Range {
                prefix: prefix.to_owned(),
                after: None,
                limit: 0,
                at: At::Newest,
            };
            for entry in self.store.range(&range)?.entries {
                let (end, keep) = if prefix == TOKENS {
                    let token = serde_json::from_slice::<TokenRecord>(&entry.value);
                    (token.ok().map(|token| token.expires_at), TOKEN_KEPT_MS)
                } else {
                    // an ended certificate may still renew for a while, and must be refused so long
                    let end = serde_json::from_slice::<Time>(&entry.value).ok();
                    (end, grace.saturating_add(TOKEN_KEPT_MS))
                };
                // what cannot be read stays
                if end.is_some_and(|end| now.since_ms(end) > keep) {
                    counts[at] += 1;
                    ops.push(Op::Delete {
                        key: entry.key,
                        expect: Expect::At(entry.modified),
                    });
                }
            }
        }
        for some in ops.chunks(500) {
            let batch = Batch::new(CommitId(commit_id()), some.to_vec());
            self.store.commit(batch)?;
            let serials = some.iter().filter_map(|op| op.key().strip_prefix(REVOKED));
            let mut revoked = self.revoked.write();
            for serial in serials {
                revoked.remove(serial);
            }
        }
        Ok((counts[0], counts[1]))
    }

    /// Was this certificate revoked?
    pub(crate) fn is_revoked(&self, serial: &str) -> bool {
        self.revoked.read().contains(serial)
    }

    /// Makes the certificate that the port shows.
    pub(crate) fn server(&self, names: &[String]) -> Result<IssuedPair, HubError> {
        Ok(self
            .ca
            .server(names, Validity::starting(now(), SERVER_DAYS))?)
    }

    /// Makes a person's certificate.
    pub(crate) fn user(&self, name: &str, groups: &[String]) -> Result<IssuedPair, HubError> {
        Ok(self
            .ca
            .user(name, groups, Validity::starting(now(), USER_DAYS))?)
    }

    /// Makes an agent's certificate and writes down that it is the cluster's; an earlier one is revoked if asked for.
    pub(crate) fn agent(
        &self,
        request_pem: &str,
        cluster: &ClusterId,
        revoke_old: bool,
    ) -> Result<Issued, HubError> {
        let issued = self
            .ca
            .agent(request_pem, cluster, Validity::starting(now(), AGENT_DAYS))?;
        let key = format!("{AGENTS}{cluster}");
        let mut ops = Vec::new();
        let old: Option<(AgentRecord, Revision)> = read(&*self.store, &key)?;
        let known = old.map(|(old, _)| old.all()).unwrap_or_default();
        let mut revoked = Vec::new();
        let mut earlier = Vec::new();
        if revoke_old {
            revoked = known;
        } else {
            earlier = known;
        }
        for (serial, not_after) in &revoked {
            ops.push(put(&format!("{REVOKED}{serial}"), not_after, Expect::Any));
        }
        let record = AgentRecord {
            serial: issued.serial.clone(),
            not_after: issued.not_after,
            earlier,
        };
        ops.push(put(&key, &record, Expect::Any));
        self.store.commit(Batch::new(CommitId(commit_id()), ops))?;
        self.revoked
            .write()
            .extend(revoked.into_iter().map(|(serial, _)| serial));
        Ok(issued)
    }

    /// Revokes a cluster's certificate; returns its serial number.
    pub(crate) fn revoke(&self, cluster: &ClusterId) -> Result<Option<String>, HubError> {
        let key = format!("{AGENTS}{cluster}");
        let Some((record, _)) = read::<AgentRecord>(&*self.store, &key)? else {
            return Ok(None);
        };
        let all = record.all();
        let mut ops: Vec<Op> = all
            .iter()
            .map(|(serial, not_after)| put(&format!("{REVOKED}{serial}"), not_after, Expect::Any))
            .collect();
        ops.push(Op::Delete {
            key,
            expect: Expect::Any,
        });
        self.store.commit(Batch::new(CommitId(commit_id()), ops))?;
        self.revoked
            .write()
            .extend(all.into_iter().map(|(serial, _)| serial));
        Ok(Some(record.serial))
    }

    /// Has a cluster an agent whose certificate was not revoked?
    pub(crate) fn has_agent(&self, cluster: &ClusterId) -> Result<bool, HubError> {
        let found = self.store.get(&format!("{AGENTS}{cluster}"), At::Newest)?;
        Ok(found.is_some())
    }

    /// Makes a join token; `record` makes what is kept of it from its id and hash.
    pub(crate) fn make_token(
        &self,
        record: impl FnOnce(String, base_json::Digest) -> TokenRecord,
    ) -> Result<JoinToken, HubError> {
        let mut bytes = [0; roadstead_wire::token::TOKEN_BYTES];
        random(&mut bytes);
        let token = JoinToken::new(&bytes, self.ca.hash());
        let record = record(token.id().to_owned(), token.hash());
        let op = put(&format!("{TOKENS}{}", token.id()), &record, Expect::Absent);
        self.store
            .commit(Batch::new(CommitId(commit_id()), vec![op]))?;
        Ok(token)
    }

    /// Finds what is kept of a token.
    pub(crate) fn token(
        &self,
        token: &JoinToken,
    ) -> Result<Option<(TokenRecord, Revision)>, HubError> {
        read(&*self.store, &format!("{TOKENS}{}", token.id()))
    }

    /// Takes one use off a token; false if somebody else was faster.
    pub(crate) fn use_token(&self, record: &TokenRecord, at: Revision) -> Result<bool, HubError> {
        let used = TokenRecord {
            uses_left: record.uses_left.saturating_sub(1),
            ..record.clone()
        };
        let op = put(&format!("{TOKENS}{}", record.id), &used, Expect::At(at));
        match self
            .store
            .commit(Batch::new(CommitId(commit_id()), vec![op]))
        {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
