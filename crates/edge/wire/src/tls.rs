//! TLS of the hub's one port: who may come in, and as whom.
//!
//! TLS 1.3 only, with `aws-lc-rs`. A client certificate is optional: agents and people show one, a joining agent and a
//! program with a bearer token do not. Sessions are never resumed, since a resumed one would skip the check for
//! revocation.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use roadstead_model::Time;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::identity::{FrontProxies, Peer, PeerCertificate, Subject};
use crate::pki::{PkiError, read_certificates, read_key};

/// The one provider of cryptography.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

pub(crate) fn roots(pems: &[String]) -> Result<RootCertStore, PkiError> {
    let mut store = RootCertStore::empty();
    for pem in pems {
        for der in read_certificates(pem)? {
            store
                .add(der)
                .map_err(|error| PkiError::Roots(error.to_string()))?;
        }
    }
    if store.is_empty() {
        return Err(PkiError::Roots("no certificate was given".to_owned()));
    }
    Ok(store)
}

pub(crate) fn now() -> Time {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Time(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Says whether a serial number (lower-case hexadecimal digits) was revoked. It is asked during handshakes and must
/// answer from memory.
pub type IsRevoked = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Which client certificates are believed.
#[derive(Clone)]
pub struct ClientTrust {
    /// The CAs that sign them, in PEM.
    pub ca_pems: Vec<String>,
    /// For how long an agent's ended certificate may still renew.
    pub offline_grace: Duration,
    /// The check for revocation.
    pub is_revoked: IsRevoked,
}

impl fmt::Debug for ClientTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTrust")
            .field("cas", &self.ca_pems.len())
            .field("offline_grace", &self.offline_grace)
            .finish_non_exhaustive()
    }
}

/// The TLS side of a listener. Its certificate can be replaced while it serves.
pub struct ServerTls {
    config: RwLock<Arc<ServerConfig>>,
    verifier: Arc<AgentsAndUsers>,
    is_revoked: IsRevoked,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls")
    }
}

impl ServerTls {
    /// Sets up a listener's TLS. The chain is the server's certificate and then the CA's: a joining agent looks for the
    /// CA in it, by the hash in its token.
    pub fn new(chain_pem: &str, key_pem: &str, clients: ClientTrust) -> Result<Self, PkiError> {
        let store = Arc::new(roots(&clients.ca_pems)?);
        let inner = WebPkiClientVerifier::builder_with_provider(store, provider())
            .allow_unauthenticated()
            .build()
            .map_err(|error| PkiError::Roots(error.to_string()))?;
        let is_revoked = clients.is_revoked.clone();
        let front = RwLock::new(None);
        let verifier = Arc::new(AgentsAndUsers {
            inner,
            clients,
            front,
        });
        let config = server_config(chain_pem, key_pem, verifier.clone())?;
        Ok(Self {
            config: RwLock::new(config),
            verifier,
            is_revoked,
        })
    }

    /// Presents another certificate from now on.
    pub fn replace(&self, chain_pem: &str, key_pem: &str) -> Result<(), PkiError> {
        let config = server_config(chain_pem, key_pem, self.verifier.clone())?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// Lets proxies in from now on that ask for others; `None` lets none in.
    pub fn trust_front_proxies(&self, proxies: Option<FrontProxies>) -> Result<(), PkiError> {
        let front = match proxies {
            None => None,
            Some(proxies) => {
                let store = Arc::new(roots(std::slice::from_ref(&proxies.ca_pem))?);
                let verifier = WebPkiClientVerifier::builder_with_provider(store, provider())
                    .build()
                    .map_err(|error| PkiError::Roots(error.to_string()))?;
                Some(Front {
                    verifier,
                    proxies: Arc::new(proxies),
                })
            }
        };
        *self
            .verifier
            .front
            .write()
            .unwrap_or_else(PoisonError::into_inner) = front;
        Ok(())
    }

    /// Who shows these certificates, which a handshake has accepted.
    pub(crate) fn peer(&self, certificates: &[CertificateDer<'_>]) -> Result<Peer, String> {
        let Some((first, rest)) = certificates.split_first() else {
            return Ok(Peer::Anonymous);
        };
        let found = PeerCertificate::parse(first).map_err(|error| error.to_string())?;
        let at = UnixTime::now();
        // a name that the hub's own CA did not give is not taken for one that it did
        let Some(front) = self.verifier.front_of(first, rest, at) else {
            return Ok(found.into());
        };
        match found.subject {
            Subject::User { name, .. } if front.names.is_empty() || front.names.contains(&name) => {
                Ok(Peer::FrontProxy(front))
            }
            _ => Err(
                "a proxy's certificate is of none of the names that may ask for others".to_owned(),
            ),
        }
    }

    pub(crate) fn is_revoked(&self, serial: &str) -> bool {
        (self.is_revoked)(serial)
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.config
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn server_config(
    chain_pem: &str,
    key_pem: &str,
    verifier: Arc<dyn ClientCertVerifier>,
) -> Result<Arc<ServerConfig>, PkiError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(read_certificates(chain_pem)?, read_key(key_pem)?)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(Arc::new(config))
}

/// Believes what the CA signed, unless it was revoked; and an agent's ended certificate for the grace period.
struct AgentsAndUsers {
    inner: Arc<dyn ClientCertVerifier>,
    clients: ClientTrust,
    front: RwLock<Option<Front>>,
}

/// The proxies that may ask for others.
struct Front {
    verifier: Arc<dyn ClientCertVerifier>,
    proxies: Arc<FrontProxies>,
}

impl fmt::Debug for AgentsAndUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.clients.fmt(f)
    }
}

impl ClientCertVerifier for AgentsAndUsers {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // a client that is told our CA alone keeps a certificate of another to itself
        let front = self.front.read().unwrap_or_else(PoisonError::into_inner);
        if front.is_some() {
            return &[];
        }
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let bad = || Error::InvalidCertificate(CertificateError::BadEncoding);
        let peer = PeerCertificate::parse(end_entity).map_err(|_| bad())?;
        let verified = match self
            .inner
            .verify_client_cert(end_entity, intermediates, now)
        {
            Err(Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            )) if self.within_grace(&peer, now) => {
                // everything but the time must hold, so it is judged as of its last second
                let ended = u64::try_from(peer.not_after.0 / 1000).map_err(|_| bad())?;
                let then = UnixTime::since_unix_epoch(Duration::from_secs(ended));
                self.inner
                    .verify_client_cert(end_entity, intermediates, then)?
            }
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
                if self.front_of(end_entity, intermediates, now).is_some() =>
            {
                return Ok(ClientCertVerified::assertion());
            }
            other => other?,
        };
        if (self.clients.is_revoked)(&peer.serial) {
            return Err(Error::InvalidCertificate(CertificateError::Revoked));
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

impl AgentsAndUsers {
    /// The proxies of which this certificate is one; never one that our own CA signed.
    fn front_of(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Option<Arc<FrontProxies>> {
        let front = self.front.read().unwrap_or_else(PoisonError::into_inner);
        let front = front.as_ref()?;
        let own = self
            .inner
            .verify_client_cert(end_entity, intermediates, now);
        let foreign = matches!(
            own,
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
        );
        let verified = front
            .verifier
            .verify_client_cert(end_entity, intermediates, now);
        (foreign && verified.is_ok()).then(|| Arc::clone(&front.proxies))
    }

    fn within_grace(&self, peer: &PeerCertificate, now: UnixTime) -> bool {
        let ended = Duration::from_millis(u64::try_from(peer.not_after.0).unwrap_or(0));
        let since = Duration::from_secs(now.as_secs()).saturating_sub(ended);
        matches!(peer.subject, Subject::Agent(_)) && since <= self.clients.offline_grace
    }
}
