//! Whoever should not get in does not, and is told why.

mod common;

use std::time::Duration;

use base_json::Digest;
use common::{DAY, Hub, chain, ended, join_request, now, wait_for};
use roadstead_dispatch::Known;
use roadstead_model::{ClusterId, Time};
use roadstead_wire::pki::{Ca, TlsKey, Validity};
use roadstead_wire::token::TokenFor;
use roadstead_wire::{
    AgentClient, ClientIdentity, Endpoint, Hello, HubSays, HubTrust, RefusalKind, Want, WireError,
};

fn hello(cluster: &str) -> Hello {
    Hello::new(
        ClusterId(cluster.to_owned()),
        "0.1.0",
        None,
        Known::default(),
    )
}

async fn refused(endpoint: &Endpoint) -> WireError {
    let connected = AgentClient::connect(endpoint).await;
    connected.expect_err("it should be refused")
}

#[track_caller]
fn check(error: &WireError, parts: &[&str]) {
    let text = chain(error);
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

#[tokio::test]
async fn a_token_that_is_no_good_says_why() {
    let hub = Hub::start().await;
    let other = Hub::start().await;
    let later = now().plus_ms(60_000);
    let name = |name: &str| TokenFor::Name(name.to_owned());
    let good = hub.token(name("a"), 9, later);
    let cases = [
        (
            hub.token(name("a"), 1, Time(1_000_000)),
            "expired at 1970-01-01T00:16:40Z",
        ),
        (hub.token(name("a"), 0, later), "used up"),
        (
            hub.token(TokenFor::Pattern("edge-*".into()), 1, later),
            "names like \"edge-*\"",
        ),
        (other.token(name("a"), 1, later), "not known to this hub"),
        ("nonsense".to_owned(), "not a join token"),
        (good[..40].to_owned(), "parts, expected 4"),
    ];
    let key = TlsKey::generate().unwrap();
    let mut client = AgentClient::connect(&hub.endpoint(None)).await.unwrap();
    for (token, expected) in cases {
        let error = client
            .join(&join_request(&token, "a", &key))
            .await
            .unwrap_err();
        check(&error, &[expected]);
        assert!(!error.is_retryable());
    }
    client.join(&join_request(&good, "a", &key)).await.unwrap();
    let error = client
        .join(&join_request(&good, "a", &key))
        .await
        .unwrap_err();
    check(&error, &["a cluster named \"a\" exists"]);
    assert!(matches!(
        error,
        WireError::Refused {
            kind: RefusalKind::Taken,
            ..
        }
    ));
}

#[tokio::test]
async fn a_hub_that_is_not_the_tokens_is_not_told_the_token() {
    let hub = Hub::start().await;
    let other = Digest::of(b"another CA");
    let pinned = Endpoint::new(&hub.url(), HubTrust::Pin(other), None);
    check(
        &refused(&pinned).await,
        &[
            "not signed by the hub's CA that the join token names",
            "CN=test hub",
        ],
    );
    let elsewhere = Hub::start().await;
    let known = Endpoint::new(&hub.url(), HubTrust::Ca(elsewhere.ca_pem()), None);
    check(
        &refused(&known).await,
        &["is not signed by the hub's CA", "opens TLS"],
    );
}

#[tokio::test]
async fn a_hub_by_another_name_lists_its_names() {
    let hub = Hub::with(Default::default(), &["hub.example", "10.9.8.7"]).await;
    let error = refused(&hub.endpoint(None)).await;
    check(&error, &["\"localhost\"", "hub.example, 10.9.8.7"]);
}

#[tokio::test]
async fn without_an_identity_there_is_only_join() {
    let hub = Hub::start().await;
    let mut client = AgentClient::connect(&hub.endpoint(None)).await.unwrap();
    let error = client.session(hello("c-1")).await.unwrap_err();
    check(&error, &["agent's certificate is needed"]);
    let error = client.fetch(&[Want::whole(Digest::of(b""))]).await;
    check(&error.unwrap_err(), &["agent's certificate is needed"]);
    let key = TlsKey::generate().unwrap();
    let error = client.renew(&key.request_pem().unwrap()).await.unwrap_err();
    check(&error, &["agent's certificate is needed"]);
    // nor for a person
    let person = hub
        .gateway
        .ca
        .user("jo", &[], Validity::starting(now(), DAY))
        .unwrap();
    let identity = ClientIdentity {
        certificate_pem: person.certificate.certificate_pem,
        key_pem: person.key_pem,
    };
    let mut client = AgentClient::connect(&hub.endpoint(Some(identity)))
        .await
        .unwrap();
    let error = client.session(hello("c-1")).await.unwrap_err();
    check(&error, &["agent's certificate is needed"]);
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_refused_by_name() {
    let hub = Hub::start().await;
    let elsewhere = Hub::start().await;
    let (stranger, _) = elsewhere.identity("c-1", Validity::starting(now(), DAY));
    let error = refused(&hub.endpoint(Some(stranger))).await;
    assert!(
        matches!(error, WireError::CertificateUnknown),
        "{}",
        chain(&error)
    );
    // a CA of the same name changes nothing
    let ca = Ca::generate("test hub", Validity::starting(now(), DAY)).unwrap();
    let key = TlsKey::generate().unwrap();
    let made = ca
        .agent(
            &key.request_pem().unwrap(),
            &ClusterId("c-1".into()),
            Validity::starting(now(), DAY),
        )
        .unwrap();
    let forged = ClientIdentity {
        certificate_pem: made.certificate_pem,
        key_pem: key.to_pem(),
    };
    let error = refused(&hub.endpoint(Some(forged))).await;
    assert!(
        matches!(error, WireError::CertificateUnknown),
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn an_ended_certificate_renews_with_its_own_key_and_nothing_else() {
    let hub = Hub::start().await;
    let (identity, _) = hub.identity("c-1", ended(DAY));
    let mut client = AgentClient::connect(&hub.endpoint(Some(identity.clone())))
        .await
        .unwrap();
    let error = client.session(hello("c-1")).await.unwrap_err();
    check(
        &error,
        &["certificate of cluster c-1 ended at", "only be renewed"],
    );
    let error = client.fetch(&[]).await.unwrap_err();
    check(&error, &["only be renewed"]);
    let other = TlsKey::generate().unwrap();
    let error = client
        .renew(&other.request_pem().unwrap())
        .await
        .unwrap_err();
    check(&error, &["for the same key only"]);
    let same = TlsKey::from_pem(&identity.key_pem).unwrap();
    let renewed = client.renew(&same.request_pem().unwrap()).await.unwrap();
    let fresh = ClientIdentity {
        certificate_pem: renewed.certificate_pem,
        ..identity
    };
    let mut client = AgentClient::connect(&hub.endpoint(Some(fresh)))
        .await
        .unwrap();
    client.session(hello("c-1")).await.unwrap();

    // beyond the grace period, or a person's, it does not get in at all
    let (long_gone, _) = hub.identity("c-1", ended(DAY * 91));
    let error = refused(&hub.endpoint(Some(long_gone))).await;
    assert!(
        matches!(error, WireError::CertificateEnded),
        "{}",
        chain(&error)
    );
    let person = hub.gateway.ca.user("jo", &[], ended(DAY)).unwrap();
    let person = ClientIdentity {
        certificate_pem: person.certificate.certificate_pem,
        key_pem: person.key_pem,
    };
    let error = refused(&hub.endpoint(Some(person))).await;
    assert!(
        matches!(error, WireError::CertificateEnded),
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn revocation_ends_the_live_session_and_keeps_the_agent_out() {
    let hub = Hub::start().await;
    let (identity, serial) = hub.identity("c-1", Validity::starting(now(), DAY));
    let endpoint = hub.endpoint(Some(identity));
    let mut client = AgentClient::connect(&endpoint).await.unwrap();
    let mut session = client.session(hello("c-1")).await.unwrap();
    let (mut bystander, _) = hub.agent("c-2").await;
    let mut other = bystander.session(hello("c-2")).await.unwrap();
    let _ = other.inbound.next().await;

    hub.revoked.lock().unwrap().insert(serial);
    let cluster = ClusterId("c-1".into());
    assert_eq!(
        hub.connections
            .close_cluster(&cluster, "cluster c-1 was forgotten"),
        1
    );
    let mut heard = Vec::new();
    let error = loop {
        match session.inbound.next().await {
            Ok(Some(says)) => heard.push(says),
            Ok(None) => panic!("it ends with its reason"),
            Err(error) => break error,
        }
    };
    let reason = "cluster c-1 was forgotten".to_owned();
    assert_eq!(heard.last(), Some(&HubSays::Ended { reason }));
    check(&error, &["cluster c-1 was forgotten"]);
    let again = refused(&endpoint).await;
    assert!(
        matches!(again, WireError::CertificateRevoked),
        "{}",
        chain(&again)
    );
    tokio::time::timeout(Duration::from_secs(5), async {
        while !client.is_gone() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("the connection itself is closed");
    let quiet = tokio::time::timeout(Duration::from_millis(200), other.inbound.next()).await;
    assert!(quiet.is_err(), "the other cluster's session goes on");
}

#[tokio::test]
async fn a_hello_for_another_cluster_or_of_another_age_is_refused() {
    let hub = Hub::start().await;
    let (mut client, _) = hub.agent("c-1").await;
    let error = client.session(hello("c-2")).await.unwrap_err();
    check(
        &error,
        &["hello names cluster c-2, the certificate is of cluster c-1"],
    );
    for (min, max, expected) in [(7, 9, "upgrade the hub"), (0, 0, "upgrade the agent")] {
        let hello = Hello {
            version_min: min,
            version_max: max,
            ..hello("c-1")
        };
        let error = client.session(hello).await.unwrap_err();
        check(&error, &[expected]);
        assert!(matches!(
            error,
            WireError::Refused {
                kind: RefusalKind::Version,
                ..
            }
        ));
    }
    // the connection is none the worse
    client.session(hello("c-1")).await.unwrap();
    wait_for(&hub.gateway.ends, |ends| ends.len() == 1).await;
}

#[tokio::test]
async fn what_cannot_be_reached_is_said_plainly() {
    let pin = HubTrust::Pin(Digest::of(b""));
    let check_url = async |url: &str, parts: &[&str]| {
        check(
            &refused(&Endpoint::new(url, pin.clone(), None)).await,
            parts,
        );
    };
    check_url("http://hub.example", &["does not start with https://"]).await;
    check_url("https://hub.example/api", &["has a path"]).await;
    check_url("hub.example:443", &["https://"]).await;
    check_url(
        "https://no-such-host.invalid",
        &["cannot be resolved", "no-such-host.invalid"],
    )
    .await;
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    let silent = Endpoint {
        connect_timeout: Duration::from_millis(200),
        ..Endpoint::new(&format!("https://{address}"), pin.clone(), None)
    };
    check(&refused(&silent).await, &["took longer than 0.2 s"]);
    drop(free);
    check_url(
        &format!("https://{address}"),
        &["refused; is the hub running"],
    )
    .await;
}
