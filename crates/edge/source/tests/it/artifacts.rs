//! Chart repositories over HTTP, and artifacts of a real registry that the real helm pushes to.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base_json::Digest;
use base64::Engine as _;
use roadstead_source::{
    Artifact, ArtifactPoll, ArtifactRequest, Artifacts, Auth, Followed, Limits, OciReference,
};

type Pages = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A chart repository. Below `/closed/` only "ada" with "secret" may read.
struct Repository {
    url: String,
    pages: Pages,
    /// What was asked, with the status of the answer.
    log: Arc<Mutex<Vec<String>>>,
}

impl Repository {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (pages, log) = (Pages::default(), Arc::<Mutex<Vec<String>>>::default());
        let (held, told) = (Arc::clone(&pages), Arc::clone(&log));
        // it ends with the test's process
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer(stream, &held, &told);
            }
        });
        Self { url, pages, log }
    }

    fn put(&self, path: &str, content: impl Into<Vec<u8>>) {
        self.pages
            .lock()
            .unwrap()
            .insert(path.to_owned(), content.into());
    }

    /// Publishes versions of a chart below a folder, as `helm repo index` would.
    fn publish(&self, folder: &str, name: &str, versions: &[&str]) {
        let mut index = String::from("apiVersion: v1\nentries:\n  other: []\n");
        index.push_str(&format!("  {name}:\n"));
        for version in versions {
            let archive = packed(&[
                (
                    &format!("{name}/Chart.yaml"),
                    &format!("apiVersion: v2\nname: {name}\nversion: {version}\n"),
                ),
                (&format!("{name}/templates/a.yaml"), "kind: ConfigMap\n"),
            ]);
            let digest = Digest::of(&archive);
            index.push_str(&format!(
                "  - version: {version}\n    appVersion: \"9\"\n    created: \"2026-01-02T03:04:05Z\"\n    digest: {}\n    urls:\n    - {name}-{version}.tgz\n",
                digest.hex(),
            ));
            self.put(&format!("/{folder}/{name}-{version}.tgz"), archive);
        }
        self.put(&format!("/{folder}/index.yaml"), index);
    }

    fn request(&self, folder: &str, chart: &str, version: &str) -> ArtifactRequest {
        ArtifactRequest {
            what: Followed::Chart {
                repository: format!("{}/{folder}", self.url),
                chart: chart.to_owned(),
                version: version.to_owned(),
            },
            auth: Auth::None,
            ca_bundle: None,
            insecure: false,
            timeout: Duration::from_secs(20),
        }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }
}

fn answer(stream: TcpStream, pages: &Pages, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line
            .split_whitespace()
            .nth(1)
            .unwrap_or_default()
            .to_owned();
        let (mut tag, mut user) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim().split_once(": ") else {
                break;
            };
            match name.to_lowercase().as_str() {
                "if-none-match" => tag = value.to_owned(),
                "authorization" => user = value.to_owned(),
                _ => {}
            }
        }
        let ada = base64::engine::general_purpose::STANDARD.encode("ada:secret");
        let closed = path.starts_with("/closed/") && user != format!("Basic {ada}");
        let page = pages.lock().unwrap().get(&path).cloned();
        let etag = page.as_ref().map(|page| Digest::of(page).hex().to_owned());
        let (status, body) = match page {
            _ if closed => ("401 Unauthorized", Vec::new()),
            Some(_) if etag.as_deref() == Some(tag.as_str()) => ("304 Not Modified", Vec::new()),
            Some(page) => ("200 OK", page),
            None => ("404 Not Found", b"no".to_vec()),
        };
        log.lock().unwrap().push(format!("{path} {}", &status[..3]));
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\netag: {}\r\n\r\n",
            body.len(),
            etag.unwrap_or_default(),
        );
        stream.get_mut().write_all(head.as_bytes())?;
        stream.get_mut().write_all(&body)?;
    }
}

fn packed(files: &[(&str, &str)]) -> Vec<u8> {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut builder = tar::Builder::new(gzip);
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, name, content.as_bytes())
            .unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

fn open(folder: &Path) -> Artifacts {
    Artifacts::open(folder, Limits::default()).unwrap()
}

fn got(found: ArtifactPoll) -> Artifact {
    match found {
        ArtifactPoll::Changed(artifact) => artifact,
        ArtifactPoll::Unchanged => panic!("nothing changed"),
    }
}

#[test]
fn follows_a_chart() {
    let host = Repository::start();
    host.publish(
        "charts",
        "podinfo",
        &["6.7.0", "6.7.1", "7.0.0-rc.1", "5.9.9"],
    );
    let folder = tempfile::tempdir().unwrap();
    let artifacts = open(folder.path());
    let request = host.request("charts", "podinfo", "");
    let artifact = got(artifacts.poll(&request, None).unwrap());
    assert!(
        artifact.revision.starts_with("6.7.1@sha256:"),
        "{artifact:?}"
    );
    assert_eq!(artifact.title, "podinfo 6.7.1 (app 9)");
    assert_eq!(artifact.created_at, 1_767_323_045);
    let tree = artifact.tree("").unwrap();
    let names: Vec<&str> = tree.files.keys().map(String::as_str).collect();
    assert_eq!(names, ["Chart.yaml", "templates/a.yaml"]);
    assert_eq!(
        host.asked(),
        ["/charts/index.yaml 200", "/charts/podinfo-6.7.1.tgz 200"]
    );

    // nothing new: one conditional question, and no archive
    let again = artifacts.poll(&request, Some(&artifact.revision)).unwrap();
    assert!(matches!(again, ArtifactPoll::Unchanged));
    assert_eq!(host.asked(), ["/charts/index.yaml 304"]);

    // a new version
    host.publish("charts", "podinfo", &["6.7.1", "6.8.0"]);
    let newer = got(artifacts.poll(&request, Some(&artifact.revision)).unwrap());
    assert!(newer.revision.starts_with("6.8.0@sha256:"), "{newer:?}");
    assert_eq!(
        host.asked(),
        ["/charts/index.yaml 200", "/charts/podinfo-6.8.0.tgz 200"]
    );

    // what was read once is had again without a question, also by the next process
    let kept = open(folder.path())
        .revision(&request, &artifact.revision)
        .unwrap();
    assert_eq!(kept.tree("").unwrap().digest, tree.digest);
    assert_eq!(host.asked(), Vec::<String>::new());
    // and where the cache is lost, from the repository
    let empty = tempfile::tempdir().unwrap();
    let anew = open(empty.path())
        .revision(&request, &artifact.revision)
        .unwrap();
    assert_eq!(anew.tree("").unwrap().digest, tree.digest);
}

#[test]
fn chooses_by_range() {
    let host = Repository::start();
    host.publish(
        "charts",
        "x",
        &["1.0.0", "1.2.0", "1.10.0", "2.0.0-beta.1", "v3.0.0"],
    );
    let folder = tempfile::tempdir().unwrap();
    let artifacts = open(folder.path());
    let check = |range: &str, expected: &str| {
        let found = artifacts.poll(&host.request("charts", "x", range), None);
        let got = match found {
            Ok(found) => got(found).revision.split('@').next().unwrap().to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expected, "{range}");
    };
    check("", "v3.0.0");
    check("1.x", "1.10.0");
    check("~1.2", "1.2.0");
    check(">=1.0 <1.10", "1.2.0");
    check("1.0.0", "1.0.0");
    check("3.0.0", "v3.0.0");
    check("2.0.0-beta.1", "2.0.0-beta.1");
    check(">=2.0.0-0 <3", "2.0.0-beta.1");
    check(
        "9.x",
        &format!(
            "no version of chart \"x\" of {}/charts fits \"9.x\": there are v3.0.0, 2.0.0-beta.1, 1.10.0, 1.2.0, 1.0.0",
            host.url
        ),
    );
    check(
        "a.b.c",
        &format!(
            "no version of chart \"x\" of {}/charts fits \"a.b.c\": it is no version and no range (improper constraint: \"a.b.c\")",
            host.url
        ),
    );
}

#[test]
fn says_what_is_wrong() {
    let host = Repository::start();
    host.publish("charts", "podinfo", &["1.0.0"]);
    host.publish("closed", "podinfo", &["1.0.0"]);
    let folder = tempfile::tempdir().unwrap();
    let artifacts = open(folder.path());
    let check = |request: &ArtifactRequest, expected: &str| {
        let error = artifacts.poll(request, None).unwrap_err();
        let hint = error.hint().unwrap_or_default();
        let told = format!("{error} ({hint})").replace(&host.url, "URL");
        assert_eq!(told, expected);
    };
    let request = |folder: &str, chart: &str| host.request(folder, chart, "");
    check(
        &request("charts", "pod"),
        "chart repository URL/charts has no chart \"pod\" (did you mean podinfo?)",
    );
    check(
        &request("nowhere", "podinfo"),
        "failed to fetch from URL/nowhere/index.yaml: HTTP 404 Not Found: there is nothing at this address ()",
    );
    check(
        &request("closed", "podinfo"),
        "URL/closed/index.yaml refused access: HTTP 401 Unauthorized (the repository asks for credentials: give a token, a user and password, or an SSH key)",
    );
    let ada = ArtifactRequest {
        auth: Auth::Basic {
            user: "ada".to_owned(),
            password: "secret".to_owned(),
        },
        ..request("closed", "podinfo")
    };
    got(artifacts.poll(&ada, None).unwrap());
    host.put("/page/index.yaml", "<html>hello</html>");
    let error = artifacts
        .poll(&request("page", "podinfo"), None)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("it has no entries: is this a chart repository?"),
        "{error}"
    );

    // somebody replaced the archive, or a proxy says what it likes
    host.put(
        "/charts/podinfo-1.0.0.tgz",
        packed(&[("podinfo/Chart.yaml", "evil")]),
    );
    let other = tempfile::tempdir().unwrap();
    let error = open(other.path())
        .poll(&request("charts", "podinfo"), None)
        .unwrap_err();
    assert!(
        error.to_string().contains("but the index says sha256:"),
        "{error}"
    );
    assert_eq!(std::fs::read_dir(other.path()).unwrap().count(), 0);

    let nobody = ArtifactRequest {
        what: Followed::Chart {
            repository: "http://127.0.0.1:1".to_owned(),
            chart: "x".to_owned(),
            version: String::new(),
        },
        ..request("charts", "podinfo")
    };
    let error = artifacts.poll(&nobody, None).unwrap_err().to_string();
    assert!(
        error.starts_with("cannot reach http://127.0.0.1:1/index.yaml: "),
        "{error}"
    );
}

/// A program of the oracle, where it was built.
fn tool(name: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let own = cache.or(home)?.join("roadstead/oracle/bin").join(name);
    own.exists().then_some(own)
}

struct Registry {
    child: Child,
    host: String,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    fn start(program: &Path, folder: &Path) -> Self {
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let config = folder.join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\nhttp: {{addr: \"{free}\"}}\n",
            folder.join("data").display(),
        );
        std::fs::write(&config, text).unwrap();
        let child = Command::new(program)
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = Self {
            child,
            host: free.to_string(),
        };
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(free).is_err() {
            assert!(Instant::now() < until, "the registry does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        registry
    }
}

#[test]
fn reads_what_helm_pushed() {
    let (Some(program), Some(helm)) = (tool("registry"), tool("helm")) else {
        eprintln!("skipped: no registry and no helm here (cargo xtask oracle build)");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(&program, folder.path());
    for version in ["1.0.0", "1.1.0+build.5"] {
        let chart = folder.path().join("web");
        std::fs::create_dir_all(chart.join("templates")).unwrap();
        let head = format!("apiVersion: v2\nname: web\nversion: {version}\n");
        std::fs::write(chart.join("Chart.yaml"), head).unwrap();
        std::fs::write(chart.join("templates/a.yaml"), "kind: ConfigMap\n").unwrap();
        let run = |args: &[&str]| {
            let out = Command::new(&helm)
                .args(args)
                .current_dir(folder.path())
                .env("HELM_CONFIG_HOME", folder.path().join("helm"))
                .env("HELM_CACHE_HOME", folder.path().join("helm"))
                .output()
                .unwrap();
            assert!(
                out.status.success(),
                "{args:?}: {}",
                String::from_utf8_lossy(&out.stderr)
            );
        };
        run(&["package", "web"]);
        let to = format!("oci://{}/charts", registry.host);
        run(&["push", &format!("web-{version}.tgz"), &to, "--plain-http"]);
    }
    let cache = tempfile::tempdir().unwrap();
    let artifacts = open(cache.path());
    let request = |what: Followed| ArtifactRequest {
        what,
        auth: Auth::None,
        ca_bundle: None,
        insecure: true,
        timeout: Duration::from_secs(20),
    };
    let chart = |version: &str| {
        request(Followed::Chart {
            repository: format!("oci://{}/charts", registry.host),
            chart: "web".to_owned(),
            version: version.to_owned(),
        })
    };
    let newest = got(artifacts.poll(&chart(""), None).unwrap());
    assert!(
        newest.revision.starts_with("1.1.0+build.5@sha256:"),
        "{newest:?}"
    );
    let tree = newest.tree("").unwrap();
    assert!(tree.files.contains_key("templates/a.yaml"), "{tree:?}");
    let again = artifacts.poll(&chart(""), Some(&newest.revision)).unwrap();
    assert!(matches!(again, ArtifactPoll::Unchanged));
    let old = got(artifacts.poll(&chart("~1.0"), None).unwrap());
    assert!(old.revision.starts_with("1.0.0@sha256:"), "{old:?}");
    let kept = artifacts.revision(&chart(""), &old.revision).unwrap();
    assert_eq!(kept.tree("").unwrap().digest, old.tree("").unwrap().digest);

    let oci = |reference: OciReference| {
        request(Followed::Oci {
            url: format!("oci://{}/charts/web", registry.host),
            reference,
        })
    };
    let tagged = got(artifacts
        .poll(&oci(OciReference::Tag("1.0.0".to_owned())), None)
        .unwrap());
    assert_eq!(
        tagged.tree("").unwrap().digest,
        old.tree("").unwrap().digest
    );
    let error = artifacts
        .poll(&oci(OciReference::Tag("9".to_owned())), None)
        .unwrap_err()
        .to_string();
    assert!(error.contains("/charts/web: "), "{error}");
    let ranged = got(artifacts
        .poll(&oci(OciReference::Range("1.x".to_owned())), None)
        .unwrap());
    assert!(ranged.revision.starts_with("1.1.0+build.5@"), "{ranged:?}");
}
