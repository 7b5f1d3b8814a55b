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

/// Who the hub is.
pub(crate) struct Identity {
    store: Arc<dyn Store>,
    pub(crate) ca: Ca,
    pub(crate) key: SigningKey,
    pub(crate) keys: KeySet,
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
                put(KEY, &StoredKey { key: key.to_pem()? }, Expect::Absent),
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
        let key = SigningKey::from_pem(&key.key)?;
        let keys = KeySet::new(key.public().clone());
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
            key,
            keys,
            hub_id: hub.id,
            epoch,
            revoked,
            store,
        })
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
