//! Garbage, floods and things in between: they end what they came on and nothing else.

#![expect(clippy::unwrap_used, reason = "helpers outside tests fail as tests do")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{DAY, Hub, chain, now};
use futures_util::StreamExt as _;
use http::{Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use roadstead_dispatch::Known;
use roadstead_model::ClusterId;
use roadstead_wire::pki::{Ca, Validity};
use roadstead_wire::{
    AgentClient, ClientIdentity, Endpoint, Hello, HubTrust, Limits, ProxySettings, Want, WireError,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tonic::body::Body;

fn hello(cluster: &str) -> Hello {
    Hello::new(
        ClusterId(cluster.to_owned()),
        "0.1.0",
        None,
        Known::default(),
    )
}

/// A TLS connection of a client that is not ours.
async fn raw_tls(
    hub: &Hub,
    identity: Option<&ClientIdentity>,
    alpn: &[u8],
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(hub.ca_pem().as_bytes()).unwrap();
    roots.add(ca).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let certificate = CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes());
            let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).unwrap();
            builder
                .with_client_auth_cert(vec![certificate.unwrap()], key)
                .unwrap()
        }
    };
    if !alpn.is_empty() {
        config.alpn_protocols = vec![alpn.to_vec()];
    }
    let tcp = TcpStream::connect(hub.address).await.unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from("localhost").unwrap(), tcp)
        .await
        .unwrap()
}

/// Sends one gRPC message made of these bytes and returns the status.
async fn grpc(
    hub: &Hub,
    identity: &ClientIdentity,
    method: &str,
    message: &[u8],
) -> (String, String) {
    call(hub, Some(identity), method, message, true).await
}

/// The same; but the sender may say no more and yet not end.
async fn call(
    hub: &Hub,
    identity: Option<&ClientIdentity>,
    method: &str,
    message: &[u8],
    ends: bool,
) -> (String, String) {
    let tls = raw_tls(hub, identity, b"h2").await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls))
            .await
            .unwrap();
    tokio::spawn(connection);
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let framed = [&[0], &length[..], message].concat();
    let first = http_body::Frame::data(bytes::Bytes::from(framed));
    let first = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(first)]);
    let pieces = if ends {
        first.boxed()
    } else {
        first.chain(futures_util::stream::pending()).boxed()
    };
    let request = Request::post(format!("https://localhost/roadstead.v1.Agent/{method}"))
        .version(Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(http_body_util::StreamBody::new(pieces)))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let (head, body) = response.into_parts();
    let collected = http_body_util::BodyExt::collect(body).await.unwrap();
    let trailers = collected.trailers().cloned().unwrap_or_default();
    let get = |name: &str| {
        let value = head.headers.get(name).or_else(|| trailers.get(name));
        value.map_or_else(String::new, |value| {
            value.to_str().unwrap().replace("%20", " ")
        })
    };
    (get("grpc-status"), get("grpc-message"))
}

#[tokio::test]
async fn garbage_ends_its_own_stream_with_a_reason() {
    let hub = Hub::start().await;
    let (good, _) = hub.agent("c-2").await;
    let mut good = good;
    let bystander = good.session(hello("c-2")).await.unwrap();
    let (identity, _) = hub.identity("c-1", Validity::starting(now(), DAY));
    let hello_field =
        |bytes: &[u8]| [&[0x0a, u8::try_from(bytes.len()).unwrap()][..], bytes].concat();
    let cases: [(&str, Vec<u8>, &str, &str); 8] = [
        ("Session", b"\xff\xff\xff\xff".to_vec(), "13", "decode"),
        // field 4: a beat, before any hello
        ("Session", vec![0x22, 0x00], "3", "no hello"),
        // field 99, unknown: a later agent's, still no hello
        ("Session", vec![0x9a, 0x06, 0x00], "3", "no hello"),
        // a hello with an empty cluster
        (
            "Session",
            hello_field(&[0x08, 1, 0x10, 1]),
            "7",
            "the certificate is of cluster c-1",
        ),
        // a hello whose root has three bytes
        (
            "Session",
            hello_field(b"\x08\x01\x10\x01\x2a\x03abc"),
            "3",
            "a digest has 32 bytes",
        ),
        // a want whose digest has one byte
        (
            "Fetch",
            b"\x0a\x03\x0a\x01x".to_vec(),
            "3",
            "malformed wanted digest",
        ),
        ("Answer", Vec::new(), "0", ""),
        ("NoSuchCall", Vec::new(), "12", ""),
    ];
    for (method, message, status, text) in cases {
        let got = grpc(&hub, &identity, method, &message).await;
        assert!(
            got.0 == status && got.1.contains(text),
            "{method} {message:?}: {got:?}"
        );
    }
    let big = grpc(&hub, &identity, "Session", &vec![0; (4 << 20) + 1]).await;
    assert!(big.0 == "11" || big.0 == "13", "{big:?}");
    assert!(big.1.contains("too large"), "{big:?}");
    drop(bystander);
    good.session(hello("c-2")).await.unwrap();
}

#[tokio::test]
async fn an_agent_that_says_nothing_more_is_let_go_of() {
    let limits = Limits {
        beat: Duration::from_millis(100),
        ..Limits::default()
    };
    let hub = Hub::with(limits, &["localhost"]).await;
    let (identity, _) = hub.identity("c-1", Validity::starting(now(), DAY));
    let hello = b"\x0a\x09\x08\x01\x10\x01\x22\x03c-1";
    let got = call(&hub, Some(&identity), "Session", hello, false).await;
    assert_eq!(got, ("14".into(), "agent was silent for 0.3 s".into()));
}

#[tokio::test]
async fn a_stranger_may_say_little_and_there_may_be_few() {
    let limits = Limits {
        strangers: 2,
        ..Limits::default()
    };
    let hub = Hub::with(limits, &["localhost"]).await;
    let long = vec![0; (64 << 10) + 1];
    let got = call(&hub, None, "Join", &long, true).await;
    assert!(got.1.contains("too large"), "{got:?}");
    let connected = async || AgentClient::connect(&hub.endpoint(None)).await;
    for _ in 0..500 {
        if hub.connections.count() == (0, 0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let two = [connected().await.unwrap(), connected().await.unwrap()];
    let error = connected().await.expect_err("there are two already");
    assert!(matches!(error, WireError::Lost(_)), "{}", chain(&error));
    assert!(error.is_retryable());
    // one with a certificate gets in all the same, and a stranger when another has gone
    let (mut agent, _) = hub.agent("c-1").await;
    agent.session(hello("c-1")).await.unwrap();
    drop(two);
    for _ in 0..500 {
        if connected().await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the place of one that has gone is free again");
}

#[tokio::test]
async fn a_flood_of_sessions_leaves_the_last_alone() {
    let hub = Hub::start().await;
    let (mut client, _) = hub.agent("c-1").await;
    let mut held = Vec::new();
    for _ in 0..20 {
        match client.session(hello("c-1")).await {
            Ok(session) => held.push(session),
            // while one ends and the next begins, there is no room for a third
            Err(error) => assert!(
                chain(&error).contains("too many sessions"),
                "{}",
                chain(&error)
            ),
        }
    }
    assert!(held.len() > 1, "{}", held.len());
    let last = held.pop().unwrap();
    for mut earlier in held {
        let ended = async { while let Ok(Some(_)) = earlier.inbound.next().await {} };
        tokio::time::timeout(Duration::from_secs(5), ended)
            .await
            .expect("only the last goes on");
    }
    drop(last);
    for _ in 0..500 {
        if client.session(hello("c-1")).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the place of a session that ended is free again");
}

#[tokio::test]
async fn an_idle_agent_costs_less_than_a_megabyte_a_day() {
    let limits = Limits {
        beat: Duration::from_millis(50),
        ..Limits::default()
    };
    let hub = Hub::with(limits, &["localhost"]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let middle = listener.local_addr().unwrap();
    let (bytes, to) = (Arc::new(AtomicUsize::new(0)), hub.address);
    let count = bytes.clone();
    tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = TcpStream::connect(to).await.unwrap();
        let (mut up, mut down) = ([0; 4096], [0; 4096]);
        loop {
            tokio::select! {
                read = near.read(&mut up) => {
                    let read = read.unwrap();
                    count.fetch_add(read, Ordering::Relaxed);
                    far.write_all(&up[..read]).await.unwrap();
                }
                read = far.read(&mut down) => {
                    let read = read.unwrap();
                    count.fetch_add(read, Ordering::Relaxed);
                    near.write_all(&down[..read]).await.unwrap();
                }
            }
        }
    });
    let (identity, _) = hub.identity("c-1", Validity::starting(now(), DAY));
    let url = format!("https://localhost:{}", middle.port());
    let endpoint = Endpoint::new(&url, HubTrust::Ca(hub.ca_pem()), Some(identity));
    let mut client = AgentClient::connect(&endpoint).await.unwrap();
    let _session = client.session(hello("c-1")).await.unwrap();
    common::wait_for(&hub.gateway.beats, |beats| *beats >= 5).await;
    let (from, beats) = (bytes.load(Ordering::Relaxed), *hub.gateway.beats.borrow());
    let now = common::wait_for(&hub.gateway.beats, |now| *now >= beats + 20).await;
    let each = (bytes.load(Ordering::Relaxed) - from) / (now - beats);
    // a packet and its acknowledgement cost 104 bytes of TCP and IP; each minute a beat, and at most a ping each way
    let day = 1440 * (each + 104 + 2 * (39 + 104));
    assert!(day < 1_000_000, "{each} bytes a beat, {day} a day");
}

#[tokio::test]
async fn what_is_no_tls_or_no_http_is_dropped_and_the_rest_goes_on() {
    let limits = Limits {
        handshake_timeout: Duration::from_millis(300),
        handshakes: 2,
        ..Limits::default()
    };
    let hub = Hub::with(limits, &["localhost"]).await;
    let mut plain = TcpStream::connect(hub.address).await.unwrap();
    plain
        .write_all(b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(
        !answer.starts_with(b"HTTP"),
        "nothing is served in the clear"
    );
    // more silent connections than handshakes are allowed at a time: they are let go of, and others get their turn
    let silent: Vec<TcpStream> = {
        let mut all = Vec::new();
        for _ in 0..6 {
            all.push(TcpStream::connect(hub.address).await.unwrap());
        }
        all
    };
    let mut garbage = raw_tls(&hub, None, b"h2").await;
    garbage.write_all(&[0; 4096]).await.unwrap();
    let _ = garbage.read_to_end(&mut answer).await;
    let (mut client, _) = hub.agent("c-1").await;
    client.session(hello("c-1")).await.unwrap();
    drop(silent);
}

/// Waits until a connection is closed from the other side; returns what came on it.
async fn closed(mut tls: tokio_rustls::client::TlsStream<TcpStream>) -> String {
    let mut text = Vec::new();
    let read = tls.read_to_end(&mut text);
    // whether it is closed in good order or cut does not matter
    let _ = tokio::time::timeout(Duration::from_secs(10), read)
        .await
        .expect("the connection stays open");
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn a_connection_on_which_nothing_comes_is_closed() {
    let limits = Limits {
        handshake_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let hub = Hub::with(limits, &["localhost"]).await;
    // nothing at all; half of a preface; a preface and nothing behind it
    for (alpn, said) in [
        (&b"h2"[..], &b""[..]),
        (b"http/1.1", b""),
        (b"", b""),
        (b"", b"PRI * HTTP/2.0\r\n"),
        (b"h2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        (b"http/1.1", b"GET /api HTTP/1.1\r\nHost: loc"),
    ] {
        let mut tls = raw_tls(&hub, None, alpn).await;
        tls.write_all(said).await.unwrap();
        tls.flush().await.unwrap();
        closed(tls).await;
    }
    // a head that comes byte by byte
    let mut tls = raw_tls(&hub, None, b"http/1.1").await;
    let drip = async {
        for byte in b"GET /api HTTP/1.1\r\nHost: localhost\r\nX-Long: "
            .iter()
            .cycle()
        {
            if tls.write_all(&[*byte]).await.is_err() || tls.flush().await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), drip)
        .await
        .expect("it is read for ever");
}

#[tokio::test]
async fn bodies_that_are_large_slow_or_broken_end_their_own_request() {
    let hub = Hub::start().await;
    let ask = async |head: &str, body: &[u8], ends: bool| {
        let mut tls = raw_tls(&hub, None, b"http/1.1").await;
        let head = format!(
            "POST /body HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{head}\r\n\r\n"
        );
        tls.write_all(head.as_bytes()).await.unwrap();
        tls.write_all(body).await.unwrap();
        tls.flush().await.unwrap();
        if ends {
            tls.shutdown().await.unwrap();
        }
        closed(tls).await
    };
    for (head, body, ends, expected) in [
        ("Content-Length: 5", &b"12345"[..], false, "5 bytes"),
        (
            "Content-Length: 1001",
            &[b'x'; 1001],
            false,
            "more than 1000 bytes",
        ),
        (
            "Content-Length: 99999999",
            b"1",
            false,
            "more than 1000 bytes",
        ),
        (
            "Transfer-Encoding: chunked",
            b"7d0\r\n",
            false,
            "did not come within",
        ),
        ("Content-Length: 50", b"1", false, "did not come within"),
        // a side that is closed after half a body; whether the answer still goes through is the other side's loss
        ("Content-Length: 50", b"1", true, ""),
        ("Content-Length: 5", b"12345", true, ""),
    ] {
        let answer = ask(head, body, ends).await;
        assert!(answer.contains(expected), "{head}: {answer}");
    }
}

#[tokio::test]
async fn a_reader_that_never_reads_is_let_go_of() {
    let limits = Limits {
        stalled_timeout: Duration::from_millis(400),
        ..Limits::default()
    };
    let hub = Hub::with(limits, &["localhost"]).await;
    let mut silent = Vec::new();
    for alpn in [&b"http/1.1"[..], b"http/1.1", b"http/1.1"] {
        let mut tls = raw_tls(&hub, None, alpn).await;
        tls.write_all(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .unwrap();
        tls.flush().await.unwrap();
        silent.push(tls);
    }
    let until = async |wanted: usize| {
        let there = async {
            while hub.endless.load(Ordering::SeqCst) != wanted {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), there)
            .await
            .expect("the bodies stay")
    };
    until(3).await;
    // one that reads slowly, but reads, stays
    let mut reader = raw_tls(&hub, None, b"http/1.1").await;
    reader
        .write_all(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut buffer = vec![0; 1 << 20];
    let end = tokio::time::Instant::now() + Duration::from_secs(3);
    while tokio::time::Instant::now() < end {
        assert!(reader.read(&mut buffer).await.unwrap() > 0);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    until(1).await;
    assert!(reader.read(&mut buffer).await.unwrap() > 0);
}

#[tokio::test]
async fn too_many_contents_at_once_are_refused() {
    let hub = Hub::start().await;
    let (mut client, _) = hub.agent("c-1").await;
    let want = Want::whole(base_json::Digest::of(b"x"));
    let error = client.fetch(&vec![want; 4097]).await.unwrap_err();
    assert!(chain(&error).contains("4097 contents"), "{}", chain(&error));
}

#[tokio::test]
async fn one_port_serves_people_too_over_both_versions_of_http() {
    let hub = Hub::start().await;
    let groups = [
        "system:masters".to_owned(),
        "ops".to_owned(),
        "dev".to_owned(),
    ];
    let made = hub
        .gateway
        .ca
        .user("jo", &groups, Validity::starting(now(), DAY))
        .unwrap();
    let jo = ClientIdentity {
        certificate_pem: made.certificate.certificate_pem,
        key_pem: made.key_pem,
    };
    let (agent, _) = hub.identity("c-1", Validity::starting(now(), DAY));
    let (gone, _) = hub.identity("c-1", common::ended(DAY));
    for (who, expected) in [
        (None, "/api HTTP/1.1 anonymous"),
        (Some(&jo), "/api HTTP/1.1 user jo of system:masters+ops+dev"),
        (Some(&agent), "/api HTTP/1.1 agent c-1"),
        (Some(&gone), "it may only be renewed"),
    ] {
        let mut tls = raw_tls(&hub, who, b"http/1.1").await;
        tls.write_all(b"GET /api HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut text = String::new();
        tls.read_to_string(&mut text).await.unwrap();
        assert!(text.contains(expected), "{text}");
    }
    let tls = raw_tls(&hub, Some(&jo), b"h2").await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = Request::get("https://localhost/apis")
        .body(Body::empty())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let body = http_body_util::BodyExt::collect(response.into_body())
        .await
        .unwrap();
    assert_eq!(
        body.to_bytes(),
        "/apis HTTP/2.0 user jo of system:masters+ops+dev"
    );
}

/// A proxy that understands CONNECT; it answers with this status, and joins the two sides if it is 200.
async fn connect_proxy(
    status: &'static str,
    to: Option<std::net::SocketAddr>,
) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let used = Arc::new(AtomicUsize::new(0));
    let count = used.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let count = count.clone();
            tokio::spawn(async move {
                let mut reader = BufReader::new(&mut stream);
                let (mut head, mut line) = (Vec::new(), String::new());
                while reader.read_line(&mut line).await.unwrap() > 2 {
                    head.push(std::mem::take(&mut line));
                }
                let target = head[0].split(' ').nth(1).unwrap().to_owned();
                let let_in = head
                    .iter()
                    .any(|line| line.trim() == "Proxy-Authorization: Basic am86cHc=");
                let status = if let_in { "200 OK" } else { status };
                let answer = format!("HTTP/1.1 {status}\r\nX-Proxy: test\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
                if status.starts_with("200") {
                    count.fetch_add(1, Ordering::Relaxed);
                    let mut far = match to {
                        Some(to) => TcpStream::connect(to).await.unwrap(),
                        None => TcpStream::connect(target).await.unwrap(),
                    };
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut far).await;
                }
            });
        }
    });
    (address.to_string(), used)
}

fn through(endpoint: Endpoint, proxy: &str, no_proxy: &str) -> Endpoint {
    Endpoint {
        proxy: ProxySettings {
            https_proxy: Some(proxy.to_owned()),
            no_proxy: no_proxy.to_owned(),
        },
        ..endpoint
    }
}

#[tokio::test]
async fn an_agent_goes_out_through_a_proxy() {
    let hub = Hub::start().await;
    let (identity, _) = hub.identity("c-1", Validity::starting(now(), DAY));
    let direct = hub.endpoint(Some(identity));
    let (open, used) = connect_proxy("200 Connection established", None).await;
    let mut client = AgentClient::connect(&through(direct.clone(), &format!("http://{open}"), ""))
        .await
        .unwrap();
    client.session(hello("c-1")).await.unwrap();
    assert_eq!(used.load(Ordering::Relaxed), 1);
    AgentClient::connect(&through(direct.clone(), &open, "localhost"))
        .await
        .unwrap();
    assert_eq!(used.load(Ordering::Relaxed), 1, "NO_PROXY holds");

    let (guarded, used) = connect_proxy("407 Proxy Authentication Required", None).await;
    let error = AgentClient::connect(&through(direct.clone(), &guarded, ""))
        .await
        .unwrap_err();
    assert!(
        chain(&error).contains("put user:password@"),
        "{}",
        chain(&error)
    );
    AgentClient::connect(&through(
        direct.clone(),
        &format!("http://jo:pw@{guarded}"),
        "",
    ))
    .await
    .unwrap();
    assert_eq!(used.load(Ordering::Relaxed), 1);
    let (closed, _) = connect_proxy("403 Forbidden by policy", None).await;
    let error = AgentClient::connect(&through(direct, &closed, ""))
        .await
        .unwrap_err();
    assert!(
        chain(&error).contains("403 Forbidden by policy"),
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn a_proxy_that_opens_tls_is_called_by_its_name() {
    let hub = Hub::start().await;
    // it presents a certificate for the right name, by a CA that companies put on their machines
    let years = Validity::starting(now(), DAY * 365);
    let company = Ca::generate("Example Corp TLS Inspection", years).unwrap();
    let forged = company.server(&["localhost".to_owned()], years).unwrap();
    let trust = roadstead_wire::ClientTrust {
        ca_pems: vec![company.certificate_pem()],
        offline_grace: DAY,
        is_revoked: Arc::new(|_| false),
    };
    let chain_pem = forged.certificate.certificate_pem.clone() + &company.certificate_pem();
    let _ = roadstead_wire::ServerTls::new(&chain_pem, &forged.key_pem, trust).unwrap();
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
        .collect::<Result<_, _>>()
        .unwrap();
    let key = PrivateKeyDer::from_pem_slice(forged.key_pem.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let inside = listener.local_addr().unwrap();
    let heard = Arc::new(AtomicUsize::new(0));
    let count = heard.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut opened) = acceptor.accept(stream).await {
                let mut buffer = [0; 1024];
                let read = opened.read(&mut buffer).await.unwrap_or(0);
                count.fetch_add(read, Ordering::Relaxed);
            }
        }
    });
    let (proxy, _) = connect_proxy("200 OK", Some(inside)).await;
    let joined = hub.endpoint(None);
    let joining = Endpoint::new(&hub.url(), HubTrust::Pin(hub.gateway.ca.hash()), None);
    for endpoint in [joined.clone(), joining] {
        let error = AgentClient::connect(&through(endpoint, &proxy, ""))
            .await
            .unwrap_err();
        let WireError::Intercepted { issuer, .. } = &error else {
            panic!("{}", chain(&error));
        };
        assert_eq!(issuer, "CN=Example Corp TLS Inspection");
        assert!(
            chain(&error).contains("a proxy on the way opens TLS"),
            "{error}"
        );
    }
    assert_eq!(heard.load(Ordering::Relaxed), 0, "nothing was said to it");

    // whoever names its CA wants it so: what is said now goes through what opens it
    let trusting = Endpoint {
        extra_ca_pems: vec![company.certificate_pem()],
        ..joined
    };
    let error = AgentClient::connect(&through(trusting, &proxy, ""))
        .await
        .err();
    assert!(
        !matches!(error, Some(WireError::Intercepted { .. })),
        "{error:?}"
    );
    for _ in 0..100 {
        if heard.load(Ordering::Relaxed) > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it was not spoken to: {error:?}");
}
