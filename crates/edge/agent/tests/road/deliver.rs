//! What an agent does with what it is told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_cluster::{Call, Cluster, Propagation};
use k8s_object::Gvk;
use roadstead_agent::{Identity, StateDir};
use roadstead_dispatch::AppState;
use roadstead_model::{ClusterId, Time};
use roadstead_wire::keys::KeySet;
use roadstead_wire::pki::{TlsKey, Validity};
use roadstead_wire::{DetailKind, DetailRequest};

use crate::hub::{WEB, agent, app, cluster, config, get, now, secret, start, web};

#[tokio::test]
async fn a_cluster_joins_obeys_heals_and_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let (hub, url, token) = start().await;
    let cluster = cluster();
    let first = agent(&cluster, folder.path(), &url, Some(token));
    hub.order(1, &[config("1"), secret(), web("i:1")]);
    let report = hub
        .until("healthy", |report| report.state == AppState::Healthy)
        .await;
    assert_eq!((report.health.total, report.health.healthy), (3, 3));
    assert!(
        hub.facts.borrow().starts_with('v'),
        "{:?}",
        hub.facts.borrow()
    );

    // a change sends the one object that changed, and the list as a patch
    hub.fetched.lock().expect("a lock").clear();
    hub.order(2, &[config("2"), secret(), web("i:1")]);
    let variant = hub.order.borrow().1[&app()].variant;
    hub.until("healthy on the second", |report| {
        report.variant == variant && report.state == AppState::Healthy
    })
    .await;
    assert_eq!(
        get(&cluster, "v1", "/ConfigMap/shop/a")
            .await
            .expect("there")["data"]["k"],
        "2"
    );
    let fetched = hub.fetched.lock().expect("a lock").clone();
    assert_eq!(fetched.len(), 2, "{fetched:?}");
    assert_eq!(fetched[0], (variant, true));

    // detail is masked
    let ask = |id: u64, object: &str| {
        hub.detail.send_replace(Some(DetailRequest {
            id,
            kind: DetailKind::Object,
            object: object.parse().expect("an id"),
        }));
    };
    let answered = async |count: usize| {
        let mut answers = hub.answers.subscribe();
        let found = answers.wait_for(|answers| answers.len() == count);
        let found = tokio::time::timeout(Duration::from_secs(10), found).await;
        found
            .expect("an answer")
            .expect("a hub")
            .last()
            .expect("one")
            .clone()
    };
    ask(1, "/Secret/shop/s");
    let answer = answered(1).await;
    let text = String::from_utf8(answer.outcome.expect("an object").to_vec()).expect("text");
    assert!(text.contains("***") && !text.contains("aGlkZGVu"), "{text}");
    ask(2, "/Secret/kube-system/other");
    assert!(
        answered(2)
            .await
            .outcome
            .expect_err("refused")
            .contains("belongs to no App")
    );

    // what is removed by hand is back within a second
    let remove = || Call::Delete {
        gvk: Gvk::new("apps/v1", "Deployment"),
        id: WEB.parse().expect("an id"),
        uid: String::new(),
        propagation: Propagation::Background,
    };
    let begun = Instant::now();
    cluster.call(remove()).await.expect("removed");
    while get(&cluster, "apps/v1", WEB).await.is_none() {
        assert!(
            begun.elapsed() < Duration::from_secs(1),
            "not healed in a second"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let healed = hub
        .until("healed", |report| {
            report.healed == 1 && report.state == AppState::Healthy
        })
        .await;

    // an order that was signed for another cluster is refused
    *hub.signed_for.lock().expect("a lock") = Some(ClusterId("c-2".to_owned()));
    hub.order(3, &[config("3")]);
    let mut refused = hub.refused.subscribe();
    let found = refused.wait_for(|refused| refused.contains("order is for cluster c-2"));
    tokio::time::timeout(Duration::from_secs(10), found)
        .await
        .expect("refused")
        .expect("a hub");
    assert_eq!(
        get(&cluster, "v1", "/ConfigMap/shop/a")
            .await
            .expect("there")["data"]["k"],
        "2"
    );
    // and so is an old one
    *hub.signed_for.lock().expect("a lock") = None;
    hub.order(1, &[config("1")]);
    let found = refused.wait_for(|refused| refused.contains("was obeyed already"));
    tokio::time::timeout(Duration::from_secs(10), found)
        .await
        .expect("refused")
        .expect("a hub");
    first.stop().await;

    // without the hub it goes on from what it kept, and writes nothing that is right already
    hub.reports.send_replace(BTreeMap::new());
    let second = agent(&cluster, folder.path(), "https://127.0.0.1:1", None);
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_millis(500)).await;
    cluster.call(remove()).await.expect("removed");
    while get(&cluster, "apps/v1", WEB).await.is_none() {
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "not healed without a hub"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    second.stop().await;
    hub.order(4, &[config("2"), secret(), web("i:1")]);
    let third = agent(&cluster, folder.path(), &url, None);
    let report = hub
        .until("healthy again", |report| report.state == AppState::Healthy)
        .await;
    assert_eq!(*hub.joined.lock().expect("a lock"), 1);
    // one write: the Deployment that was healed while the hub was away
    assert_eq!((report.healed, report.writes), (2, healed.writes + 1));
    third.stop().await;
}

#[tokio::test]
async fn a_bad_token_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_hub, url, token) = start().await;
    let cluster = cluster();
    for (token, text) in [
        (None, "has not joined"),
        (Some("nonsense".to_owned()), "join token cannot be used"),
        (
            Some(token.replace("rs1.", "rs9.")),
            "join token cannot be used",
        ),
    ] {
        let agent = agent(&cluster, folder.path(), &url, token);
        let error = agent.task.await.expect("no panic").expect_err("refused");
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[tokio::test]
async fn an_agent_whose_certificate_ended_while_the_hub_was_away_comes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let (hub, url, _) = start().await;
    let cluster = cluster();
    let key = TlsKey::generate().expect("a key");
    let until = Time(now().0 - 3_600_000);
    let ended = Validity {
        from: Time(until.0 - 86_400_000),
        until,
    };
    let id = ClusterId("c-1".to_owned());
    let request = key.request_pem().expect("a request");
    let made = hub.ca.agent(&request, &id, ended).expect("a certificate");
    let place = folder.path().join("state");
    let state = StateDir::open(&place).expect("a state folder");
    let before = Identity {
        cluster: id,
        certificate_pem: made.certificate_pem,
        key_pem: key.to_pem(),
        ca_pem: hub.ca.certificate_pem(),
        keys: KeySet::new(hub.key.public().clone()),
    };
    state.keep_identity(&before).expect("kept");
    drop(state);
    let agent = agent(&cluster, folder.path(), &url, None);
    hub.order(1, &[config("1")]);
    hub.until("healthy", |report| report.state == AppState::Healthy)
        .await;
    assert_eq!(*hub.joined.lock().expect("a lock"), 0, "no new token");
    agent.stop().await;
    let state = StateDir::open(&place).expect("a state folder");
    let after = state.identity().expect("read").expect("there");
    assert_ne!(after.certificate_pem, before.certificate_pem, "kept");
    assert_eq!(after.key_pem, before.key_pem);
}
