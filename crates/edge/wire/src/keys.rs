//! The keys that orders are signed with, and the set of them that an agent trusts.
//!
//! All are ECDSA on P-256 with SHA-256. A key's id is the digest of its public half (SubjectPublicKeyInfo in DER).

use std::collections::BTreeMap;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use base_json::Digest;
use base_sign::{Envelope, SignError, Signer, Verifier};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a statement that vouches for a key is, in its envelope.
const KEY_TYPE: &str = "application/vnd.roadstead.key.v1+json";

/// Why a key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The cryptographic library refused.
    #[error("failed to {0} a signing key")]
    Crypto(&'static str),
    /// It is not PEM, or PEM of something else.
    #[error("signing key is not a PKCS#8 PEM block \"PRIVATE KEY\"")]
    NotPem,
    /// It is no P-256 key.
    #[error("public key is not an ECDSA P-256 key in DER")]
    NotP256,
    /// No key that is trusted already vouches for it.
    #[error("new signing key is not vouched for by a trusted one")]
    Unvouched(#[source] SignError),
    /// The statement or set cannot be read.
    #[error("malformed key set: {0}")]
    Malformed(String),
    /// A set without keys trusts nobody, and could never grow again.
    #[error("the last key of a set cannot be removed")]
    LastKey,
}

/// A private key that signs orders.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    public: PublicKey,
}

impl SigningKey {
    /// Makes a new key.
    pub fn generate() -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)
            .map_err(|_| KeyError::Crypto("make"))?;
        Self::of(pair)
    }

    fn of(pair: EcdsaKeyPair) -> Result<Self, KeyError> {
        let der: PublicKeyX509Der<'_> = pair
            .public_key()
            .as_der()
            .map_err(|_| KeyError::Crypto("encode"))?;
        let public = PublicKey(der.as_ref().to_vec());
        Ok(Self { pair, public })
    }

    /// Reads a PKCS#8 PEM block.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let block = pem::parse(text).map_err(|_| KeyError::NotPem)?;
        if block.tag() != "PRIVATE KEY" {
            return Err(KeyError::NotPem);
        }
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, block.contents())
            .map_err(|_| KeyError::NotP256)?;
        Self::of(pair)
    }

    /// Writes a PKCS#8 PEM block. It is secret.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        let der = self
            .pair
            .to_pkcs8v1()
            .map_err(|_| KeyError::Crypto("encode"))?;
        Ok(pem::encode(&pem::Pem::new("PRIVATE KEY", der.as_ref())))
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Vouches for a successor: agents that trust this key will trust that one too, see [`KeySet::admit`].
    pub fn vouch(&self, successor: &PublicKey) -> Envelope {
        let payload = base_json::json!({ "key": successor });
        Envelope::seal(KEY_TYPE, &base_json::canonical(&payload), &[self])
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.public.id())
    }
}

impl Signer for SigningKey {
    fn key_id(&self) -> String {
        self.public.id()
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        // Signing fails only when the library is out of memory or entropy; an empty signature is refused by everybody.
        self.pair
            .sign(&SystemRandom::new(), message)
            .map(|signature| signature.as_ref().to_vec())
            .unwrap_or_default()
    }
}

/// The public half of a signing key. As JSON it is base64 of its DER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(Vec<u8>);

/// What stands before the point in the DER of every uncompressed P-256 key (RFC 5480).
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo in DER.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let point = der.strip_prefix(&P256_PREFIX).ok_or(KeyError::NotP256)?;
        if point.len() != 65 || point[0] != 4 {
            return Err(KeyError::NotP256);
        }
        Ok(Self(der.to_vec()))
    }

    /// The key's id: the digest of its DER.
    pub fn id(&self) -> String {
        Digest::of(&self.0).to_string()
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let point = &self.0[P256_PREFIX.len()..];
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
            .verify(message, signature)
            .is_ok()
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let der = BASE64
            .decode(text.as_bytes())
            .map_err(serde::de::Error::custom)?;
        Self::from_der(&der).map_err(serde::de::Error::custom)
    }
}

/// One trusted key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Trusted {
    key: PublicKey,
    /// The predecessor's statement; none for a key that was there from the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vouched: Option<Envelope>,
}

/// The keys whose orders are believed. It grows only by statements of keys that are in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet {
    keys: BTreeMap<String, Trusted>,
    /// Ids in the order in which they were admitted: a predecessor stands before its successor.
    order: Vec<String>,
}

impl KeySet {
    /// Starts from one key that is trusted for reasons of its own.
    pub fn new(first: PublicKey) -> Self {
        let id = first.id();
        let trusted = Trusted {
            key: first,
            vouched: None,
        };
        Self {
            keys: BTreeMap::from([(id.clone(), trusted)]),
            order: vec![id],
        }
    }

    /// The ids, oldest first.
    pub fn ids(&self) -> &[String] {
        &self.order
    }

    /// Admits a key that a trusted one vouches for, and returns its id. A key that is in the set stays as it is.
    pub fn admit(&mut self, statement: &Envelope) -> Result<String, KeyError> {
        #[derive(Deserialize)]
        struct Statement {
            key: PublicKey,
        }
        let payload = statement
            .open(KEY_TYPE, self)
            .map_err(KeyError::Unvouched)?;
        let Statement { key } = serde_json::from_slice(&payload)
            .map_err(|error| KeyError::Malformed(error.to_string()))?;
        let id = key.id();
        if !self.keys.contains_key(&id) {
            let vouched = Some(statement.clone());
            self.keys.insert(id.clone(), Trusted { key, vouched });
            self.order.push(id.clone());
        }
        Ok(id)
    }

    /// Admits what it can of another set, by that set's statements alone, and returns the ids that are new. A key that
    /// merely stands there is not believed.
    pub fn absorb(&mut self, other: &Self) -> Vec<String> {
        let mut new = Vec::new();
        for id in &other.order {
            if self.keys.contains_key(id) {
                continue;
            }
            let statement = other.keys.get(id).and_then(|key| key.vouched.as_ref());
            if let Some(Ok(id)) = statement.map(|statement| self.admit(statement)) {
                new.push(id);
            }
        }
        new
    }

    /// Stops trusting a key. This is for the cluster's own admin; nothing that arrives by wire can do it.
    pub fn remove(&mut self, id: &str) -> Result<(), KeyError> {
        if self.order == [id] {
            return Err(KeyError::LastKey);
        }
        self.keys.remove(id);
        self.order.retain(|kept| kept != id);
        Ok(())
    }

    /// Reads a set that this process, or a hub that was authenticated, wrote.
    pub fn from_json(bytes: &[u8]) -> Result<Self, KeyError> {
        let list: Vec<Trusted> = serde_json::from_slice(bytes)
            .map_err(|error| KeyError::Malformed(error.to_string()))?;
        if list.is_empty() {
            return Err(KeyError::Malformed("it holds no key".to_owned()));
        }
        let order: Vec<String> = list.iter().map(|trusted| trusted.key.id()).collect();
        let keys = order.iter().cloned().zip(list).collect();
        Ok(Self { keys, order })
    }

    /// Writes the set, oldest key first.
    pub fn to_json(&self) -> Vec<u8> {
        let list: Vec<&Trusted> = self
            .order
            .iter()
            .filter_map(|id| self.keys.get(id))
            .collect();
        base_json::canonical_of(&list).unwrap_or_default()
    }
}

impl Verifier for KeySet {
    fn verify(&self, key_id: &str, message: &[u8], signature: &[u8]) -> bool {
        self.keys
            .get(key_id)
            .is_some_and(|trusted| trusted.key.verifies(message, signature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_pem_and_signs_what_its_set_believes() {
        let key = SigningKey::generate().unwrap();
        let again = SigningKey::from_pem(&key.to_pem().unwrap()).unwrap();
        assert_eq!(key.key_id(), again.key_id());
        let set = KeySet::new(key.public().clone());
        assert!(set.verify(&key.key_id(), b"message", &again.sign(b"message")));
        assert!(!set.verify(&key.key_id(), b"massage", &again.sign(b"message")));
        assert!(!set.verify(&key.key_id(), b"message", b""));
    }

    #[test]
    fn a_set_grows_only_by_statements_of_its_own_keys() {
        let keys: Vec<SigningKey> = (0..4).map(|_| SigningKey::generate().unwrap()).collect();
        let mut hub = KeySet::new(keys[0].public().clone());
        let mut agent = hub.clone();
        hub.admit(&keys[0].vouch(keys[1].public())).unwrap();
        hub.admit(&keys[1].vouch(keys[2].public())).unwrap();
        let refused = hub.admit(&keys[3].vouch(keys[3].public())).unwrap_err();
        assert!(matches!(refused, KeyError::Unvouched(_)), "{refused}");

        let sent = KeySet::from_json(&hub.to_json()).unwrap();
        assert_eq!(sent, hub);
        assert_eq!(
            agent.absorb(&sent),
            [keys[1].key_id(), keys[2].key_id()],
            "both, by the chain"
        );
        let stranger = KeySet::new(keys[3].public().clone());
        assert!(agent.absorb(&stranger).is_empty());

        agent.remove(&keys[0].key_id()).unwrap();
        assert!(!agent.verify(&keys[0].key_id(), b"m", &keys[0].sign(b"m")));
        assert!(agent.verify(&keys[2].key_id(), b"m", &keys[2].sign(b"m")));
        assert_eq!(
            KeySet::new(keys[3].public().clone()).remove(&keys[3].key_id()),
            Err(KeyError::LastKey)
        );
    }

    #[test]
    fn refuses_what_is_no_key() {
        for text in [
            "",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ] {
            assert!(SigningKey::from_pem(text).is_err(), "{text}");
        }
        for json in ["", "[]", "[{\"key\":\"AAAA\"}]"] {
            assert!(KeySet::from_json(json.as_bytes()).is_err(), "{json}");
        }
    }
}
