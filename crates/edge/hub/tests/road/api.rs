//! Asks a hub over HTTPS, as any client does.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use roadstead_hub::Kubeconfig;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;

/// The group and version of the nouns.
const NOUNS: &str = "/apis/roadstead.dev/v1alpha1";

/// The hub's own words, with its code.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    pub(crate) code: u16,
    pub(crate) message: String,
}

/// One connection to a hub.
pub(crate) struct Api {
    address: SocketAddr,
    tls: TlsConnector,
    idle: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl Api {
    pub(crate) fn new(address: SocketAddr, access: &Kubeconfig) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(access.ca_pem.as_bytes()) {
            roots.add(certificate.expect("PEM")).expect("a CA");
        }
        let chain = CertificateDer::pem_slice_iter(access.certificate_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .expect("PEM");
        let key = PrivateKeyDer::from_pem_slice(access.key_pem.as_bytes()).expect("a key");
        let mut config = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .expect("an identity");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self {
            address,
            tls: TlsConnector::from(Arc::new(config)),
            idle: Mutex::default(),
        }
    }

    /// Sends bytes that are no request, and reads until the hub ends the connection or has answered something.
    pub(crate) async fn send_raw(&self, bytes: &[u8]) {
        let stream = TcpStream::connect(self.address).await.expect("a hub");
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let Ok(mut stream) = self.tls.connect(name, stream).await else {
            return;
        };
        // the hub may have ended it before all is written
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
    }

    async fn connect(&self) -> SendRequest<Full<Bytes>> {
        let stream = TcpStream::connect(self.address).await.expect("a hub");
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let stream = self.tls.connect(name, stream).await.expect("TLS");
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.expect("HTTP");
        tokio::spawn(connection);
        sender
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Option<&Value>,
    ) -> Result<Value, Refused> {
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("{NOUNS}/{path}")
        };
        let bytes = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let (code, body) = self.raw(method, &path, content_type, bytes).await;
        let value: Value = serde_json::from_slice(&body).unwrap_or_default();
        if code < 300 {
            return Ok(value);
        }
        let message = match value["message"].as_str() {
            Some(message) => message.to_owned(),
            None => String::from_utf8_lossy(&body).into_owned(),
        };
        Err(Refused { code, message })
    }

    /// Asks, and gives back what came, whatever it is.
    pub(crate) async fn raw(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        bytes: Bytes,
    ) -> (u16, Bytes) {
        let mut idle = self.idle.lock().await;
        let mut kept = idle.take();
        let alive = match &mut kept {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        let mut sender = match kept {
            Some(sender) if alive => sender,
            _ => self.connect().await,
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.address.to_string())
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, content_type)
            .body(Full::new(bytes))
            .expect("a request");
        let response = sender.send_request(request).await.expect("an answer");
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.expect("a body");
        *idle = Some(sender);
        (code, body.to_bytes())
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, Refused> {
        self.ask(Method::GET, path, "application/json", None).await
    }

    /// Posts; an unknown field is refused, as it is for kubectl.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, Refused> {
        self.ask(Method::POST, path, "application/json", Some(body))
            .await
    }

    pub(crate) async fn merge(&self, path: &str, body: &Value) -> Result<Value, Refused> {
        let kind = "application/merge-patch+json";
        self.ask(Method::PATCH, path, kind, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<Value, Refused> {
        self.ask(Method::DELETE, path, "application/json", None)
            .await
    }
}
