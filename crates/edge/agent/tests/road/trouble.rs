//! What is wrong with the agent itself: its disk, its certificate.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use k8s_cluster::{Call, Cluster as _, Propagation};
use k8s_object::Gvk;
use k8s_playground::Handle;
use roadstead_agent::StateDir;
use roadstead_dispatch::AppState;
use roadstead_model::Time;
use roadstead_wire::pki::{TlsKey, Validity};

use crate::hub::{WEB, agent, cluster, config, get, now, start, start_ahead, web};

const PATIENCE: Duration = Duration::from_secs(30);

/// Lets no file with this name be written: there is no room on the device.
fn fill(folder: &Path, name: &str) {
    let place = folder.join("state").join(format!("{name}.tmp"));
    std::fs::create_dir_all(place.parent().expect("a folder")).expect("made");
    symlink("/dev/full", place).expect("a link");
}

fn room(folder: &Path, name: &str) {
    std::fs::remove_file(folder.join("state").join(format!("{name}.tmp"))).expect("removed");
}

#[tokio::test]
async fn an_agent_that_cannot_keep_its_key_waits_and_uses_no_token() {
    let folder = tempfile::tempdir().expect("a folder");
    fill(folder.path(), "identity/key.pem");
    let (hub, url, token) = start().await;
    hub.order(1, &[config("1")]);
    let agent = agent(&cluster(), folder.path(), &url, Some(token));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!agent.task.is_finished(), "it would begin again and again");
    assert_eq!(*hub.joined.lock().expect("a lock"), 0);
    room(folder.path(), "identity/key.pem");
    hub.until("healthy", |report| report.state == AppState::Healthy)
        .await;
    assert_eq!(*hub.joined.lock().expect("a lock"), 1);
    agent.stop().await;
}

#[tokio::test]
async fn an_agent_whose_disk_is_full_says_so_harms_nothing_and_goes_on_by_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let (hub, url, token) = start().await;
    let handle = cluster();
    hub.order(1, &[config("1"), web("i:1")]);
    let agent = agent(&handle, folder.path(), &url, Some(token));
    hub.until("healthy", |report| report.state == AppState::Healthy)
        .await;
    let before = get(&handle, "apps/v1", WEB).await.expect("there");

    fill(folder.path(), "records/order");
    hub.order(2, &[config("2"), web("i:1")]);
    let mut unkept = hub.unkept.subscribe();
    let told = unkept.wait_for(|why| why.as_deref().is_some_and(|why| !why.is_empty()));
    let told = tokio::time::timeout(PATIENCE, told).await.expect("told");
    let why = told.expect("a word").clone().unwrap_or_default();
    assert!(
        why.contains("records/order.tmp") && why.contains("No space left on device"),
        "{why}"
    );
    tokio::time::sleep(Duration::from_millis(500)).await;
    let map = get(&handle, "v1", "/ConfigMap/shop/a")
        .await
        .expect("there");
    assert_eq!(map["data"]["k"], "1", "what is not kept is not done");
    assert_eq!(get(&handle, "apps/v1", WEB).await, Some(before));

    room(folder.path(), "records/order");
    let again = unkept.wait_for(|why| why.as_deref() == Some(""));
    drop(tokio::time::timeout(PATIENCE, again).await.expect("told"));
    let done = |report: &roadstead_dispatch::AppReport| report.state == AppState::Healthy;
    hub.until("healthy again", done).await;
    let changed = async {
        while get(&handle, "v1", "/ConfigMap/shop/a")
            .await
            .is_none_or(|map| map["data"]["k"] != "2")
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, changed)
        .await
        .expect("the order is carried out");
    agent.stop().await;
}

/// Somebody removes the Deployment, and it is made again.
async fn heals(cluster: &Handle) {
    let uid = get(cluster, "apps/v1", WEB).await.expect("there")["metadata"]["uid"].clone();
    let call = Call::Delete {
        gvk: Gvk::new("apps/v1", "Deployment"),
        id: WEB.parse().expect("an id"),
        uid: uid.as_str().unwrap_or_default().to_owned(),
        propagation: Propagation::Background,
    };
    cluster.call(call).await.expect("removed");
    let healed = async {
        while get(cluster, "apps/v1", WEB)
            .await
            .is_none_or(|web| web["metadata"]["uid"] == uid)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, healed)
        .await
        .expect("healed");
}

#[tokio::test]
async fn an_agent_that_was_alone_for_longer_than_its_certificate_heals_and_comes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let (hub, url, token) = start().await;
    let handle = cluster();
    hub.order(1, &[web("i:1")]);
    let first = agent(&handle, folder.path(), &url, Some(token));
    hub.until("healthy", |report| report.state == AppState::Healthy)
        .await;
    first.stop().await;
    // thirty days go by, and the certificate was good for one less
    let state = StateDir::open(&folder.path().join("state")).expect("a state folder");
    let mut identity = state.identity().expect("read").expect("joined");
    let key = TlsKey::from_pem(&identity.key_pem).expect("a key");
    let until = Time(now().0 - 3_600_000);
    let ended = Validity {
        from: Time(until.0 - 29 * 86_400_000),
        until,
    };
    let request = key.request_pem().expect("a request");
    let made = hub.ca.agent(&request, &identity.cluster, ended);
    identity.certificate_pem = made.expect("a certificate").certificate_pem;
    state.keep_identity(&identity).expect("kept");
    drop(state);

    let alone = agent(&handle, folder.path(), "https://127.0.0.1:1", None);
    heals(&handle).await;
    alone.stop().await;
    let back = agent(&handle, folder.path(), &url, None);
    hub.order(2, &[web("i:1"), config("2")]);
    let all = |report: &roadstead_dispatch::AppReport| {
        report.state == AppState::Healthy && report.health.total == 2
    };
    hub.until("healthy by the new order", all).await;
    assert_eq!(*hub.joined.lock().expect("a lock"), 1, "no new token");
    back.stop().await;
}

#[tokio::test]
async fn an_agent_whose_certificate_is_worth_nothing_heals_and_comes_back_by_a_new_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let (hub, url, token) = start().await;
    let handle = cluster();
    hub.order(1, &[web("i:1")]);
    let first = agent(&handle, folder.path(), &url, Some(token.clone()));
    hub.until("healthy", |report| report.state == AppState::Healthy)
        .await;
    first.stop().await;
    let made = hub.made.lock().expect("a lock").clone();
    hub.revoked.lock().expect("a lock").extend(made);

    // it looks after its cluster, whatever the hub thinks of it
    let second = agent(&handle, folder.path(), &url, None);
    heals(&handle).await;
    assert_eq!(*hub.joined.lock().expect("a lock"), 1);
    second.stop().await;

    let third = agent(&handle, folder.path(), &url, Some(token));
    hub.order(2, &[web("i:1"), config("2")]);
    let all = |report: &roadstead_dispatch::AppReport| {
        report.state == AppState::Healthy && report.health.total == 2
    };
    hub.until("healthy by the new certificate", all).await;
    assert_eq!(*hub.joined.lock().expect("a lock"), 2);
    third.stop().await;
    // and it needs no token from now on
    let fourth = agent(&handle, folder.path(), &url, None);
    hub.order(3, &[web("i:1")]);
    hub.until("still known", |report| report.health.total == 1)
        .await;
    fourth.stop().await;
}

#[tokio::test]
async fn a_clock_that_is_ten_minutes_off_keeps_nobody_from_joining_and_obeying() {
    for ahead in [600_000, -600_000] {
        let folder = tempfile::tempdir().expect("a folder");
        let (hub, url, token) = start_ahead(ahead).await;
        hub.order(1, &[config("1")]);
        let handle = cluster();
        let first = agent(&handle, folder.path(), &url, Some(token));
        hub.until("healthy", |report| report.state == AppState::Healthy)
            .await;
        first.stop().await;
        let second = agent(&handle, folder.path(), &url, None);
        hub.order(2, &[config("1"), web("i:1")]);
        let all = |report: &roadstead_dispatch::AppReport| {
            report.state == AppState::Healthy && report.health.total == 2
        };
        hub.until("the next order is obeyed", all).await;
        assert_eq!(*hub.joined.lock().expect("a lock"), 1);
        second.stop().await;
    }
}
