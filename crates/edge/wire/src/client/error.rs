//! What can go wrong between an agent and its hub, said so that somebody can mend it.

use std::time::Duration;

use crate::message::MessageError;
use crate::pki::PkiError;
use crate::server::RefusalKind;

/// Why an agent does not get through to its hub, or not what it wants.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The hub's URL is none.
    #[error("hub URL {url:?} is malformed: {why}; expected https://host[:port]")]
    Url {
        /// The URL.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The proxy's URL is none.
    #[error("proxy URL {url:?} is malformed: {why}; expected http://[user:password@]host:port")]
    ProxyUrl {
        /// The URL, without its password.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// Our own certificate, key or CA cannot be used.
    #[error("own certificate, key or CA cannot be used")]
    Identity(#[from] PkiError),
    /// The name is not known.
    #[error("name of {what} {host:?} cannot be resolved; check the spelling and this node's DNS")]
    Dns {
        /// The hub or the proxy.
        what: &'static str,
        /// The name.
        host: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No TCP connection.
    #[error("failed to connect to {what} {address}{}", hint(.source))]
    Connect {
        /// The hub or the proxy.
        what: &'static str,
        /// Host and port.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It took too long.
    #[error("{step} took longer than {} s", .after.as_secs_f32())]
    Timeout {
        /// What did.
        step: &'static str,
        /// How long it may take.
        after: Duration,
    },
    /// The proxy says no.
    #[error("proxy {proxy} refuses to connect to {target}: {status}{}", if .status.starts_with("407") { "; put user:password@ into the proxy's URL" } else { "" })]
    Proxy {
        /// The proxy.
        proxy: String,
        /// Host and port of the hub.
        target: String,
        /// Its answer.
        status: String,
    },
    /// Somebody else answers.
    #[error(
        "certificate presented by {address} (subject {subject:?}, issuer {issuer:?}) is not signed by the hub's CA{}: \
         a proxy on the way opens TLS, or this is another server; let connections to {address} pass unopened",
        if *.pinned { " that the join token names" } else { "" }
    )]
    Intercepted {
        /// Host and port.
        address: String,
        /// Whom the certificate is for.
        subject: String,
        /// Who signed it.
        issuer: String,
        /// The CA is known by the hash in a token only.
        pinned: bool,
    },
    /// The hub goes by other names.
    #[error("hub's certificate is not for the name {name:?}; it is for {}; add the name to the hub's, or use one of these", .names.join(", "))]
    Name {
        /// The name in the URL.
        name: String,
        /// The names in the certificate.
        names: Vec<String>,
    },
    /// The hub's certificate has ended, or begins later.
    #[error("hub's certificate is not valid now ({why}); check this node's clock, then the hub's")]
    HubCertificate {
        /// What is wrong.
        why: String,
    },
    /// Our certificate has ended for too long.
    #[error(
        "hub refuses this agent's certificate: it ended, and the time in which it could be renewed is over; make a token for this cluster with `roadstead cluster join NAME`, and start the agent again with it"
    )]
    CertificateEnded,
    /// Our certificate was revoked.
    #[error(
        "hub refuses this agent's certificate: it was revoked; the cluster was forgotten, or another agent joined in its place. If this one is to come back, make a token for the cluster with `roadstead cluster join NAME`, and start the agent again with it"
    )]
    CertificateRevoked,
    /// Our certificate is of another CA.
    #[error(
        "hub refuses this agent's certificate: it is not signed by the hub's CA; this agent joined another hub, or the hub was made anew"
    )]
    CertificateUnknown,
    /// TLS failed otherwise.
    #[error("TLS with {address} failed{}", not_tls(.source))]
    Tls {
        /// Host and port.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It speaks no HTTP/2.
    #[error("{address} does not speak HTTP/2; a proxy on the way may not pass it on")]
    NoHttp2 {
        /// Host and port.
        address: String,
    },
    /// The connection went.
    #[error("connection to the hub was lost: {0}")]
    Lost(String),
    /// The hub says no.
    #[error("hub refuses: {message}")]
    Refused {
        /// What kind of refusal it is.
        kind: RefusalKind,
        /// What it says.
        message: String,
    },
    /// The hub ended the session.
    #[error("hub ended the session: {reason}")]
    Ended {
        /// What it says.
        reason: String,
    },
    /// A message cannot be understood, or not be sent.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The hub does not keep to the protocol.
    #[error("hub does not keep to the protocol: {0}")]
    Protocol(String),
}

impl WireError {
    /// Can the same call work later, with nothing changed on either side? An agent goes on trying in any case, since
    /// somebody may mend the other; it need not hurry then.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Dns { .. }
            | Self::Connect { .. }
            | Self::Timeout { .. }
            | Self::Proxy { .. }
            | Self::Tls { .. }
            | Self::NoHttp2 { .. }
            | Self::Lost(_)
            | Self::HubCertificate { .. }
            | Self::Ended { .. } => true,
            Self::Refused { kind, .. } => matches!(
                kind,
                RefusalKind::Busy | RefusalKind::Unavailable | RefusalKind::Internal
            ),
            _ => false,
        }
    }
}

fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => {
            ": refused; is the hub running, and is the port right?"
        }
        _ => "; is it reachable from this network?",
    }
}

fn not_tls(error: &std::io::Error) -> &'static str {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidMessage(_)) => "; what answers there does not speak TLS",
        _ => "",
    }
}
