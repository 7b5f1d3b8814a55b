//! Asks the hub: one HTTPS connection, JSON in and out.

mod discovery;
mod kubeconfig;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;

pub(crate) use discovery::{Kind, Target};
pub(crate) use kubeconfig::Access;

use crate::shell::Hinted;

/// The group and version of Roadstead's nouns.
pub(crate) const API: &str = "/apis/roadstead.dev/v1alpha1";
/// The header that says why something is written.
const REASON: &str = "roadstead-reason";

/// Which hub, and as whom.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Which hub")]
pub(crate) struct HubArgs {
    /// The kubeconfig of the hub [default: ~/.config/roadstead/kubeconfig]
    #[arg(long, value_name = "FILE", env = "ROADSTEAD_KUBECONFIG", value_parser = any_path)]
    kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context, if not its current one
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// The Project [default: the context's namespace, or `default`]
    #[arg(long, short = 'p', value_name = "NAME", visible_alias = "namespace")]
    project: Option<String>,
}

/// A variable that is set to nothing is as good as not set.
fn any_path(text: &str) -> Result<PathBuf, std::convert::Infallible> {
    Ok(PathBuf::from(text))
}

impl HubArgs {
    /// Reads the kubeconfig; connects with the first request.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let flag = self.kubeconfig.as_deref();
        let flag = flag.filter(|path| !path.as_os_str().is_empty());
        let path = kubeconfig::find(flag, home.as_deref())?;
        let access = Access::read(&path, self.context.as_deref())?;
        let project = self.project.clone().or_else(|| access.project.clone());
        Client::new(access, project.unwrap_or_else(|| "default".to_owned()))
    }
}

/// The hub refused: its own words, with code and reason.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    pub(crate) code: StatusCode,
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refused {}

impl Refused {
    fn read(code: StatusCode, body: &[u8]) -> Self {
        let value: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut message = text(&value["message"]);
        if message.is_empty() {
            message = String::from_utf8_lossy(body).trim().to_owned();
        }
        if message.is_empty() {
            message = format!("the hub answered {code}");
        }
        Self {
            code,
            reason: text(&value["reason"]),
            message,
        }
    }
}

/// Is this error the hub's answer that there is no such thing?
pub(crate) fn is_missing(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<Refused>()
        .is_some_and(|refused| refused.code == StatusCode::NOT_FOUND)
}

/// What to send.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    pub(crate) query: Vec<(&'a str, String)>,
    pub(crate) body: Option<(&'static str, Bytes)>,
    pub(crate) accept: &'static str,
    /// Why; kept in the audit entry of a write.
    pub(crate) reason: String,
}

impl<'a> Ask<'a> {
    /// Reads.
    pub(crate) fn get(path: &'a str) -> Self {
        Self {
            method: Method::GET,
            path,
            query: Vec::new(),
            body: None,
            accept: "application/json",
            reason: String::new(),
        }
    }

    /// Says why.
    pub(crate) fn because(mut self, reason: &str) -> Self {
        // a header is one line
        self.reason = reason.replace(|c: char| c.is_control(), " ");
        self
    }

    /// Sends JSON.
    pub(crate) fn send(
        method: Method,
        path: &'a str,
        content_type: &'static str,
        body: &Value,
    ) -> Self {
        Self {
            method,
            body: Some((content_type, Bytes::from(body.to_string()))),
            ..Self::get(path)
        }
    }

    /// Adds a parameter; an empty one is left out.
    pub(crate) fn with(mut self, key: &'a str, value: impl Into<String>) -> Self {
        let value = value.into();
        if !value.is_empty() {
            self.query.push((key, value));
        }
        self
    }

    /// Asks for rows instead of objects.
    pub(crate) fn rows(mut self) -> Self {
        self.accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        self
    }
}

/// Asks one hub.
pub(crate) struct Client {
    access: Access,
    /// The Project that names without one belong to.
    pub(crate) project: String,
    host: String,
    port: u16,
    /// What stands before every path: a server may serve several APIs.
    base: String,
    tls: TlsConnector,
    name: ServerName<'static>,
    idle: Mutex<Option<SendRequest<Full<Bytes>>>>,
    kinds: Mutex<std::collections::BTreeMap<String, Arc<Vec<Kind>>>>,
}

impl Client {
    /// Prepares; nothing is sent yet.
    pub(crate) fn new(access: Access, project: String) -> anyhow::Result<Self> {
        let shown = access.path.display().to_string();
        let uri: http::Uri = access
            .server
            .parse()
            .with_context(|| format!("kubeconfig {shown}: {:?} is no URL", access.server))?;
        let host = uri
            .host()
            .ok_or_else(|| anyhow!("kubeconfig {shown}: {:?} names no host", access.server))?
            .trim_matches(['[', ']'])
            .to_owned();
        let wanted = access.server_name.clone().unwrap_or_else(|| host.clone());
        let name = ServerName::try_from(wanted)
            .with_context(|| format!("kubeconfig {shown}: {host:?} is no name of a host"))?;
        let config = tls_config(&access)
            .with_context(|| format!("the certificates in kubeconfig {shown} cannot be used"))?;
        Ok(Self {
            project,
            port: uri.port_u16().unwrap_or(443),
            base: uri.path().trim_end_matches('/').to_owned(),
            host,
            tls: TlsConnector::from(Arc::new(config)),
            name,
            access,
            idle: Mutex::new(None),
            kinds: Mutex::default(),
        })
    }

    /// The hub's URL.
    pub(crate) fn server(&self) -> &str {
        &self.access.server
    }

    /// The CA that the hub's certificate is signed by, in PEM.
    pub(crate) fn ca_pem(&self) -> &[u8] {
        &self.access.ca_pem
    }

    async fn connect(&self) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        let server = &self.access.server;
        let stream = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(|error| Hinted {
                hint: format!(
                    "does the hub run? The URL stands in {}",
                    self.access.path.display()
                ),
                error: anyhow::Error::new(error)
                    .context(format!("failed to reach the hub at {server}")),
            })?;
        let _ = stream.set_nodelay(true);
        let stream = self
            .tls
            .connect(self.name.clone(), stream)
            .await
            .map_err(|error| self.explain_tls(error))?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .with_context(|| format!("failed to speak HTTP with the hub at {server}"))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to the hub ended");
            }
        });
        Ok(sender)
    }

    fn explain_tls(&self, error: std::io::Error) -> anyhow::Error {
        let server = &self.access.server;
        let path = self.access.path.display();
        let text = error.to_string();
        // two hubs name their CAs alike, so that the signature is what tells them apart
        let hint = if text.contains("UnknownIssuer") || text.contains("BadSignature") {
            format!(
                "the hub's certificate is not signed by the CA in {path}: is it another hub's kubeconfig, or of a hub that was set up anew?"
            )
        } else if text.contains("NotValidForName") {
            format!(
                "the hub's certificate is not for {}; start the hub with `--name {}`, or use a name that it is for",
                self.host, self.host
            )
        } else if text.contains("Expired") {
            "check the clocks of this machine and of the hub".to_owned()
        } else {
            format!("is it a hub that listens at {server}? The URL stands in {path}")
        };
        Hinted {
            error: anyhow::Error::new(error)
                .context(format!("failed to speak TLS with the hub at {server}")),
            hint,
        }
        .into()
    }

    fn request(&self, ask: &Ask<'_>) -> anyhow::Result<Request<Full<Bytes>>> {
        let mut target = format!("{}{}", self.base, ask.path);
        for (index, (key, value)) in ask.query.iter().enumerate() {
            target.push(if index == 0 { '?' } else { '&' });
            target.push_str(key);
            target.push('=');
            target.push_str(&escape(value));
        }
        let host = if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        };
        let mut builder = Request::builder()
            .method(ask.method.clone())
            .uri(target)
            .header(header::HOST, host)
            .header(header::ACCEPT, ask.accept)
            .header(
                header::USER_AGENT,
                concat!("roadstead/", env!("CARGO_PKG_VERSION")),
            );
        if let Some(token) = &self.access.token {
            builder = builder.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if !ask.reason.is_empty() {
            builder = builder.header(REASON, ask.reason.as_bytes());
        }
        let body = match &ask.body {
            Some((content_type, bytes)) => {
                builder = builder.header(header::CONTENT_TYPE, *content_type);
                bytes.clone()
            }
            None => Bytes::new(),
        };
        builder
            .body(Full::new(body))
            .context("this request cannot be written; does a name hold odd characters?")
    }

    async fn send(&self, ask: &Ask<'_>) -> anyhow::Result<http::Response<Incoming>> {
        let failed = || format!("failed to ask the hub at {}", self.access.server);
        // a connection that has been idle may have been closed by the hub in the meantime
        let kept = self.idle.lock().await.take();
        if let Some(mut sender) = kept
            && sender.ready().await.is_ok()
        {
            match sender.send_request(self.request(ask)?).await {
                Ok(response) => {
                    *self.idle.lock().await = Some(sender);
                    return Ok(response);
                }
                Err(error) if ask.method != Method::GET && !error.is_canceled() => {
                    return Err(anyhow::Error::new(error).context(failed()));
                }
                Err(_) => {}
            }
        }
        let mut sender = self.connect().await?;
        let response = sender
            .send_request(self.request(ask)?)
            .await
            .map_err(|error| {
                let refused =
                    error.to_string() + &format!("{:?}", std::error::Error::source(&error));
                let error = anyhow::Error::new(error).context(failed());
                // with TLS 1.3 the hub looks at our certificate after the handshake
                if refused.contains("Certificate") {
                    Hinted {
                        error,
                        hint: format!(
                            "the hub does not accept the client certificate in {}",
                            self.access.path.display()
                        ),
                    }
                    .into()
                } else {
                    error
                }
            })?;
        *self.idle.lock().await = Some(sender);
        Ok(response)
    }

    /// Asks, and reads the whole answer.
    pub(crate) async fn ask(&self, ask: Ask<'_>) -> anyhow::Result<Value> {
        Ok(self.ask_with_code(ask).await?.1)
    }

    /// Asks, and reads an answer that is text.
    pub(crate) async fn text(&self, path: &str) -> anyhow::Result<String> {
        let response = self.send(&Ask::get(path)).await?;
        let code = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if !code.is_success() {
            return Err(self.refused(code, &body));
        }
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Posts, and writes the whole answer somewhere; returns how many bytes it had.
    pub(crate) async fn download(
        &self,
        path: &str,
        to: &mut (impl std::io::Write + Send),
    ) -> anyhow::Result<u64> {
        let ask = Ask {
            method: Method::POST,
            ..Ask::get(path)
        };
        let response = self.send(&ask).await?;
        let code = response.status();
        let promised = response
            .headers()
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let mut body = response.into_body();
        if !code.is_success() {
            let body = body.collect().await?.to_bytes();
            return Err(self.refused(code, &body));
        }
        let broke = || format!("the answer of the hub at {} broke off", self.access.server);
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            if let Some(data) = frame.with_context(broke)?.data_ref() {
                to.write_all(data)
                    .context("failed to write what the hub sent")?;
                bytes += data.len() as u64;
            }
        }
        if promised.is_some_and(|promised| promised != bytes) {
            return Err(anyhow!(broke()));
        }
        Ok(bytes)
    }

    /// Asks, and reads the whole answer and its code.
    pub(crate) async fn ask_with_code(&self, ask: Ask<'_>) -> anyhow::Result<(StatusCode, Value)> {
        let response = self.send(&ask).await?;
        let code = response.status();
        for warning in response.headers().get_all(header::WARNING) {
            if let Some(text) = warning
                .to_str()
                .ok()
                .and_then(|text| text.split('"').nth(1))
            {
                tracing::warn!("{text}");
            }
        }
        let body = response
            .into_body()
            .collect()
            .await
            .with_context(|| format!("the answer of the hub at {} broke off", self.access.server))?
            .to_bytes();
        if !code.is_success() {
            return Err(self.refused(code, &body));
        }
        let value = serde_json::from_slice(&body).with_context(|| {
            format!(
                "the answer to {} is no JSON; is {} a hub?",
                ask.path, self.access.server
            )
        })?;
        Ok((code, value))
    }

    fn refused(&self, code: StatusCode, body: &[u8]) -> anyhow::Error {
        let refused = Refused::read(code, body);
        let path = self.access.path.display();
        let hint = match code {
            StatusCode::UNAUTHORIZED => format!("the user in {path} is not known to the hub"),
            StatusCode::FORBIDDEN => {
                "ask an administrator of the hub for a role, or use another --kubeconfig".to_owned()
            }
            _ => return refused.into(),
        };
        Hinted {
            error: refused.into(),
            hint,
        }
        .into()
    }

    /// Watches: each event as the hub sends it, until it ends the stream.
    pub(crate) async fn watch(&self, ask: Ask<'_>) -> anyhow::Result<Lines> {
        // a stream of its own, so that other requests go on meanwhile
        let kept = self.idle.lock().await.take();
        let response = self.send(&ask).await;
        let own = std::mem::replace(&mut *self.idle.lock().await, kept);
        let response = response?;
        let code = response.status();
        if !code.is_success() {
            let body = response.into_body().collect().await?.to_bytes();
            return Err(self.refused(code, &body));
        }
        Ok(Lines {
            body: response.into_body(),
            rest: Vec::new(),
            _sender: own,
        })
    }
}

/// A stream of JSON values, one a line.
pub(crate) struct Lines {
    body: Incoming,
    rest: Vec<u8>,
    _sender: Option<SendRequest<Full<Bytes>>>,
}

impl Lines {
    /// The next value; `None` at the end.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<Value>> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return Ok(Some(
                    serde_json::from_slice(&line)
                        .context("the hub sent an event that is no JSON")?,
                ));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.rest.extend_from_slice(data);
                    }
                }
                Some(Err(error)) => {
                    return Err(anyhow::Error::new(error).context("the hub's stream broke off"));
                }
                None => return Ok(None),
            }
        }
    }
}

fn tls_config(access: &Access) -> anyhow::Result<rustls::ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&access.ca_pem) {
        roots.add(certificate.context("the CA cannot be read")?)?;
    }
    if roots.is_empty() {
        anyhow::bail!("the CA holds no certificate");
    }
    let builder = rustls::ClientConfig::builder().with_root_certificates(roots);
    let mut config = match &access.identity {
        Some((chain, key)) => {
            let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
                .collect::<Result<_, _>>()
                .context("the client certificate cannot be read")?;
            let key =
                PrivateKeyDer::from_pem_slice(key).context("the client key cannot be read")?;
            builder
                .with_client_auth_cert(chain, key)
                .context("client certificate and key do not belong together")?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Escapes a text for a URL's query or for one step of its path.
pub(crate) fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_a_url_cannot_hold() {
        assert_eq!(escape("ring in (a, b)"), "ring%20in%20%28a%2C%20b%29");
        assert_eq!(escape("apps/Deployment/x"), "apps%2FDeployment%2Fx");
    }

    #[test]
    fn reads_a_refusal() {
        let body = br#"{"kind":"Status","reason":"Invalid","message":"no"}"#;
        let refused = Refused::read(StatusCode::UNPROCESSABLE_ENTITY, body);
        assert_eq!(refused.to_string(), "no");
        assert_eq!(refused.reason, "Invalid");
        let plain = Refused::read(StatusCode::BAD_GATEWAY, b"");
        assert_eq!(plain.to_string(), "the hub answered 502 Bad Gateway");
    }
}
