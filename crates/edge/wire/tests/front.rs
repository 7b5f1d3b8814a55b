//! Proxies in front of the port that ask for others.

#![expect(clippy::unwrap_used, reason = "helpers outside tests fail as tests do")]

mod common;

use std::sync::Arc;

use common::{DAY, Hub, now};
use roadstead_model::ClusterId;
use roadstead_wire::pki::{Ca, TlsKey, Validity};
use roadstead_wire::{ClientIdentity, FrontProxies};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Asks for `/api` with a certificate; `None` if the connection is not let in.
async fn ask(hub: &Hub, identity: Option<&ClientIdentity>) -> Option<String> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(hub.ca_pem().as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let certificate =
                CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).unwrap();
            builder
                .with_client_auth_cert(vec![certificate], key)
                .unwrap()
        }
    };
    let tcp = TcpStream::connect(hub.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut tls = connector.connect(name, tcp).await.ok()?;
    let request = b"GET /api HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    tls.write_all(request).await.ok()?;
    let mut text = String::new();
    tls.read_to_string(&mut text).await.ok()?;
    (!text.is_empty()).then_some(text)
}

fn user(ca: &Ca, name: &str) -> ClientIdentity {
    let made = ca.user(name, &[], Validity::starting(now(), DAY)).unwrap();
    ClientIdentity {
        certificate_pem: made.certificate.certificate_pem,
        key_pem: made.key_pem,
    }
}

#[tokio::test]
async fn only_a_proxy_of_the_right_ca_and_name_asks_for_others() {
    let hub = Hub::start().await;
    let front = Ca::generate("front", Validity::starting(now(), DAY)).unwrap();
    let proxy = user(&front, "front-proxy-client");
    assert_eq!(ask(&hub, Some(&proxy)).await, None, "not trusted yet");
    let list = |text: &str| vec![text.to_owned()];
    hub.tls
        .trust_front_proxies(Some(FrontProxies {
            ca_pem: front.certificate_pem(),
            names: list("front-proxy-client"),
            user_headers: list("X-Remote-User"),
            group_headers: list("X-Remote-Group"),
            extra_prefixes: list("X-Remote-Extra-"),
        }))
        .unwrap();
    let said = ask(&hub, Some(&proxy)).await.unwrap();
    assert!(said.contains("a proxy"), "{said}");
    // the same CA may sign others, and they are nobody here
    assert_eq!(ask(&hub, Some(&user(&front, "kubelet"))).await, None);
    // nor does a name make anybody a proxy, or an agent
    let own = user(&hub.gateway.ca, "front-proxy-client");
    let said = ask(&hub, Some(&own)).await.unwrap();
    assert!(said.contains("user front-proxy-client"), "{said}");
    let key = TlsKey::generate().unwrap();
    let made = front
        .agent(
            &key.request_pem().unwrap(),
            &ClusterId("c-1".to_owned()),
            Validity::starting(now(), DAY),
        )
        .unwrap();
    let agent = ClientIdentity {
        certificate_pem: made.certificate_pem,
        key_pem: key.to_pem(),
    };
    assert_eq!(
        ask(&hub, Some(&agent)).await,
        None,
        "an agent of another CA"
    );
    let said = ask(&hub, None).await.unwrap();
    assert!(said.contains("anonymous"), "{said}");
    hub.tls.trust_front_proxies(None).unwrap();
    assert_eq!(ask(&hub, Some(&proxy)).await, None, "not trusted any more");
}
