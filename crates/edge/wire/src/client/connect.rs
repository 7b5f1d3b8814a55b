//! From a URL to an authenticated HTTP/2 connection.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use base_json::Digest;
use http::Uri;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tonic::body::Body;
use x509_parser::prelude::GeneralName;

use super::proxy::{self, ProxySettings};
use super::{ClientIdentity, Endpoint, HubTrust, WireError};
use crate::pki::{read_certificate, read_certificates, read_key};
use crate::tls::{provider, roots};

/// When nothing came for so long, the connection is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(75);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Host and port of the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Target {
    pub(super) fn of(url: &str) -> Result<Self, WireError> {
        let wrong = |why: &str| WireError::Url {
            url: url.to_owned(),
            why: why.to_owned(),
        };
        let uri: Uri = url.parse().map_err(|error| wrong(&format!("{error}")))?;
        if uri.scheme_str() != Some("https") {
            return Err(wrong("it does not start with https://"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("it has a path"));
        }
        let host = uri.host().ok_or_else(|| wrong("it has no host"))?;
        Ok(Self {
            host: host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            port: uri.port_u16().unwrap_or(443),
        })
    }
}

/// A connection that stands.
pub(super) struct Connected {
    pub(super) sender: SendRequest<Body>,
    pub(super) origin: Uri,
    pub(super) fate: Fate,
    /// The CA found by its hash, in PEM.
    pub(super) ca_pem: Option<String>,
}

pub(super) async fn connect(endpoint: &Endpoint) -> Result<Connected, WireError> {
    let after = endpoint.connect_timeout;
    tokio::time::timeout(after, connect_now(endpoint))
        .await
        .map_err(|_| WireError::Timeout {
            step: "connecting to the hub",
            after,
        })?
}

async fn connect_now(endpoint: &Endpoint) -> Result<Connected, WireError> {
    let target = Target::of(&endpoint.hub_url)?;
    let address = target.to_string();
    let malformed = |why: &str| WireError::Url {
        url: endpoint.hub_url.clone(),
        why: why.to_owned(),
    };
    let name = ServerName::try_from(target.host.clone())
        .map_err(|_| malformed("its host is neither a DNS name nor an IP address"))?;
    let origin: Uri = format!("https://{address}")
        .parse()
        .map_err(|_| malformed("its host cannot stand in a URL"))?;
    let judge = Arc::new(Judge::new(&endpoint.trust, &endpoint.extra_ca_pems)?);
    let config = client_config(judge.clone(), endpoint.identity.as_ref())?;
    let stream = open(&target, &endpoint.proxy).await?;
    let tls = tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(|error| judge.explain(error, &target))?;
    if tls.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(WireError::NoHttp2 { address });
    }
    let (tap, fate) = Tap::new(tls);
    let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(256 << 10)
        .initial_connection_window_size(1 << 20)
        .max_send_buf_size(64 << 10)
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .handshake(TokioIo::new(tap))
        .await
        .map_err(|error| fate.explain(&error.to_string()))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to the hub ended");
        }
    });
    // in TLS 1.3 the server judges the client's certificate after the client's handshake is done: what it says first
    // is either its settings or an alert
    fate.first_word().await?;
    Ok(Connected {
        sender,
        origin,
        fate,
        ca_pem: judge.found_ca(),
    })
}

async fn open(target: &Target, settings: &ProxySettings) -> Result<TcpStream, WireError> {
    let stream = match settings.proxy_for(&target.host, target.port)? {
        Some(proxy) => proxy::tunnel(&proxy, target).await?,
        None => dial("hub", &target.host, target.port).await?,
    };
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// Connects to the first address of a name that answers.
pub(super) async fn dial(
    what: &'static str,
    host: &str,
    port: u16,
) -> Result<TcpStream, WireError> {
    let dns = |source| WireError::Dns {
        what,
        host: host.to_owned(),
        source,
    };
    let mut last = None;
    for address in tokio::net::lookup_host((host, port)).await.map_err(dns)? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    let Some(source) = last else {
        return Err(dns(io::Error::other("the name has no address")));
    };
    Err(WireError::Connect {
        what,
        address: format!("{host}:{port}"),
        source,
    })
}

fn client_config(
    judge: Arc<Judge>,
    identity: Option<&ClientIdentity>,
) -> Result<ClientConfig, WireError> {
    let failed = |error| WireError::Identity(crate::pki::PkiError::Tls(error));
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(judge);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => builder
            .with_client_auth_cert(
                read_certificates(&identity.certificate_pem)?,
                read_key(&identity.key_pem)?,
            )
            .map_err(failed)?,
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// Judges the server's certificate, and remembers what it saw.
///
/// With a known CA it does what every TLS client does. With a CA known by its hash, it looks for that CA in the chain
/// that the server presents, and then does the same: the hash stands for the certificate, so nothing unverified is ever
/// believed, and nothing is sent before.
struct Judge {
    known: Option<Arc<WebPkiServerVerifier>>,
    pin: Option<Digest>,
    schemes: rustls::crypto::WebPkiSupportedAlgorithms,
    saw: Mutex<Option<Seen>>,
    found: Mutex<Option<Vec<u8>>>,
}

#[derive(Debug, Clone, Default)]
struct Seen {
    subject: String,
    issuer: String,
    names: Vec<String>,
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Judge")
    }
}

fn verifier(store: RootCertStore) -> Result<Arc<WebPkiServerVerifier>, String> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider())
        .build()
        .map_err(|error| error.to_string())
}

impl Judge {
    fn new(trust: &HubTrust, extra: &[String]) -> Result<Self, WireError> {
        let mut pems = extra.to_vec();
        let pin = match trust {
            HubTrust::Ca(pem) => {
                pems.push(pem.clone());
                None
            }
            HubTrust::Pin(hash) => Some(*hash),
        };
        let known = if pems.is_empty() {
            None
        } else {
            Some(verifier(roots(&pems)?).map_err(crate::pki::PkiError::Roots)?)
        };
        Ok(Self {
            known,
            pin,
            schemes: provider().signature_verification_algorithms,
            saw: Mutex::default(),
            found: Mutex::default(),
        })
    }

    fn found_ca(&self) -> Option<String> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found
            .as_ref()
            .map(|der| pem::encode(&pem::Pem::new("CERTIFICATE", der.as_slice())))
    }

    fn explain(&self, error: io::Error, target: &Target) -> WireError {
        let address = target.to_string();
        let inner = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Error>())
            .cloned();
        let seen = self.saw.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.clone().unwrap_or_default();
        let Some(inner) = inner else {
            return WireError::Tls {
                address,
                source: error,
            };
        };
        match inner {
            Error::InvalidCertificate(why) => match why {
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => WireError::Name {
                    name: target.host.clone(),
                    names: seen.names,
                },
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => WireError::HubCertificate {
                    why: why.to_string(),
                },
                _ => WireError::Intercepted {
                    address,
                    subject: seen.subject,
                    issuer: seen.issuer,
                    pinned: self.pin.is_some(),
                },
            },
            other => refused_by_alert(&other).unwrap_or(WireError::Tls {
                address,
                source: error,
            }),
        }
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.saw.lock().unwrap_or_else(PoisonError::into_inner) = Some(Seen::of(end_entity));
        let pinned = self.pin.and_then(|hash| {
            intermediates
                .iter()
                .find(|certificate| Digest::of(certificate) == hash)
        });
        if let Some(ca) = pinned {
            let unknown = |_| Error::InvalidCertificate(CertificateError::UnknownIssuer);
            let mut store = RootCertStore::empty();
            store.add(ca.clone().into_owned())?;
            let verifier = verifier(store).map_err(unknown)?;
            let verified =
                verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp, now)?;
            *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(ca.to_vec());
            return Ok(verified);
        }
        match &self.known {
            Some(known) => {
                known.verify_server_cert(end_entity, intermediates, server_name, ocsp, now)
            }
            None => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.schemes)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.schemes)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.supported_schemes()
    }
}

impl Seen {
    fn of(der: &[u8]) -> Self {
        let Ok((_, certificate)) = x509_parser::parse_x509_certificate(der) else {
            return Self::default();
        };
        let mut names = Vec::new();
        if let Ok(Some(san)) = certificate.subject_alternative_name() {
            for name in &san.value.general_names {
                match name {
                    GeneralName::DNSName(name) => names.push((*name).to_owned()),
                    GeneralName::IPAddress(bytes) => names.extend(ip(bytes)),
                    _ => {}
                }
            }
        }
        Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            names,
        }
    }
}

fn ip(bytes: &[u8]) -> Option<String> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(four).to_string());
    }
    let sixteen = <[u8; 16]>::try_from(bytes).ok()?;
    Some(std::net::Ipv6Addr::from(sixteen).to_string())
}

fn refused_by_alert(error: &Error) -> Option<WireError> {
    let Error::AlertReceived(alert) = error else {
        return None;
    };
    match alert {
        AlertDescription::CertificateExpired => Some(WireError::CertificateEnded),
        AlertDescription::CertificateRevoked => Some(WireError::CertificateRevoked),
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::DecryptError => Some(WireError::CertificateUnknown),
        _ => None,
    }
}

/// Passes bytes through, and keeps what the connection heard first and what it died of.
struct Tap<S> {
    inner: S,
    heard: watch::Sender<bool>,
    received: Arc<AtomicU64>,
    died_of: Arc<OnceLock<Error>>,
}

/// What became of a connection.
#[derive(Clone)]
pub(super) struct Fate {
    heard: watch::Receiver<bool>,
    received: Arc<AtomicU64>,
    died_of: Arc<OnceLock<Error>>,
}

impl<S> Tap<S> {
    fn new(inner: S) -> (Self, Fate) {
        let (heard, hears) = watch::channel(false);
        let received = Arc::new(AtomicU64::new(0));
        let died_of = Arc::new(OnceLock::new());
        let fate = Fate {
            heard: hears,
            received: received.clone(),
            died_of: died_of.clone(),
        };
        let tap = Self {
            inner,
            heard,
            received,
            died_of,
        };
        (tap, fate)
    }

    fn note<T>(&self, result: &io::Result<T>) {
        if let Err(error) = result
            && let Some(inner) = error.get_ref()
            && let Some(inner) = inner.downcast_ref::<Error>()
        {
            let _ = self.died_of.set(inner.clone());
        }
    }
}

impl Fate {
    /// Waits for the first byte of the other side, or the connection's end.
    async fn first_word(&self) -> Result<(), WireError> {
        match self.heard.clone().wait_for(|heard| *heard).await {
            Ok(_) => Ok(()),
            Err(_) => Err(self.explain("it was closed before the hub said anything")),
        }
    }

    /// Says why the connection is gone, as well as is known.
    pub(super) fn explain(&self, otherwise: &str) -> WireError {
        match self.died_of.get() {
            Some(error) => {
                refused_by_alert(error).unwrap_or_else(|| WireError::Lost(error.to_string()))
            }
            None => WireError::Lost(otherwise.to_owned()),
        }
    }

    /// How many bytes have come.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Is the connection known to be gone?
    pub(super) fn is_gone(&self) -> bool {
        self.heard.has_changed().is_err()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if let Poll::Ready(result) = &polled {
            self.note(result);
            let came = buf.filled().len().saturating_sub(before);
            if came > 0 {
                self.received.fetch_add(came as u64, Ordering::Relaxed);
                self.heard
                    .send_if_modified(|heard| !std::mem::replace(heard, true));
            }
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

/// Checks that a CA which the hub sent is the one that was pinned.
pub(super) fn check_pin(pin: Digest, ca_pem: &str) -> Result<(), WireError> {
    let found = Digest::of(&read_certificate(ca_pem)?);
    if found == pin {
        return Ok(());
    }
    Err(WireError::Protocol(format!(
        "it sent a CA with hash {found}, the join token names {pin}"
    )))
}
