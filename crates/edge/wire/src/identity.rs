//! Who is at the other end of a connection, by its certificate.

use std::net::SocketAddr;

use base_json::Digest;
use roadstead_model::{ClusterId, Time};
use x509_parser::prelude::GeneralName;

/// What stands before the cluster's id in an agent's URI SAN.
pub const AGENT_URI: &str = "spiffe://roadstead/cluster/";

/// Why a certificate names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It is no X.509 certificate.
    #[error("certificate cannot be read")]
    Malformed,
    /// A URI that is none of ours, or more than one.
    #[error("certificate names {0:?}, expected one {AGENT_URI}<cluster id>")]
    Uri(String),
}

/// What a certificate says of its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The agent of a cluster.
    Agent(ClusterId),
    /// A person or a program: CN and every O.
    User {
        /// The name.
        name: String,
        /// The groups.
        groups: Vec<String>,
    },
}

/// What is read of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PeerCertificate {
    pub(crate) subject: Subject,
    pub(crate) serial: String,
    pub(crate) not_after: Time,
    pub(crate) fingerprint: Digest,
    pub(crate) public_key: Digest,
}

impl PeerCertificate {
    pub(crate) fn parse(der: &[u8]) -> Result<Self, IdentityError> {
        let (_, certificate) =
            x509_parser::parse_x509_certificate(der).map_err(|_| IdentityError::Malformed)?;
        let mut uris = Vec::new();
        if let Ok(Some(names)) = certificate.subject_alternative_name() {
            for name in &names.value.general_names {
                if let GeneralName::URI(uri) = name {
                    uris.push(*uri);
                }
            }
        }
        let subject = match uris[..] {
            [] => {
                let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| {
                    value.as_str().unwrap_or_default().to_owned()
                };
                let subject = certificate.subject();
                Subject::User {
                    name: subject
                        .iter_common_name()
                        .next()
                        .map(text)
                        .unwrap_or_default(),
                    groups: subject.iter_organization().map(text).collect(),
                }
            }
            [uri] => match uri.strip_prefix(AGENT_URI) {
                Some(id) if !id.is_empty() && !id.contains('/') => {
                    Subject::Agent(ClusterId(id.to_owned()))
                }
                _ => return Err(IdentityError::Uri(uri.to_owned())),
            },
            _ => return Err(IdentityError::Uri(uris.join(" "))),
        };
        let seconds = certificate.validity().not_after.timestamp();
        Ok(Self {
            subject,
            serial: hex(&certificate.tbs_certificate.serial.to_bytes_be()),
            not_after: Time(seconds.saturating_mul(1000)),
            fingerprint: Digest::of(der),
            public_key: Digest::of(certificate.public_key().raw),
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// An agent, by its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentIdentity {
    /// Its cluster.
    pub cluster: ClusterId,
    /// The certificate's serial number, in lower-case hexadecimal digits.
    pub serial: String,
    /// When the certificate ends, or ended.
    pub not_after: Time,
    /// The SHA-256 of the certificate's DER.
    pub fingerprint: Digest,
    /// The SHA-256 of its public key (SubjectPublicKeyInfo in DER).
    pub public_key: Digest,
}

/// A person or program, by its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserIdentity {
    /// The name.
    pub name: String,
    /// The groups.
    pub groups: Vec<String>,
    /// The certificate's serial number, in lower-case hexadecimal digits.
    pub serial: String,
    /// When the certificate ends.
    pub not_after: Time,
    /// The SHA-256 of the certificate's DER.
    pub fingerprint: Digest,
}

/// Who is at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// Nobody that TLS knows: no client certificate was shown.
    Anonymous,
    /// An agent.
    Agent(AgentIdentity),
    /// A person or program.
    User(UserIdentity),
    /// A proxy that says in headers for whom it asks.
    FrontProxy(std::sync::Arc<FrontProxies>),
}

/// Who may ask for others: Kubernetes' API server in front of an aggregated one. What it says stands in its ConfigMap
/// `kube-system/extension-apiserver-authentication`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrontProxies {
    /// The CA that signs the proxies' certificates, in PEM; it is no other CA of this port.
    pub ca_pem: String,
    /// The names that they go by; any if there are none.
    pub names: Vec<String>,
    /// The headers with the user's name: the first that is there counts.
    pub user_headers: Vec<String>,
    /// The headers with its groups.
    pub group_headers: Vec<String>,
    /// What headers with more about it begin with.
    pub extra_prefixes: Vec<String>,
}

/// A connection's other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// Who it is.
    pub peer: Peer,
    /// Its address.
    pub remote: SocketAddr,
}

impl PeerInfo {
    /// The agent, if it is one.
    pub fn agent(&self) -> Option<&AgentIdentity> {
        match &self.peer {
            Peer::Agent(agent) => Some(agent),
            _ => None,
        }
    }

    /// The user, if it is one.
    pub fn user(&self) -> Option<&UserIdentity> {
        match &self.peer {
            Peer::User(user) => Some(user),
            _ => None,
        }
    }
}

impl From<PeerCertificate> for Peer {
    fn from(certificate: PeerCertificate) -> Self {
        let PeerCertificate {
            subject,
            serial,
            not_after,
            fingerprint,
            public_key,
        } = certificate;
        match subject {
            Subject::Agent(cluster) => Self::Agent(AgentIdentity {
                cluster,
                serial,
                not_after,
                fingerprint,
                public_key,
            }),
            Subject::User { name, groups } => Self::User(UserIdentity {
                name,
                groups,
                serial,
                not_after,
                fingerprint,
            }),
        }
    }
}
