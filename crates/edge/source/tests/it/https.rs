//! Smart HTTP through the real `git http-backend`, behind TLS with an authority of our own.

use std::io::{BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use git_host::{Request, Response};
use roadstead_source::{Auth, GitRequest, Reference};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::support::{World, changed, poll, refused, unchanged};

/// A Git host. Below `/open/` anybody may read; below `/closed/` only "ada" with "secret", or a token "t0ken".
struct Host {
    port: u16,
    ca: Vec<u8>,
    posts: Arc<AtomicUsize>,
    gets: Arc<AtomicUsize>,
}

impl Host {
    fn start(root: PathBuf, tls: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (config, ca) = certificates();
        let host = Self {
            port,
            ca,
            posts: Arc::default(),
            gets: Arc::default(),
        };
        let (posts, gets) = (host.posts.clone(), host.gets.clone());
        git_host::each(listener, move |stream| {
            if tls {
                let connection = rustls::ServerConnection::new(config.clone()).unwrap();
                let stream = rustls::StreamOwned::new(connection, stream);
                serve(stream, &root, &posts, &gets)
            } else {
                serve(stream, &root, &posts, &gets)
            }
        });
        host
    }

    fn request(&self, path: &str) -> GitRequest {
        GitRequest {
            ca_bundle: Some(self.ca.clone()),
            reference: Reference::Branch("main".into()),
            ..GitRequest::new(format!("https://localhost:{}{path}", self.port))
        }
    }
}

fn certificates() -> (Arc<rustls::ServerConfig>, Vec<u8>) {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::from_params(&params, &ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap();
    (Arc::new(config), ca.pem().into_bytes())
}

fn serve(
    stream: impl Read + Write,
    root: &Path,
    posts: &AtomicUsize,
    gets: &AtomicUsize,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let request = Request::read(&mut stream)?;
    let counter = if request.method == "POST" {
        posts
    } else {
        gets
    };
    counter.fetch_add(1, Ordering::Relaxed);
    let basic = |user: &str| {
        format!(
            "Basic {}",
            base64::engine::general_purpose::STANDARD.encode(user)
        )
    };
    let authorization = request.header("authorization");
    let welcome = authorization == basic("ada:secret") || authorization == basic("oauth2:t0ken");
    let (path, none) = (request.path(), Vec::new());
    let response = if path.starts_with("/moved/") {
        let to = request.target.replacen("/moved/", "/open/", 1);
        Response::new("302 Found", &[&format!("Location: {to}")], none)
    } else if path.starts_with("/broken/") {
        Response::new("503 Unavailable", &[], none)
    } else if path.starts_with("/page/") {
        Response::new("200 OK", &["Content-Type: text/html"], b"hi".to_vec())
    } else if path.starts_with("/forbidden/") {
        Response::new("403 Forbidden", &[], none)
    } else if path.starts_with("/closed/") && !welcome {
        let challenge = "WWW-Authenticate: Basic realm=\"x\"";
        Response::new("401 Unauthorized", &[challenge], none)
    } else {
        let inner = path.replacen("/open/", "/", 1).replacen("/closed/", "/", 1);
        git_host::repository(root, &inner, &request)?
    };
    response.write(stream.get_mut())
}

#[test]
fn fetches_over_https_with_each_kind_of_credentials() {
    let world = World::with(&[("a", "1")]);
    let first = world.git(&["rev-parse", "HEAD"]);
    let host = Host::start(world.root.path().to_owned(), true);
    for (path, auth) in [
        ("/open/repo", Auth::None),
        ("/moved/repo", Auth::None),
        ("/closed/repo", Auth::Token("t0ken".into())),
        (
            "/closed/repo",
            Auth::Basic {
                user: "ada".into(),
                password: "secret".into(),
            },
        ),
    ] {
        let sources = world.sources();
        let request = GitRequest {
            auth,
            ..host.request(path)
        };
        let snapshot = changed(poll(&sources, &request, None));
        assert_eq!(snapshot.commit, first);
        assert_eq!(snapshot.read_file("a").unwrap(), "1");
        let posts = host.posts.load(Ordering::Relaxed);
        assert_eq!(unchanged(poll(&sources, &request, Some(&first))), first);
        // One POST lists references; a fetch would be another.
        assert_eq!(host.posts.load(Ordering::Relaxed), posts + 1);
        drop(sources);
        drop(snapshot);
        std::fs::remove_dir_all(world.cache()).unwrap();
    }
    let in_url = GitRequest {
        ca_bundle: Some(host.ca.clone()),
        ..GitRequest::new(format!(
            "https://ada:secret@localhost:{}/closed/repo",
            host.port
        ))
    };
    assert_eq!(changed(poll(&world.sources(), &in_url, None)).commit, first);
}

#[test]
fn fetches_what_moved_over_https() {
    let world = World::with(&[("a", "1"), ("big", &"line\n".repeat(10_000))]);
    let host = Host::start(world.root.path().to_owned(), true);
    let sources = world.sources();
    let request = host.request("/open/repo");
    let mut last = changed(poll(&sources, &request, None)).commit;
    for n in 0..5 {
        let commit = world.commit("next", &[("a", &n.to_string())]);
        let snapshot = changed(poll(&sources, &request, Some(&last)));
        assert_eq!(snapshot.commit, commit);
        assert_eq!(
            snapshot.input("").unwrap().load().unwrap()["a"],
            n.to_string()
        );
        last = commit;
    }
}

#[test]
fn each_failure_says_what_it_is() {
    let world = World::with(&[("a", "1")]);
    let host = Host::start(world.root.path().to_owned(), true);
    let sources = world.sources();
    let at = format!("https://localhost:{}", host.port);
    let with = |path: &str, auth: Auth| GitRequest {
        auth,
        ..host.request(path)
    };
    let check = |request: &GitRequest, starts: &str, hint: &str| {
        let text = refused(poll(&sources, request, None));
        assert!(text.starts_with(starts), "{text}\nexpected: {starts}");
        assert!(text.contains(hint), "{text}\nexpected: {hint}");
        assert!(
            !text.contains("secret") && !text.contains("t0ken") && !text.contains("wr0ng"),
            "{text}"
        );
    };
    let unsent = "\nhint: the repository asks for credentials";
    let wrong = "\nhint: check that the credentials are right";
    check(
        &with("/closed/repo", Auth::None),
        &format!("{at}/closed/repo refused access: "),
        unsent,
    );
    check(
        &with("/closed/repo", Auth::Token("wr0ng".into())),
        &format!("{at}/closed/repo refused access: "),
        wrong,
    );
    check(
        &with(
            "/closed/repo",
            Auth::Basic {
                user: "ada".into(),
                password: "wr0ng".into(),
            },
        ),
        &format!("{at}/closed/repo refused access: "),
        wrong,
    );
    check(
        &GitRequest {
            url: format!("https://ada:wr0ng@localhost:{}/closed/repo", host.port),
            ..host.request("")
        },
        &format!(
            "https://***@localhost:{}/closed/repo refused access: ",
            host.port
        ),
        wrong,
    );
    check(
        &with("/forbidden/repo", Auth::None),
        &format!("{at}/forbidden/repo refused access: "),
        unsent,
    );
    check(
        &with("/open/nothing", Auth::None),
        &format!("no Git repository at {at}/open/nothing: "),
        "\nhint: check the path",
    );
    check(
        &with("/page/repo", Auth::None),
        &format!("no Git repository at {at}/page/repo: "),
        "\nhint: check the path",
    );
    check(
        &with("/broken/repo", Auth::None),
        &format!("failed to fetch from {at}/broken/repo: "),
        "503",
    );
    check(
        &GitRequest {
            ca_bundle: None,
            ..host.request("/open/repo")
        },
        &format!("no trusted TLS connection to {at}/open/repo: "),
        "\nhint: if the host's certificate comes from an authority of your own",
    );
    check(
        &GitRequest {
            ca_bundle: Some(certificates().1),
            ..host.request("/open/repo")
        },
        &format!("no trusted TLS connection to {at}/open/repo: "),
        "\nhint: if the host's certificate comes from an authority of your own",
    );
    check(
        &GitRequest {
            url: format!("https://127.0.0.1:{}/open/repo", host.port),
            ..host.request("")
        },
        &format!(
            "no trusted TLS connection to https://127.0.0.1:{}/open/repo: ",
            host.port
        ),
        "\nhint: ",
    );
    for pem in [
        "",
        "garbage",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        check(
            &GitRequest {
                ca_bundle: Some(pem.into()),
                ..host.request("/open/repo")
            },
            &format!("invalid CA bundle for {at}/open/repo: "),
            "\nhint: give one or more PEM blocks",
        );
    }
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    check(
        &GitRequest {
            url: format!("https://localhost:{port}/x"),
            ..host.request("")
        },
        &format!("cannot reach https://localhost:{port}/x: "),
        "\nhint: check the host name",
    );
}

#[test]
fn credentials_do_not_travel_in_the_clear() {
    let world = World::with(&[("a", "1")]);
    let host = Host::start(world.root.path().to_owned(), false);
    let sources = world.sources();
    let request = GitRequest {
        auth: Auth::Token("t0ken".into()),
        ..GitRequest::new(format!("http://localhost:{}/closed/repo", host.port))
    };
    let text = refused(poll(&sources, &request, None));
    assert!(
        text.contains("refused access") && !text.contains("t0ken"),
        "{text}"
    );
    // Without credentials, plain HTTP is as good as any.
    let request = GitRequest::new(format!("http://localhost:{}/open/repo", host.port));
    changed(poll(&sources, &request, None));
}

#[test]
fn a_commit_that_lies_here_is_handed_out_only_to_who_may_fetch_it() {
    let world = World::with(&[("a", "1")]);
    let commit = world.git(&["rev-parse", "HEAD"]);
    let host = Host::start(world.root.path().to_owned(), true);
    let sources = world.sources();
    let ask = |auth: Auth| {
        let request = GitRequest {
            auth,
            reference: Reference::Commit(commit.clone()),
            ..host.request("/closed/repo")
        };
        poll(&sources, &request, None)
    };
    changed(ask(Auth::Token("t0ken".into())));
    let gets = host.gets.load(Ordering::Relaxed);
    changed(ask(Auth::Token("t0ken".into())));
    assert_eq!(
        host.gets.load(Ordering::Relaxed),
        gets,
        "known to be allowed: nothing is asked"
    );
    assert!(refused(ask(Auth::None)).contains("refused access"));
    assert!(refused(ask(Auth::Token("guess".into()))).contains("refused access"));
}
