//! Signed statements over a Signer trait: DSSE envelopes (<https://github.com/secure-systems-lab/dsse>).
//!
//! This crate knows the envelope and nothing of keys: an edge brings real ones, a simulation brings cheap ones.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

/// Makes signatures with one key.
pub trait Signer: Send + Sync {
    /// Names the key.
    fn key_id(&self) -> String;
    /// Signs bytes.
    fn sign(&self, message: &[u8]) -> Vec<u8>;
}

/// Checks signatures against the keys that it trusts.
pub trait Verifier: Send + Sync {
    /// Is this a signature of the message by the trusted key of that name?
    fn verify(&self, key_id: &str, message: &[u8], signature: &[u8]) -> bool;
}

/// A payload with its type and its signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// The payload, in base64.
    payload: String,
    /// What the payload is.
    payload_type: String,
    /// The signatures.
    signatures: Vec<Signature>,
}

/// One signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Signature {
    keyid: String,
    sig: String,
}

/// Why an envelope is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// No signature by a trusted key.
    #[error("no signature by a trusted key; it is signed by {}", if .keys.is_empty() { "nobody".to_owned() } else { .keys.join(", ") })]
    Untrusted {
        /// The keys named in it.
        keys: Vec<String>,
    },
    /// The payload is something else.
    #[error("payload is {found:?}, expected {expected:?}")]
    OtherType {
        /// What it is.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// It cannot be read.
    #[error("envelope is malformed: {0}")]
    Malformed(String),
}

/// The bytes that are signed: DSSE's pre-authentication encoding.
fn encode(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    )
    .into_bytes();
    out.extend_from_slice(payload);
    out
}

impl Envelope {
    /// Signs a payload.
    pub fn seal(payload_type: &str, payload: &[u8], signers: &[&dyn Signer]) -> Self {
        let message = encode(payload_type, payload);
        let signatures = signers
            .iter()
            .map(|signer| Signature {
                keyid: signer.key_id(),
                sig: BASE64.encode(signer.sign(&message)),
            })
            .collect();
        Self {
            payload: BASE64.encode(payload),
            payload_type: payload_type.to_owned(),
            signatures,
        }
    }

    /// Returns the payload if a trusted key signed it as this type.
    pub fn open(&self, payload_type: &str, verifier: &dyn Verifier) -> Result<Vec<u8>, SignError> {
        if self.payload_type != payload_type {
            return Err(SignError::OtherType {
                found: self.payload_type.clone(),
                expected: payload_type.to_owned(),
            });
        }
        let malformed = |error: base64::DecodeError| SignError::Malformed(error.to_string());
        let payload = BASE64.decode(&self.payload).map_err(malformed)?;
        let message = encode(payload_type, &payload);
        for Signature { keyid, sig } in &self.signatures {
            if verifier.verify(keyid, &message, &BASE64.decode(sig).map_err(malformed)?) {
                return Ok(payload);
            }
        }
        Err(SignError::Untrusted {
            keys: self
                .signatures
                .iter()
                .map(|signature| signature.keyid.clone())
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Toy(u8);

    impl Signer for Toy {
        fn key_id(&self) -> String {
            format!("toy-{}", self.0)
        }

        fn sign(&self, message: &[u8]) -> Vec<u8> {
            let mut bytes = vec![self.0];
            bytes.extend_from_slice(base_json::Digest::of(message).as_bytes());
            bytes
        }
    }

    impl Verifier for Toy {
        fn verify(&self, key_id: &str, message: &[u8], signature: &[u8]) -> bool {
            key_id == self.key_id() && signature == self.sign(message)
        }
    }

    #[test]
    fn encodes_as_the_specification_does() {
        // the specification's own example
        assert_eq!(
            encode("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn opens_only_what_a_trusted_key_signed_as_that_type() {
        let envelope = Envelope::seal("order", b"{}", &[&Toy(1), &Toy(2)]);
        assert_eq!(envelope.open("order", &Toy(2)), Ok(b"{}".to_vec()));
        assert!(matches!(
            envelope.open("order", &Toy(3)),
            Err(SignError::Untrusted { .. })
        ));
        assert!(matches!(
            envelope.open("release", &Toy(1)),
            Err(SignError::OtherType { .. })
        ));
        let mut changed = envelope;
        changed.payload = BASE64.encode(b"[]");
        assert!(matches!(
            changed.open("order", &Toy(1)),
            Err(SignError::Untrusted { .. })
        ));
    }
}
