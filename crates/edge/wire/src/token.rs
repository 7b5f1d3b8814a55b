//! Join tokens: what a new agent shows once to become a cluster.
//!
//! A token reads `rs1.<id>.<secret>.<ca hash>`: the id finds its record, the secret proves it, and the hash of the
//! hub's CA lets the agent know the hub on first contact. The hub stores a hash of the secret only.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use base_json::Digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use roadstead_model::{ClusterId, Time};
use serde::{Deserialize, Serialize};

const VERSION: &str = "rs1";
const ID_BYTES: usize = 6;
const SECRET_BYTES: usize = 24;
/// How many random bytes a token is made of.
pub const TOKEN_BYTES: usize = ID_BYTES + SECRET_BYTES;

/// A join token. Its text is secret; `Debug` shows its id alone.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    id: String,
    secret: [u8; SECRET_BYTES],
    ca_hash: Digest,
}

/// Why a text is no join token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It does not start as one.
    #[error(
        "not a join token: it does not start with \"rs1.\"; copy the whole line that `cluster join` printed"
    )]
    NoToken,
    /// A later version.
    #[error("join token is of version {0:?}, this program knows rs1: upgrade it")]
    Version(String),
    /// A part is missing or there is too much.
    #[error(
        "join token has {0} parts, expected 4 (rs1.<id>.<secret>.<ca hash>); it was cut off or joined to something else"
    )]
    Parts(usize),
    /// A part cannot be read.
    #[error("join token has a malformed {0}; it was changed on its way")]
    Malformed(&'static str),
}

impl JoinToken {
    /// Makes a token from random bytes and the hash of the hub's CA.
    pub fn new(random: &[u8; TOKEN_BYTES], ca_hash: Digest) -> Self {
        let mut secret = [0; SECRET_BYTES];
        secret.copy_from_slice(&random[ID_BYTES..]);
        let id = Digest::of(&random[..ID_BYTES]).short();
        Self {
            id,
            secret,
            ca_hash,
        }
    }

    /// The id, which is not secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The SHA-256 of the CA certificate's DER.
    pub fn ca_hash(&self) -> Digest {
        self.ca_hash
    }

    /// The form in which the hub stores the secret. A plain hash is enough for 192 random bits.
    pub fn hash(&self) -> Digest {
        Digest::of(&self.secret)
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = BASE64URL.encode(self.secret);
        write!(f, "{VERSION}.{}.{secret}.{}", self.id, self.ca_hash.hex())
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({})", self.id)
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let parts: Vec<&str> = text.trim().split('.').collect();
        let version = parts[0];
        if version != VERSION {
            let later = version
                .strip_prefix("rs")
                .is_some_and(|number| number.parse::<u8>().is_ok());
            return Err(if later {
                TokenError::Version(version.to_owned())
            } else {
                TokenError::NoToken
            });
        }
        let [_, id, secret, ca_hash] = parts[..] else {
            return Err(TokenError::Parts(parts.len()));
        };
        let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        if id.len() != ID_BYTES * 2 || !id.chars().all(hex) {
            return Err(TokenError::Malformed("id"));
        }
        let secret = BASE64URL
            .decode(secret)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(TokenError::Malformed("secret"))?;
        let ca_hash = format!("sha256:{ca_hash}")
            .parse()
            .map_err(|_| TokenError::Malformed("CA hash"))?;
        Ok(Self {
            id: id.to_owned(),
            secret,
            ca_hash,
        })
    }
}

/// Which clusters a token may make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TokenFor {
    /// One of exactly this name.
    Name(String),
    /// Any whose name matches; `*` stands for any text.
    Pattern(String),
    /// This cluster, which exists: its agent is replaced, and its old certificate revoked.
    Cluster {
        /// Its id.
        id: ClusterId,
        /// Its name.
        name: String,
    },
}

/// What the hub keeps of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenRecord {
    /// The token's id.
    pub id: String,
    /// The hash of its secret.
    pub hash: Digest,
    /// Which clusters it may make.
    #[serde(rename = "for")]
    pub target: TokenFor,
    /// The labels that these clusters get.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How many more times it may be used.
    pub uses_left: u32,
    /// When it ends.
    pub expires_at: Time,
    /// Who made it.
    pub created_by: String,
}

/// Why a token is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// No such token, or a wrong secret: the two look the same from outside.
    #[error(
        "join token is not known to this hub: it was removed, is of another hub, or was changed on its way"
    )]
    Unknown,
    /// It has ended.
    #[error("join token {id} expired at {}; make a new one with `roadstead cluster join`", .at.seconds())]
    Expired {
        /// The token.
        id: String,
        /// When.
        at: Time,
    },
    /// Nothing is left of it.
    #[error("join token {id} is used up; make a new one with `roadstead cluster join`")]
    UsedUp {
        /// The token.
        id: String,
    },
    /// The name does not fit.
    #[error("join token {id} does not allow the name {name:?}: it is for {allowed}")]
    Name {
        /// The token.
        id: String,
        /// The name asked for.
        name: String,
        /// What would be allowed.
        allowed: String,
    },
}

impl TokenRecord {
    /// Says whether this token may make a cluster of that name now. The caller takes one use off in the same commit
    /// that makes the cluster.
    pub fn check(&self, token: &JoinToken, name: &str, now: Time) -> Result<(), TokenRefused> {
        let same = aws_lc_rs::constant_time::verify_slices_are_equal(
            self.hash.as_bytes(),
            token.hash().as_bytes(),
        );
        // the secret first: whoever lacks it learns nothing of the rest
        if same.is_err() || self.id != token.id {
            return Err(TokenRefused::Unknown);
        }
        let id = || self.id.clone();
        if now >= self.expires_at {
            let at = self.expires_at;
            return Err(TokenRefused::Expired { id: id(), at });
        }
        if self.uses_left == 0 {
            return Err(TokenRefused::UsedUp { id: id() });
        }
        if !self.target.allows(name) {
            return Err(TokenRefused::Name {
                id: id(),
                name: name.to_owned(),
                allowed: self.target.to_string(),
            });
        }
        Ok(())
    }
}

impl TokenFor {
    /// May a cluster of that name be made?
    pub fn allows(&self, name: &str) -> bool {
        match self {
            Self::Name(allowed) | Self::Cluster { name: allowed, .. } => allowed == name,
            Self::Pattern(pattern) => matches(pattern, name),
        }
    }
}

impl fmt::Display for TokenFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "the name {name:?}"),
            Self::Pattern(pattern) => write!(f, "names like {pattern:?}"),
            Self::Cluster { name, .. } => write!(f, "the existing cluster {name:?}"),
        }
    }
}

/// Matches a text where `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_text_is_a_token_or_an_error(text in "(rs1)?[.a-f0-9A-Z_é-]{0,150}") {
            if let Ok(token) = text.parse::<JoinToken>() {
                proptest::prop_assert_eq!(token.to_string(), text);
            }
        }
    }

    fn token() -> JoinToken {
        JoinToken::new(&[7; TOKEN_BYTES], Digest::of(b"ca"))
    }

    #[test]
    fn reads_what_it_writes_and_hides_its_secret() {
        let text = token().to_string();
        assert_eq!(text.parse(), Ok(token()));
        assert_eq!(format!("{text}\n").parse(), Ok(token()));
        let secret = text.split('.').nth(2).unwrap();
        assert!(!format!("{:?}", token()).contains(secret));
    }

    #[test]
    fn says_what_is_wrong_with_a_text() {
        let good = token().to_string();
        let parts: Vec<&str> = good.split('.').collect();
        for (text, message) in [
            ("", "does not start with"),
            ("eyJhbGciOi.x.y", "does not start with"),
            ("rs2.a.b.c", "upgrade"),
            ("rs1.a", "2 parts"),
            (&good[..good.len() - 1], "malformed CA hash"),
            (&good.replace(parts[2], "AAAA"), "malformed secret"),
            (&good.replace(parts[1], "../../../etc"), "10 parts"),
            (&good.replace(parts[1], "UPPERCASE..."), "7 parts"),
            (&good.replace(parts[1], "no"), "malformed id"),
        ] {
            let error = text.parse::<JoinToken>().unwrap_err().to_string();
            assert!(error.contains(message), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_record_lets_in_whom_it_names_while_it_lasts() {
        let record = |target: TokenFor, uses_left| TokenRecord {
            id: token().id().to_owned(),
            hash: token().hash(),
            target,
            labels: BTreeMap::new(),
            uses_left,
            expires_at: Time(1_000_000),
            created_by: "admin".to_owned(),
        };
        let name = |name: &str| TokenFor::Name(name.to_owned());
        let good = record(name("c1"), 1);
        let json = serde_json::to_string(&good).unwrap();
        assert_eq!(serde_json::from_str::<TokenRecord>(&json).unwrap(), good);
        let check = |record: &TokenRecord, now, expected: &str| {
            let got = record.check(&token(), "c1", Time(now));
            match got {
                Ok(()) => assert_eq!(expected, "", "let in"),
                Err(refused) => {
                    let text = refused.to_string();
                    assert!(
                        !expected.is_empty() && text.contains(expected),
                        "{text} <> {expected}"
                    );
                }
            }
        };
        check(&good, 999_999, "");
        check(&good, 1_000_000, "expired at 1970-01-01T00:16:40Z");
        check(&record(name("c1"), 0), 0, "used up");
        check(&record(name("c2"), 1), 0, "is for the name \"c2\"");
        check(&record(TokenFor::Pattern("c*".into()), 1), 0, "");
        check(
            &record(TokenFor::Pattern("d*".into()), 1),
            0,
            "names like \"d*\"",
        );
        let wrong = TokenRecord {
            hash: Digest::of(b"other"),
            ..record(name("c2"), 0)
        };
        check(&wrong, 2_000_000, "not known to this hub");
    }

    #[test]
    fn stars_match_any_text() {
        for (pattern, text, expected) in [
            ("edge-*", "edge-7", true),
            ("edge-*", "edge", false),
            ("*", "anything", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("a*a", "a", false),
            ("plain", "plain", true),
            ("plain", "plainer", false),
            ("*x*", "axb", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
