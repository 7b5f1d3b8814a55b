//! Hub and agent over real TLS on loopback, as they are meant to be.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use base_json::Digest;
use common::{DAY, Hub, chain, join_request, now, wait_for};
use roadstead_dispatch::{Known, Report, apply_delta, open_header, root_of};
use roadstead_model::ClusterId;
use roadstead_wire::keys::KeySet;
use roadstead_wire::pki::{TlsKey, Validity};
use roadstead_wire::token::{JoinToken, TokenFor};
use roadstead_wire::{
    AgentClient, AgentSays, Answer, ClientIdentity, Content, Endpoint, Hello, HubSays, HubTrust,
    Limits, Want,
};

fn hello(cluster: &str) -> Hello {
    Hello::new(
        ClusterId(cluster.to_owned()),
        "0.1.0",
        None,
        Known::default(),
    )
}

#[tokio::test]
async fn a_token_becomes_a_cluster_that_obeys_an_order() {
    let hub = Hub::start().await;
    let text = hub.token(TokenFor::Name("shop-1".into()), 1, now().plus_ms(60_000));
    let token: JoinToken = text.parse().unwrap();

    // first contact: all that is known is the URL and the token
    let key = TlsKey::generate().unwrap();
    let first = Endpoint::new(&hub.url(), HubTrust::Pin(token.ca_hash()), None);
    let mut client = AgentClient::connect(&first).await.unwrap();
    assert_eq!(client.found_ca_pem(), Some(hub.ca_pem().as_str()));
    let joined = client
        .join(&join_request(&text, "shop-1", &key))
        .await
        .unwrap();
    let keys = KeySet::from_json(&joined.keys_json).unwrap();
    assert_eq!((keys.ids(), joined.epoch), (&[hub.key_id()][..], 3));

    // from here on as itself
    let identity = ClientIdentity {
        certificate_pem: joined.certificate_pem,
        key_pem: key.to_pem(),
    };
    let own = Endpoint::new(&hub.url(), HubTrust::Ca(joined.ca_pem), Some(identity));
    let mut client = AgentClient::connect(&own).await.unwrap();
    let mut session = client.session(hello(&joined.cluster.0)).await.unwrap();
    assert_eq!(
        (session.welcome.version, session.welcome.hub_id.as_str()),
        (1, "test-hub")
    );
    let root = match session.inbound.next().await.unwrap() {
        Some(HubSays::RootIs(root)) => root,
        other => panic!("{other:?}"),
    };
    session
        .outbound
        .send(&AgentSays::WantOrder { base: None })
        .await
        .unwrap();
    let delta = match session.inbound.next().await.unwrap() {
        Some(HubSays::Order(delta)) => delta,
        other => panic!("{other:?}"),
    };
    let header = open_header(&delta.header, &keys).unwrap();
    let held = BTreeMap::new();
    let entries = apply_delta(
        &held,
        &joined.cluster,
        Known::default(),
        &header,
        &delta,
        &[],
    )
    .unwrap();
    assert_eq!(root_of(&entries), root);

    // status up, and the answer to a question
    let report = Report {
        gone: vec!["shop/cart".parse().unwrap(); 1000],
        ..Report::default()
    };
    session
        .outbound
        .send(&AgentSays::Report(Box::new(report.clone())))
        .await
        .unwrap();
    let detail = match session.inbound.next().await.unwrap() {
        Some(HubSays::Detail(detail)) => detail,
        other => panic!("{other:?}"),
    };
    assert_eq!(detail.object.to_string(), "apps/Deployment/shop/cart");
    assert_eq!(
        *hub.gateway.reports.lock().unwrap(),
        [(joined.cluster.clone(), report)]
    );
    let big = Answer {
        id: detail.id,
        outcome: Ok(vec![b'x'; 300_000].into()),
    };
    client.answer(big.clone()).await.unwrap();
    let none = Answer {
        id: 43,
        outcome: Err("gone".to_owned()),
    };
    client.answer(none.clone()).await.unwrap();
    let answers = wait_for(&hub.gateway.answers, |answers| answers.len() == 2).await;
    assert_eq!(answers, [big, none]);

    // a second use of the token finds it used up
    let mut again = AgentClient::connect(&first).await.unwrap();
    let error = again
        .join(&join_request(&text, "shop-1", &key))
        .await
        .unwrap_err();
    assert!(chain(&error).contains("used up"), "{}", chain(&error));
}

#[tokio::test]
async fn contents_come_whole_as_patches_or_with_a_reason() {
    let hub = Hub::start().await;
    let variant = |changed: usize| {
        let objects: Vec<_> = (0..3000)
            .map(|n| {
                let tag = if n == changed { "new" } else { "old" };
                base_json::json!({"id": format!("/ConfigMap/shop/c{n}"), "digest": Digest::of(format!("{n}{tag}").as_bytes())})
            })
            .collect();
        base_json::canonical(&base_json::json!({ "objects": objects }))
    };
    let mut noise = vec![0; 200_000];
    getrandom::fill(&mut noise).unwrap();
    let contents = [variant(usize::MAX), variant(1500), noise, Vec::new()];
    let digests: Vec<Digest> = contents.iter().map(|bytes| Digest::of(bytes)).collect();
    for (digest, bytes) in digests.iter().zip(&contents) {
        let mut blobs = hub.gateway.blobs.lock().unwrap();
        blobs.insert(*digest, bytes.clone());
    }
    let forbidden = Digest::of(b"another cluster's");
    hub.gateway
        .forbidden
        .lock()
        .unwrap()
        .insert((ClusterId("c-1".into()), forbidden));

    let (mut client, _) = hub.agent("c-1").await;
    let wants = [
        Want::whole(digests[0]),
        Want {
            digest: digests[1],
            base: Some(digests[0]),
        },
        Want::whole(digests[2]),
        Want::whole(forbidden),
        Want::whole(digests[3]),
    ];
    let mut stream = client.fetch(&wants).await.unwrap();
    let mut got = Vec::new();
    while let Some(fetched) = stream.next().await.unwrap() {
        if let Content::Patch { patch, .. } = &fetched.content {
            assert!(patch.len() < 400, "{} bytes", patch.len());
        }
        got.push(fetched.resolve(|base| (*base == digests[0]).then(|| contents[0].clone())));
    }
    assert_eq!(got.len(), 5);
    assert_eq!(got[0].as_deref(), Ok(&contents[0][..]));
    assert_eq!(got[1].as_deref(), Ok(&contents[1][..]));
    assert_eq!(got[2].as_deref(), Ok(&contents[2][..]));
    let refused = got[3].as_ref().unwrap_err().to_string();
    assert!(refused.contains("no variant of this cluster"), "{refused}");
    assert_eq!(got[4].as_deref(), Ok(&[][..]));
}

#[tokio::test]
async fn an_idle_agent_beats_and_one_that_vanishes_is_noticed() {
    let limits = Limits {
        beat: Duration::from_millis(100),
        ..Limits::default()
    };
    let hub = Hub::with(limits, &["localhost"]).await;
    let (mut client, _) = hub.agent("c-1").await;
    let session = client.session(hello("c-1")).await.unwrap();
    wait_for(&hub.gateway.beats, |beats| *beats >= 5).await;
    assert!(hub.gateway.ends.borrow().is_empty(), "it is still there");

    // an agent that says nothing more ends its session in good order
    drop(session.outbound);
    let ends = wait_for(&hub.gateway.ends, |ends| ends.len() == 1).await;
    assert_eq!(ends, [Ok(())]);

    // one that vanishes is noticed, and the gateway is told
    let (identity, _) = hub.identity("c-2", Validity::starting(now(), DAY));
    let endpoint = hub.endpoint(Some(identity));
    let its_process = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let session = runtime.block_on(async {
            let mut client = AgentClient::connect(&endpoint).await.unwrap();
            client.session(hello("c-2")).await.unwrap()
        });
        drop(runtime);
        drop(session);
    });
    its_process.await.unwrap();
    let ends = wait_for(&hub.gateway.ends, |ends| ends.len() == 2).await;
    assert!(ends[1].is_err(), "{ends:?}");
}

#[tokio::test]
async fn a_port_that_closes_ends_its_sessions_with_a_word() {
    let mut hub = Hub::start().await;
    let (mut client, _) = hub.agent("c-1").await;
    let mut session = client.session(hello("c-1")).await.unwrap();
    let _ = hub.stop.take().unwrap().send(());
    let mut heard = Vec::new();
    let error = loop {
        match session.inbound.next().await {
            Ok(says) => heard.push(says.expect("it ends with its reason")),
            Err(error) => break error,
        }
    };
    assert!(error.is_retryable(), "{}", chain(&error));
    let ended = HubSays::Ended {
        reason: "the hub closes its port".to_owned(),
    };
    assert_eq!(heard.last(), Some(&ended));
    drop((client, session));
    tokio::time::timeout(Duration::from_secs(5), hub.served)
        .await
        .expect("it drains")
        .unwrap();
    assert_eq!(hub.connections.count(), (0, 0));
}

#[tokio::test]
async fn a_hub_that_vanishes_is_a_lost_connection() {
    let hub = Hub::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://localhost:{}",
        listener.local_addr().unwrap().port()
    );
    let to = hub.address;
    let wire = tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = tokio::net::TcpStream::connect(to).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    });
    let (identity, _) = hub.identity("c-1", Validity::starting(now(), DAY));
    let endpoint = Endpoint::new(&url, HubTrust::Ca(hub.ca_pem()), Some(identity));
    let mut client = AgentClient::connect(&endpoint).await.unwrap();
    let mut session = client.session(hello("c-1")).await.unwrap();
    assert!(matches!(
        session.inbound.next().await,
        Ok(Some(HubSays::RootIs(_)))
    ));
    wire.abort();
    let error = session.inbound.next().await.unwrap_err();
    assert!(
        matches!(error, roadstead_wire::WireError::Lost(_)) && error.is_retryable(),
        "{}",
        chain(&error)
    );
    let error = client.fetch(&[]).await.unwrap_err();
    assert!(
        matches!(error, roadstead_wire::WireError::Lost(_)),
        "{}",
        chain(&error)
    );
    assert!(client.is_gone());
}

#[tokio::test]
async fn a_new_server_certificate_is_presented_from_then_on() {
    let hub = Hub::with(Limits::default(), &["old.example"]).await;
    assert!(AgentClient::connect(&hub.endpoint(None)).await.is_err());
    let validity = Validity::starting(now(), DAY);
    let made = hub.gateway.ca.server(&["localhost".to_owned()], validity);
    let made = made.unwrap();
    let chain_pem = made.certificate.certificate_pem + &hub.ca_pem();
    assert!(hub.tls.replace("nonsense", &made.key_pem).is_err());
    hub.tls.replace(&chain_pem, &made.key_pem).unwrap();
    AgentClient::connect(&hub.endpoint(None)).await.unwrap();
}

/// The real kubectl, with a certificate of ours, on the port that serves the agents.
#[tokio::test]
async fn kubectl_speaks_to_the_same_port() {
    let found = std::process::Command::new("kubectl").arg("help").output();
    if found.is_err() {
        eprintln!("skipped: there is no kubectl on PATH");
        return;
    }
    let hub = Hub::start().await;
    let groups = ["ops".to_owned(), "dev".to_owned(), "on-call".to_owned()];
    let made = hub
        .gateway
        .ca
        .user("jo", &groups, Validity::starting(now(), DAY))
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let args = [
        format!("--kubeconfig={}", write("config", "")),
        format!("--server={}", hub.url()),
        format!("--certificate-authority={}", write("ca.pem", &hub.ca_pem())),
        format!(
            "--client-certificate={}",
            write("jo.pem", &made.certificate.certificate_pem)
        ),
        format!("--client-key={}", write("jo.key", &made.key_pem)),
    ];
    let run = tokio::process::Command::new("kubectl")
        .args(args)
        .args(["get", "--raw", "/version"])
        .output();
    let output = tokio::time::timeout(Duration::from_secs(60), run)
        .await
        .expect("kubectl ends")
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        text.trim(),
        "/version HTTP/2.0 user jo of ops+dev+on-call",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
