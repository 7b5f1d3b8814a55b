//! The servers that are compared: a simulated cluster of ours, and etcd with kube-apiserver.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use roadstead_wire::pki::{Ca, Validity};
use rustls::{CipherSuite, ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::connection::{Connection, Place};
use crate::client::Access;
use crate::serve::hub::write_private;

const PATIENCE: Duration = Duration::from_secs(120);

/// A server that runs.
pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) place: Place,
    processes: Processes,
    _folder: tempfile::TempDir,
}

/// What the processes of a server hold of memory, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Memory {
    pub(super) resident: f64,
    /// Without the files that are mapped.
    pub(super) own: f64,
    pub(super) peak: f64,
}

/// Processes that end with what stands for them.
struct Processes(Vec<Child>);

impl Drop for Processes {
    fn drop(&mut self) {
        for process in &mut self.0 {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn folder() -> anyhow::Result<tempfile::TempDir> {
    Ok(tempfile::Builder::new()
        .prefix("roadstead-bench-")
        .tempdir()?)
}

fn start(program: &Path, name: &str, folder: &Path, arguments: &[String]) -> anyhow::Result<Child> {
    let log = std::fs::File::create(folder.join(format!("{name}.log")))?;
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("failed to start {}", program.display()))
}

/// Makes what a client trusts and shows of PEM.
fn tls(ca: &[u8], certificate: &[u8], key: &[u8]) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for one in CertificateDer::pem_slice_iter(ca) {
        roots.add(one.context("the CA cannot be read")?)?;
    }
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate).collect::<Result<_, _>>()?;
    // the cipher that Go's clients prefer, which are most of those that watch
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider
        .cipher_suites
        .sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key)?)?;
    Ok(Arc::new(config))
}

impl Server {
    /// Starts a playground with one cluster.
    pub(super) async fn ours() -> anyhow::Result<Self> {
        let folder = folder()?;
        let configs = folder.path().join("kubeconfigs");
        let program = std::env::current_exe().context("failed to find this program")?;
        let arguments = [
            "playground",
            "clusters",
            "--clusters",
            "1",
            "--kubeconfigs",
            &configs.display().to_string(),
        ]
        .map(str::to_owned);
        let child = start(&program, "roadstead", folder.path(), &arguments)?;
        let processes = Processes(vec![child]);
        let last = configs.join("playground.yaml");
        let until = Instant::now() + PATIENCE;
        while !last.exists() {
            if Instant::now() > until {
                bail!("the playground does not come up");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let access = Access::read(&configs.join("cluster-01.yaml"), None)?;
        let url: http::Uri = access.server.parse()?;
        let (certificate, key) = access.identity.context("a kubeconfig without a user")?;
        let address = url.authority().context("a kubeconfig without a server")?;
        let place = Place {
            address: address.as_str().parse()?,
            prefix: url.path().trim_end_matches('/').to_owned(),
            tls: tls(&access.ca_pem, &certificate, &key)?,
        };
        let server = Self {
            name: "roadstead",
            place,
            processes,
            _folder: folder,
        };
        server.ready().await?;
        Ok(server)
    }

    /// Starts etcd and kube-apiserver; `None` where they are not.
    pub(super) async fn real(bin: &Path, flow_control: bool) -> anyhow::Result<Option<Self>> {
        let (etcd, api) = (bin.join("etcd"), bin.join("kube-apiserver"));
        if !etcd.exists() || !api.exists() {
            return Ok(None);
        }
        let folder = folder()?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        let [etcd_port, peer_port, port] = free_ports()?;
        let now = roadstead_model::Time(jiff::Timestamp::now().as_millisecond());
        let validity = || Validity::starting(now, Duration::from_secs(86_400));
        let ca = Ca::generate("kubernetes", validity())?;
        let accounts = Ca::generate("service-accounts", validity())?;
        let server = ca.server(&["127.0.0.1".to_owned()], validity())?;
        let admin = ca.user("admin", &["system:masters".to_owned()], validity())?;
        for (name, text) in [
            ("ca.crt", ca.certificate_pem()),
            ("server.crt", server.certificate.certificate_pem.clone()),
            ("server.key", server.key_pem.clone()),
            ("accounts.crt", accounts.certificate_pem()),
            ("accounts.key", accounts.key_pem()),
        ] {
            write_private(&folder.path().join(name), text.as_bytes())?;
        }
        let client = format!("http://127.0.0.1:{etcd_port}");
        let peer = format!("http://127.0.0.1:{peer_port}");
        let mut processes = Processes(vec![start(
            &etcd,
            "etcd",
            folder.path(),
            &[
                format!("--data-dir={}", path("etcd")),
                format!("--listen-client-urls={client}"),
                format!("--advertise-client-urls={client}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster=default={peer}"),
                // a playground keeps nothing on a disk either
                "--unsafe-no-fsync".to_owned(),
                "--log-level=warn".to_owned(),
            ],
        )?]);
        let mut flags = vec![
            format!("--etcd-servers={client}"),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={port}"),
            format!("--tls-cert-file={}", path("server.crt")),
            format!("--tls-private-key-file={}", path("server.key")),
            format!("--client-ca-file={}", path("ca.crt")),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", path("accounts.crt")),
            format!(
                "--service-account-signing-key-file={}",
                path("accounts.key")
            ),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            "--disable-admission-plugins=ServiceAccount".to_owned(),
        ];
        if !flow_control {
            flags.extend(
                [
                    "--enable-priority-and-fairness=false",
                    "--max-requests-inflight=0",
                    "--max-mutating-requests-inflight=0",
                ]
                .map(str::to_owned),
            );
        }
        processes
            .0
            .push(start(&api, "kube-apiserver", folder.path(), &flags)?);
        let place = Place {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            prefix: String::new(),
            tls: tls(
                ca.certificate_pem().as_bytes(),
                admin.certificate.certificate_pem.as_bytes(),
                admin.key_pem.as_bytes(),
            )?,
        };
        let server = Self {
            name: "kube-apiserver + etcd",
            place,
            processes,
            _folder: folder,
        };
        server.ready().await?;
        Ok(Some(server))
    }

    async fn ready(&self) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        let ready = async || -> anyhow::Result<bool> {
            let mut connection = Connection::open(&self.place, 16 << 10).await?;
            let (code, _) = connection.ask(&self.place.get("/readyz")).await?;
            Ok(code == 200)
        };
        loop {
            let error = match ready().await {
                Ok(true) => return Ok(()),
                Ok(false) => None,
                Err(error) => Some(error),
            };
            if Instant::now() > until {
                let said = error.map_or_else(String::new, |error| format!(": {error:#}"));
                bail!("{} does not become ready{said}", self.name);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// How long its processes have worked on processors, in seconds.
    pub(super) fn worked(&self) -> f64 {
        let ids = self.processes.0.iter().map(Child::id);
        ids.map(|id| worked(&id.to_string())).sum()
    }

    /// What its processes hold of memory.
    pub(super) fn memory(&self) -> Memory {
        let mut out = Memory::default();
        for process in &self.processes.0 {
            let path = format!("/proc/{}/status", process.id());
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let line = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                let number = line.and_then(|rest| {
                    let number = rest.trim_matches([':', '\t', ' ', 'k', 'B']);
                    number.parse::<f64>().ok()
                });
                number.unwrap_or(0.0) * 1024.0
            };
            out.resident += line("VmRSS");
            out.own += line("RssAnon");
            out.peak += line("VmHWM");
        }
        out
    }
}

/// How long a process has worked on processors, in seconds (proc(5): fields 14 and 15).
pub(super) fn worked(process: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // the name in brackets may hold anything
    let behind = text.rsplit(')').next().unwrap_or_default();
    let numbers = behind.split_whitespace().skip(11).take(2);
    numbers.filter_map(|it| it.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Ports that are free now, all different.
fn free_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    let mut ports = [0; N];
    let mut held = Vec::new();
    for port in &mut ports {
        let listener = TcpListener::bind("127.0.0.1:0").context("failed to find a free port")?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// Where `cargo xtask oracle build` puts what it builds.
pub(super) fn usual_bin() -> Option<PathBuf> {
    std::env::home_dir().map(|home| home.join(".cache/roadstead/oracle/bin"))
}
