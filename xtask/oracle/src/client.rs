//! A plain way to ask an API server: one connection a request, the answer read to its end.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use crate::pki::Pair;

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The code.
    pub status: u16,
    /// The headers, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| {
            let text = String::from_utf8_lossy(&self.body);
            format!("no JSON: {}", text.chars().take(200).collect::<String>())
        })
    }
}

/// Who asks, and whom.
#[derive(Debug, Clone)]
pub struct Client {
    port: u16,
    tls: Option<Arc<rustls::ClientConfig>>,
    token: String,
    patience: Duration,
}

impl Client {
    /// Asks over TLS with a client certificate.
    pub fn with_certificate(port: u16, ca: &str, pair: &Pair) -> anyhow::Result<Self> {
        let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes())
            .context("failed to read a certificate")?;
        let key =
            PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).context("failed to read a key")?;
        let config = builder(ca)?
            .with_client_auth_cert(vec![certificate], key)
            .context("failed to use a certificate")?;
        Ok(Self {
            port,
            tls: Some(Arc::new(config)),
            token: String::new(),
            patience: Duration::from_secs(60),
        })
    }

    /// Asks over TLS with a bearer token; empty for nobody.
    pub fn with_token(port: u16, ca: &str, token: &str) -> anyhow::Result<Self> {
        Ok(Self {
            port,
            tls: Some(Arc::new(builder(ca)?.with_no_client_auth())),
            token: token.to_owned(),
            patience: Duration::from_secs(60),
        })
    }

    /// Asks without TLS.
    pub fn plain(port: u16) -> Self {
        Self {
            port,
            tls: None,
            token: String::new(),
            patience: Duration::from_secs(60),
        }
    }

    /// Waits no longer than this for bytes.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    fn socket(&self) -> anyhow::Result<TcpStream> {
        let address = self.address();
        let socket = TcpStream::connect_timeout(&address, self.patience)
            .with_context(|| format!("failed to connect to {address}"))?;
        socket.set_read_timeout(Some(self.patience))?;
        Ok(socket)
    }

    /// Sends a request and reads the whole answer.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> anyhow::Result<Answer> {
        let mut socket = self.socket()?;
        let address = self.address();
        // of this version, so that the answer comes in one piece and ends with the connection
        let mut head = format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\n");
        if !self.token.is_empty() {
            head.push_str(&format!("Authorization: Bearer {}\r\n", self.token));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let request = [head.as_bytes(), body].concat();
        let mut answer = Vec::new();
        match &self.tls {
            None => {
                socket.write_all(&request)?;
                socket.read_to_end(&mut answer)?;
            }
            Some(config) => {
                let mut session = session(config)?;
                let mut stream = rustls::Stream::new(&mut session, &mut socket);
                stream.write_all(&request)?;
                if let Err(error) = stream.read_to_end(&mut answer)
                    && error.kind() != std::io::ErrorKind::UnexpectedEof
                {
                    return Err(error).context("failed to read the answer");
                }
            }
        }
        read(&answer)
    }

    /// Begins a request with a body that never comes: the server works on it until this is dropped, or a minute is over.
    pub fn hold(&self, path: &str) -> anyhow::Result<Held> {
        let config = self.tls.as_ref().context("only TLS is held")?;
        let mut stream = rustls::StreamOwned::new(session(config)?, self.socket()?);
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        stream.flush()?;
        Ok(Held { _stream: stream })
    }

    /// Reads.
    pub fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.send("GET", path, &[], &[])
    }

    /// Sends JSON, and fails with the answer if it is no success.
    pub fn put_through(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &serde_json::Value,
    ) -> anyhow::Result<serde_json::Value> {
        let headers = [("Content-Type", content_type)];
        let answer = self.send(method, path, &headers, body.to_string().as_bytes())?;
        if !(200..300).contains(&answer.status) {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            bail!("{method} {path}: {} {text}", answer.status);
        }
        answer.json()
    }
}

/// A request that the server is kept waiting with.
pub struct Held {
    _stream: rustls::StreamOwned<rustls::ClientConnection, TcpStream>,
}

fn session(config: &Arc<rustls::ClientConfig>) -> anyhow::Result<rustls::ClientConnection> {
    let name = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
    rustls::ClientConnection::new(Arc::clone(config), name).context("failed to begin TLS")
}

fn builder(
    ca: &str,
) -> anyhow::Result<rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert>> {
    let mut roots = rustls::RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(ca.as_bytes()).context("failed to read the CA")?;
    roots.add(ca).context("failed to trust the CA")?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("failed to set TLS up")?
        .with_root_certificates(roots))
}

fn read(answer: &[u8]) -> anyhow::Result<Answer> {
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .context("the connection ended before an answer came")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1)?.parse().ok())
        .with_context(|| format!("no HTTP: {head:.100}"))?;
    let headers = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    Ok(Answer {
        status,
        headers: headers.collect(),
        body: answer[end + 4..].to_vec(),
    })
}
