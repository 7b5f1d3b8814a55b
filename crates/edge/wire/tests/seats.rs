//! How long a session lasts, and whose it is.

mod common;

use std::time::{Duration, Instant};

use common::{DAY, Hub, chain, join_request, now, wait_for};
use roadstead_dispatch::Known;
use roadstead_model::{ClusterId, Time};
use roadstead_wire::pki::{TlsKey, Validity};
use roadstead_wire::token::{JoinToken, TokenFor};
use roadstead_wire::{
    AgentClient, AgentSession, ClientIdentity, Endpoint, Hello, HubSays, HubTrust, RefusalKind,
    WireError,
};

fn hello(cluster: &str, instance: &str) -> Hello {
    let cluster = ClusterId(cluster.to_owned());
    Hello::new(cluster, "0.1.0", None, Known::default()).of_instance(instance)
}

/// Hears everything until the session ends.
async fn end(mut session: AgentSession) -> (Vec<HubSays>, Option<WireError>) {
    let mut heard = Vec::new();
    let listening = async {
        loop {
            match session.inbound.next().await {
                Ok(Some(says)) => heard.push(says),
                Ok(None) => return None,
                Err(error) => return Some(error),
            }
        }
    };
    let error = tokio::time::timeout(Duration::from_secs(10), listening)
        .await
        .expect("it ends");
    (heard, error)
}

#[tokio::test]
async fn the_second_of_two_agents_with_one_identity_is_told() {
    let hub = Hub::start().await;
    let (identity, _) = hub.identity("c-1", Validity::starting(now(), DAY));
    let endpoint = hub.endpoint(Some(identity));
    let connect = || AgentClient::connect(&endpoint);
    let mut client = connect().await.unwrap();
    let first = client.session(hello("c-1", "one")).await.unwrap();
    // somebody has to listen, or it could not say that it is there
    let listening = tokio::spawn(async move {
        let mut session = first;
        while let Ok(Some(_)) = session.inbound.next().await {}
        drop(session);
    });

    let mut copy = connect().await.unwrap();
    let error = copy.session(hello("c-1", "two")).await.unwrap_err();
    assert!(
        matches!(
            error,
            WireError::Refused {
                kind: RefusalKind::Taken,
                ..
            }
        ) && !error.is_retryable(),
        "{error}"
    );
    let text = chain(&error);
    assert!(
        text.contains("another agent with the identity") && text.contains("127.0.0.1"),
        "{text}"
    );
    assert!(!listening.is_finished(), "the first goes on");

    // the first ends: its place is free
    listening.abort();
    drop(client);
    wait_for(&hub.gateway.ends, |ends| !ends.is_empty()).await;
    copy.session(hello("c-1", "two")).await.unwrap();
}

#[tokio::test]
async fn an_agent_that_answers_no_more_loses_its_place() {
    let hub = Hub::start().await;
    let (identity, _) = hub.identity("c-1", Validity::starting(now(), DAY));
    let endpoint = hub.endpoint(Some(identity));
    let connect = || AgentClient::connect(&endpoint);
    let mut client = connect().await.unwrap();
    // it holds its session, and hears nothing
    let deaf = client.session(hello("c-1", "one")).await.unwrap();
    let begun = Instant::now();
    let mut next = connect().await.unwrap();
    let _session = next.session(hello("c-1", "two")).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(8));
    let (heard, _) = end(deaf).await;
    assert!(
        heard.iter().any(
            |says| matches!(says, HubSays::Ended { reason } if reason.contains("another session"))
        ),
        "{heard:?}"
    );
    // the same process may come again without being asked
    let begun = Instant::now();
    let _again = next.session(hello("c-1", "two")).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_session_ends_with_the_certificate_that_opened_it() {
    let hub = Hub::start().await;
    // certificates know whole seconds
    let until = Time((now().0 + 3_000) / 1000 * 1000);
    let (identity, _) = hub.identity(
        "c-1",
        Validity {
            from: Time(now().0 - 60_000),
            until,
        },
    );
    let endpoint = hub.endpoint(Some(identity.clone()));
    let mut client = AgentClient::connect(&endpoint).await.unwrap();
    let session = client.session(hello("c-1", "one")).await.unwrap();
    let (heard, _) = end(session).await;
    let told =
        matches!(heard.last(), Some(HubSays::Ended { reason }) if reason.contains("has ended"));
    assert!(told && now() >= until, "{heard:?}");
    // all that is left to it is to renew
    let mut client = AgentClient::connect(&endpoint).await.unwrap();
    let error = client.session(hello("c-1", "one")).await.unwrap_err();
    assert!(
        chain(&error).contains("it may only be renewed"),
        "{}",
        chain(&error)
    );
    let key = TlsKey::from_pem(&identity.key_pem).unwrap();
    let renewed = client.renew(&key.request_pem().unwrap()).await.unwrap();
    let identity = ClientIdentity {
        certificate_pem: renewed.certificate_pem,
        ..identity
    };
    let mut client = AgentClient::connect(&hub.endpoint(Some(identity)))
        .await
        .unwrap();
    client.session(hello("c-1", "one")).await.unwrap();
}

#[tokio::test]
async fn whoever_joins_in_the_place_of_another_ends_its_session() {
    let hub = Hub::start().await;
    let cluster = ClusterId("c-0".to_owned());
    let clusters = &hub.gateway.clusters;
    clusters
        .lock()
        .unwrap()
        .insert("shop-1".to_owned(), cluster.clone());
    let (identity, serial) = hub.identity("c-0", Validity::starting(now(), DAY));
    let mut old = AgentClient::connect(&hub.endpoint(Some(identity)))
        .await
        .unwrap();
    let session = old.session(hello("c-0", "one")).await.unwrap();

    // what the hub does in the join itself
    hub.revoked.lock().unwrap().insert(serial);
    let target = TokenFor::Cluster {
        id: cluster,
        name: "shop-1".into(),
    };
    let text = hub.token(target, 1, now().plus_ms(60_000));
    let pin = text.parse::<JoinToken>().unwrap().ca_hash();
    let key = TlsKey::generate().unwrap();
    let endpoint = Endpoint::new(&hub.url(), HubTrust::Pin(pin), None);
    let mut client = AgentClient::connect(&endpoint).await.unwrap();
    let joined = client
        .join(&join_request(&text, "shop-1", &key))
        .await
        .unwrap();
    assert_eq!(joined.cluster.0, "c-0");
    let (heard, _) = end(session).await;
    let told = matches!(heard.last(), Some(HubSays::Ended { reason }) if reason.contains("joined in the place"));
    assert!(told, "{heard:?}");
    let identity = ClientIdentity {
        certificate_pem: joined.certificate_pem,
        key_pem: key.to_pem(),
    };
    let mut new = AgentClient::connect(&hub.endpoint(Some(identity)))
        .await
        .unwrap();
    new.session(hello("c-0", "two")).await.unwrap();
}
