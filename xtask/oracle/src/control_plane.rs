//! One control plane: its files, its processes, and ways to ask it.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::client::Client;
use crate::node::{Node, Place, node_is_possible};
use crate::pki::{Authority, Pair};
use crate::process::{Lifetime, Process, Recorded, wait_until};
use crate::tools::Tools;

/// A machine that is busy with other things starts a control plane slowly.
const PATIENCE: Duration = Duration::from_secs(300);

/// How a control plane is to be.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What it is called in kubeconfigs.
    pub name: String,
    /// Where its files go; made if it is missing.
    pub folder: PathBuf,
    /// How long its processes live.
    pub lifetime: Lifetime,
    /// Run the controller manager: without it nothing is collected and no namespace ever goes.
    pub controllers: bool,
    /// Run the scheduler.
    pub scheduler: bool,
    /// Give it a real node, of this name.
    pub node: Option<String>,
    /// Give it so many nodes that kwok plays, and play the life of their pods.
    pub simulated_nodes: usize,
    /// The address that the API server listens at; 127.0.0.1 always reaches it.
    pub address: Ipv4Addr,
    /// More names and addresses for its certificate.
    pub places: Vec<String>,
    /// More flags for kube-apiserver.
    pub api_flags: Vec<String>,
}

impl Settings {
    /// A whole control plane on loopback.
    pub fn new(name: &str, folder: &Path) -> Self {
        Self {
            name: name.to_owned(),
            folder: folder.to_owned(),
            lifetime: Lifetime::Tied,
            controllers: true,
            scheduler: true,
            node: None,
            simulated_nodes: 0,
            address: Ipv4Addr::LOCALHOST,
            places: Vec::new(),
            api_flags: Vec::new(),
        }
    }
}

/// A running control plane.
pub struct ControlPlane {
    settings: Settings,
    tools: Tools,
    authority: Authority,
    port: u16,
    etcd_port: u16,
    admin: Client,
    api_server: Option<Process>,
    others: Vec<Process>,
    node: Option<Node>,
}

impl ControlPlane {
    /// Starts one and waits until it is ready.
    pub fn start(tools: &Tools, settings: Settings) -> anyhow::Result<Self> {
        let mut last = None;
        // a free port may be taken by another before it is ours
        for _ in 0..3 {
            match Self::try_start(tools, settings.clone()) {
                Ok(found) => return Ok(found),
                Err(error) if format!("{error:#}").contains("address already in use") => {
                    last = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(last.context("no attempt was made")?)
    }

    fn try_start(tools: &Tools, settings: Settings) -> anyhow::Result<Self> {
        let mut settings = settings;
        let mut place = None;
        if settings.node.is_some() {
            node_is_possible(tools)?;
            let chosen = Place::choose()?;
            // its pods reach the API server by an address of the machine
            settings.address = Ipv4Addr::UNSPECIFIED;
            settings.places.push(chosen.host().to_string());
            place = Some(chosen);
        }
        let folder = &settings.folder;
        std::fs::create_dir_all(folder)
            .with_context(|| format!("failed to make {}", folder.display()))?;
        let data = folder.join("etcd");
        if data.exists() {
            std::fs::remove_dir_all(&data).context("failed to remove what etcd kept before")?;
        }
        let [port, etcd_port, peer_port] = free_ports()?;
        let authority = Authority::new("kubernetes")?;
        let admin = write_pki(&settings, &authority)?;
        let mut plane = Self {
            admin: Client::with_certificate(port, authority.certificate(), &admin)?,
            tools: tools.clone(),
            authority,
            port,
            etcd_port,
            settings,
            api_server: None,
            others: Vec::new(),
            node: None,
        };
        let mut outcome = plane.bring_up(&admin, peer_port);
        if outcome.is_ok() && plane.settings.simulated_nodes > 0 {
            outcome = plane.simulate_nodes();
        }
        if let (Ok(()), Some(place)) = (&outcome, place) {
            outcome = plane.start_node(place);
        }
        if outcome.is_err() {
            // detached processes would stay
            plane.kill();
        }
        outcome.map(|()| plane)
    }

    fn bring_up(&mut self, admin: &Pair, peer_port: u16) -> anyhow::Result<()> {
        let etcd = format!("http://127.0.0.1:{}", self.etcd_port);
        let peer = format!("http://127.0.0.1:{peer_port}");
        self.spawn(
            "etcd",
            &[
                format!("--data-dir={}", self.file("etcd")),
                format!("--listen-client-urls={etcd}"),
                format!("--advertise-client-urls={etcd}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster=default={peer}"),
                "--unsafe-no-fsync".to_owned(),
                "--log-level=warn".to_owned(),
            ],
        )?;
        let kubeconfig = self.kubeconfig_of(admin);
        self.write("kubeconfig", &kubeconfig)?;
        self.start_api_server()?;
        if self.settings.controllers {
            let kubeconfig = self.kubeconfig_for("system:kube-controller-manager", "")?;
            self.write("controller-manager.kubeconfig", &kubeconfig)?;
            self.spawn(
                "kube-controller-manager",
                &[
                    format!(
                        "--kubeconfig={}",
                        self.file("controller-manager.kubeconfig")
                    ),
                    "--leader-elect=false".to_owned(),
                    "--secure-port=0".to_owned(),
                    "--use-service-account-credentials=true".to_owned(),
                    format!(
                        "--service-account-private-key-file={}",
                        self.file("accounts.key")
                    ),
                    format!("--root-ca-file={}", self.file("ca.crt")),
                    format!("--cluster-signing-cert-file={}", self.file("ca.crt")),
                    format!("--cluster-signing-key-file={}", self.file("ca.key")),
                ],
            )?;
        }
        if self.settings.scheduler {
            let kubeconfig = self.kubeconfig_for("system:kube-scheduler", "")?;
            self.write("scheduler.kubeconfig", &kubeconfig)?;
            self.spawn(
                "kube-scheduler",
                &[
                    format!("--kubeconfig={}", self.file("scheduler.kubeconfig")),
                    "--leader-elect=false".to_owned(),
                    "--secure-port=0".to_owned(),
                ],
            )?;
        }
        if self.settings.controllers {
            // pods need it, and it is the last that a fresh cluster gets
            self.wait_for("/api/v1/namespaces/default/serviceaccounts/default")?;
        }
        Ok(())
    }

    fn start_node(&mut self, place: Place) -> anyhow::Result<()> {
        let name = self.settings.node.clone().unwrap_or_default();
        let server = format!("https://{}:{}", place.host(), self.port);
        for (file, user, group) in [
            ("kubelet", format!("system:node:{name}"), "system:nodes"),
            ("proxy", "system:kube-proxy".to_owned(), ""),
        ] {
            let text = self.kubeconfig_for(&user, group)?;
            self.write(
                &format!("{file}.kubeconfig"),
                &text.replace(&self.url(), &server),
            )?;
        }
        // where the Service `kubernetes` leads: the API server runs outside of the cluster
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "kubernetes",
                "labels": {"kubernetes.io/service-name": "kubernetes"},
            },
            "addressType": "IPv4",
            "ports": [{"name": "https", "port": self.port, "protocol": "TCP"}],
            "endpoints": [{"addresses": [place.host().to_string()], "conditions": {"ready": true}}],
        });
        let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
        self.admin
            .put_through("POST", slices, "application/json", &slice)?;
        let folder = self.settings.folder.join("node");
        let lifetime = self.settings.lifetime;
        let mut node = Node::start(&self.tools, &name, &folder, place, lifetime)?;
        let path = format!("/api/v1/nodes/{name}");
        let admin = self.admin.clone();
        let ready = wait_until("the node to be ready", PATIENCE, || {
            node.check()?;
            // a machine that was busy elsewhere breaks connections
            let found = admin.get(&path).and_then(|answer| answer.json());
            let found = found.unwrap_or_default();
            let conditions = found["status"]["conditions"].as_array().cloned();
            let ready = conditions
                .into_iter()
                .flatten()
                .any(|one| one["type"] == "Ready" && one["status"] == "True");
            Ok(ready.then_some(()))
        });
        let words = node.last_words();
        self.node = Some(node);
        ready.with_context(|| format!("the node said last:\n{words}"))
    }

    /// Lets kwok play nodes, and the pods that are put on them.
    fn simulate_nodes(&mut self) -> anyhow::Result<()> {
        self.tools.need(&["kwok", "kwok-stages.yaml"])?;
        let stages = self.tools.path("kwok-stages.yaml").display().to_string();
        self.spawn(
            "kwok",
            &[
                format!("--kubeconfig={}", self.file("kubeconfig")),
                format!("--config={stages}"),
                "--manage-all-nodes=true".to_owned(),
                // without them the controllers take the nodes for dead, and their pods for unready
                "--node-lease-duration-seconds=40".to_owned(),
            ],
        )?;
        for number in 1..=self.settings.simulated_nodes {
            let room = json!({"cpu": "32", "memory": "256Gi", "pods": "200"});
            let node = json!({
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": format!("simulated-{number}")},
                "status": {"allocatable": room, "capacity": room},
            });
            self.admin
                .put_through("POST", "/api/v1/nodes", "application/json", &node)?;
        }
        Ok(())
    }

    /// Its real node.
    pub fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    /// Starts the API server on the port that it had, and waits until it is ready.
    pub fn start_api_server(&mut self) -> anyhow::Result<()> {
        if self.api_server.is_some() {
            bail!("the API server of {} runs already", self.settings.name);
        }
        let file = |name: &str| self.file(name);
        let mut flags = vec![
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port),
            format!("--bind-address={}", self.settings.address),
            format!("--secure-port={}", self.port),
            format!("--tls-cert-file={}", file("api-server.crt")),
            format!("--tls-private-key-file={}", file("api-server.key")),
            format!("--client-ca-file={}", file("ca.crt")),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", file("accounts.crt")),
            format!(
                "--service-account-signing-key-file={}",
                file("accounts.key")
            ),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            "--allow-privileged=true".to_owned(),
            "--enable-aggregator-routing=true".to_owned(),
            format!("--requestheader-client-ca-file={}", file("front-ca.crt")),
            "--requestheader-allowed-names=front-proxy".to_owned(),
            "--requestheader-username-headers=X-Remote-User".to_owned(),
            "--requestheader-group-headers=X-Remote-Group".to_owned(),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
            format!("--proxy-client-cert-file={}", file("front.crt")),
            format!("--proxy-client-key-file={}", file("front.key")),
            format!("--kubelet-client-certificate={}", file("admin.crt")),
            format!("--kubelet-client-key={}", file("admin.key")),
            "--kubelet-preferred-address-types=InternalIP,Hostname".to_owned(),
        ];
        flags.extend(self.settings.api_flags.iter().cloned());
        let process = self.process("kube-apiserver", &flags)?;
        self.api_server = Some(process);
        self.wait_for("/readyz")
    }

    /// Ends the API server at once; connections break.
    pub fn kill_api_server(&mut self) {
        if let Some(mut process) = self.api_server.take() {
            process.kill();
        }
    }

    /// Waits until a path answers with success.
    fn wait_for(&mut self, path: &str) -> anyhow::Result<()> {
        let admin = self.admin.clone().patience(Duration::from_secs(5));
        let what = format!("{} to answer {path}", self.settings.name);
        let mut ended = None;
        let waited = wait_until(&what, PATIENCE, || {
            ended = self
                .processes_mut()
                .find_map(|process| process.check().err());
            let ready = || admin.get(path).is_ok_and(|answer| answer.status == 200);
            Ok((ended.is_some() || ready()).then_some(()))
        });
        if let Some(error) = ended {
            return Err(error);
        }
        waited.with_context(|| {
            let words = |process: &Process| {
                let name = &process.recorded().name;
                format!("{name} said last:\n{}", process.last_words())
            };
            let all: Vec<String> = self.processes().map(words).collect();
            all.join("\n")
        })
    }

    fn spawn(&mut self, name: &str, flags: &[String]) -> anyhow::Result<()> {
        let process = self.process(name, flags)?;
        self.others.push(process);
        Ok(())
    }

    fn process(&self, name: &str, flags: &[String]) -> anyhow::Result<Process> {
        Process::start(
            name,
            &self.tools.path(name),
            flags,
            &self.settings.folder.join(format!("{name}.log")),
            self.settings.lifetime,
        )
    }

    fn processes(&self) -> impl Iterator<Item = &Process> {
        self.api_server.iter().chain(&self.others)
    }

    fn processes_mut(&mut self) -> impl Iterator<Item = &mut Process> {
        self.api_server.iter_mut().chain(&mut self.others)
    }

    /// Ends all of it at once.
    pub fn kill(&mut self) {
        if let Some(mut node) = self.node.take() {
            node.kill();
        }
        self.processes_mut().for_each(Process::kill);
        self.api_server = None;
        self.others.clear();
    }

    /// What it takes to end it later.
    pub fn recorded(&self) -> Vec<Recorded> {
        let node = self.node.iter().map(Node::recorded);
        self.processes()
            .map(Process::recorded)
            .chain(node)
            .cloned()
            .collect()
    }

    /// One of its processes by name.
    pub fn find(&self, name: &str) -> Option<&Recorded> {
        self.processes()
            .map(Process::recorded)
            .find(|recorded| recorded.name == name)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Its files.
    pub fn folder(&self) -> &Path {
        &self.settings.folder
    }

    /// A client with every right, which flow control never holds back.
    pub fn admin(&self) -> &Client {
        &self.admin
    }

    /// A client of a user that this control plane's own authority vouches for.
    pub fn client(&self, user: &str, group: &str) -> anyhow::Result<Client> {
        let pair = self.authority.client(user, group)?;
        Client::with_certificate(self.port, self.authority.certificate(), &pair)
    }

    /// A client with a bearer token.
    pub fn client_with_token(&self, token: &str) -> anyhow::Result<Client> {
        Client::with_token(self.port, self.authority.certificate(), token)
    }

    /// The API server's address.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The API server's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The authority that clients and servers are trusted by, in PEM.
    pub fn ca(&self) -> &str {
        self.authority.certificate()
    }

    /// The authority itself.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.settings.folder.join("kubeconfig")
    }

    /// A kubeconfig for a user whom the cluster's authority vouches for.
    pub fn kubeconfig_for(&self, user: &str, group: &str) -> anyhow::Result<String> {
        Ok(self.kubeconfig_of(&self.authority.client(user, group)?))
    }

    fn kubeconfig_of(&self, pair: &Pair) -> String {
        self.kubeconfig_with(&json!({
            "client-certificate-data": base64(pair.certificate.as_bytes()),
            "client-key-data": base64(pair.key.as_bytes()),
        }))
    }

    /// A kubeconfig with other credentials, such as `{"tokenFile": …}`.
    pub fn kubeconfig_with(&self, user: &serde_json::Value) -> String {
        let name = &self.settings.name;
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": {
                "server": self.url(),
                "certificate-authority-data": base64(self.ca().as_bytes()),
            }}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        });
        // JSON is YAML
        format!("{config:#}\n")
    }

    /// Makes the cluster forget its history: old revisions and the pages of old lists expire. The API server starts
    /// again, since it remembers more than etcd.
    pub fn forget(&mut self) -> anyhow::Result<()> {
        let etcd = Client::plain(self.etcd_port);
        let json = "application/json";
        let key = base64(b"/none");
        let found = etcd.put_through("POST", "/v3/kv/range", json, &json!({ "key": key }))?;
        let revision = found["header"]["revision"].clone();
        self.kill_api_server();
        let compact = json!({"revision": revision, "physical": true});
        etcd.put_through("POST", "/v3/kv/compaction", json, &compact)?;
        self.start_api_server()
    }

    fn file(&self, name: &str) -> String {
        self.settings.folder.join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        write_private(&self.settings.folder.join(name), text)
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if self.settings.lifetime == Lifetime::Tied {
            self.kill();
        }
    }
}

fn write_pki(settings: &Settings, authority: &Authority) -> anyhow::Result<Pair> {
    let places: Vec<&str> = [
        "127.0.0.1",
        "10.96.0.1",
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ]
    .into_iter()
    .chain(settings.places.iter().map(String::as_str))
    .collect();
    let front = Authority::new("front-proxy-ca")?;
    let admin = authority.client("admin", "system:masters")?;
    let accounts = Authority::new("service-accounts")?;
    let pairs = [
        ("api-server", authority.server("kube-apiserver", &places)?),
        ("front", front.client("front-proxy", "")?),
        ("admin", admin.clone()),
    ];
    let put = |name: &str, text: &str| write_private(&settings.folder.join(name), text);
    for (name, pair) in &pairs {
        put(&format!("{name}.crt"), &pair.certificate)?;
        put(&format!("{name}.key"), &pair.key)?;
    }
    put("ca.crt", authority.certificate())?;
    put("ca.key", &authority.key())?;
    put("front-ca.crt", front.certificate())?;
    put("accounts.crt", accounts.certificate())?;
    put("accounts.key", &accounts.key())?;
    Ok(admin)
}

/// Writes what nobody else may read.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("failed to write {}", path.display()))
}

/// Ports that are free now, all different.
fn free_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    let mut ports = [0; N];
    let mut held = Vec::new();
    for port in &mut ports {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("failed to find a free port")?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// A control plane of a test's own, in a folder that goes with it.
pub struct RealCluster {
    plane: ControlPlane,
    _folder: tempfile::TempDir,
}

impl RealCluster {
    /// Starts one; prints why and returns nothing where the programs are not built.
    ///
    /// With `ROADSTEAD_ORACLE=required` in the environment it fails instead, so that a machine that should have them cannot skip in silence.
    pub fn start() -> anyhow::Result<Option<Self>> {
        Self::start_with(|_| {})
    }

    /// As [`start`](Self::start), with other settings.
    pub fn start_with(change: impl FnOnce(&mut Settings)) -> anyhow::Result<Option<Self>> {
        let tools = match Tools::find() {
            Ok(tools) => tools,
            Err(error) if std::env::var("ROADSTEAD_ORACLE").is_ok_and(|it| it == "required") => {
                return Err(error);
            }
            Err(error) => {
                println!("skipped: {error:#}");
                return Ok(None);
            }
        };
        let folder = tempfile::Builder::new()
            .prefix("oracle-")
            .tempdir()
            .context("failed to make a folder")?;
        let mut settings = Settings::new("real", folder.path());
        change(&mut settings);
        Ok(Some(Self {
            plane: ControlPlane::start(&tools, settings)?,
            _folder: folder,
        }))
    }
}

impl std::ops::Deref for RealCluster {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        &self.plane
    }
}

impl std::ops::DerefMut for RealCluster {
    fn deref_mut(&mut self) -> &mut ControlPlane {
        &mut self.plane
    }
}
