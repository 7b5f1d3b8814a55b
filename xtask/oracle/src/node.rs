//! A real node: kubelet, kube-proxy and containerd with processes, mounts and a network of their own.
//!
//! All of it hangs on one process, the first of its namespaces. When that ends, the kernel ends what it began, containers
//! included, and takes its mounts and interfaces away; only empty control groups remain, and are removed. Needs root.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::process::{Lifetime, Process, Recorded, wait_until};
use crate::tools::{Tools, cache};

const SCRIPT: &str = include_str!("node.sh");
/// What a node needs that `oracle build` does not make, and the Debian packages that hold it.
const PROGRAMS: [(&str, &str); 6] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("conntrack", "conntrack"),
    ("unshare", "util-linux"),
];
const GROUPS: &str = "/sys/fs/cgroup";
const GROUP: &str = "oracle-node-";

/// Where a node is, chosen before the API server's certificate is made.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    number: u8,
    link: String,
}

impl Place {
    /// Chooses addresses that no route leads to yet.
    pub(crate) fn choose() -> anyhow::Result<Self> {
        let out = run("ip", &["-4", "route"])?;
        let offset = u8::try_from(std::process::id() % 251).unwrap_or(0);
        let free = (0..=250_u8)
            .map(|step| step.wrapping_add(offset) % 251)
            .find(|number| !out.contains(&format!("10.213.{number}.")));
        let number = free.context("all of 10.213.0.0/16 is in use")?;
        Ok(Self {
            number,
            link: format!("orcl{number}"),
        })
    }

    /// The address of the machine, as the node sees it.
    pub(crate) fn host(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.number, 1)
    }

    /// The address of the node, as the machine sees it.
    pub(crate) fn node(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.number, 2)
    }

    /// The network of its pods.
    fn pods(&self) -> String {
        format!("10.214.{}.0/24", self.number)
    }
}

/// Says what is missing for a node.
pub fn node_is_possible(tools: &Tools) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("a node needs root: it makes namespaces, mounts and interfaces");
    }
    tools.need(&["kubelet", "kube-proxy"])?;
    if !cache().join("images/pause.tar").is_file() {
        bail!(
            "no images in {}: `cargo xtask oracle build images` makes them",
            cache().display()
        );
    }
    let missing: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if !missing.is_empty() {
        bail!(
            "a node needs {}: scripts/prepare.sh node installs them",
            missing.join(", ")
        );
    }
    runtime()?;
    if !Path::new("/usr/lib/cni/bridge").is_file() {
        bail!("a node needs containernetworking-plugins: scripts/prepare.sh node installs them");
    }
    Ok(())
}

fn find(program: &str) -> Option<PathBuf> {
    [
        "/usr/local/sbin",
        "/usr/local/bin",
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
    ]
    .iter()
    .map(|folder| Path::new(folder).join(program))
    .find(|path| path.is_file())
}

/// What starts containers.
fn runtime() -> anyhow::Result<PathBuf> {
    let found = find("runc").or_else(|| find("crun"));
    found.context("a node needs runc or crun: scripts/prepare.sh node installs it")
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    process: Process,
    place: Place,
    name: String,
    group: String,
}

impl Node {
    /// Starts it; it is there when its kubelet has said so to the API server.
    pub(crate) fn start(
        tools: &Tools,
        name: &str,
        folder: &Path,
        place: Place,
        lifetime: Lifetime,
    ) -> anyhow::Result<Self> {
        sweep();
        std::fs::create_dir_all(folder)
            .with_context(|| format!("failed to make {}", folder.display()))?;
        let folder = folder
            .canonicalize()
            .with_context(|| format!("failed to find {}", folder.display()))?;
        let group = format!("{GROUP}{}-{}", std::process::id(), place.number);
        make_group(&group)?;
        let settings = [
            ("FOLDER", folder.display().to_string()),
            ("NODE", name.to_owned()),
            ("LINK", format!("{}/30", place.node())),
            ("HOST", place.host().to_string()),
            ("PODS", place.pods()),
            ("CGROUP", format!("/{group}")),
            ("RUNTIME", runtime()?.display().to_string()),
            ("BIN", tools.folder().display().to_string()),
            ("IMAGES", cache().join("images").display().to_string()),
            (
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            ),
        ];
        let mut args: Vec<String> = ["--ignore-environment"].map(str::to_owned).to_vec();
        args.extend(settings.iter().map(|(key, value)| format!("{key}={value}")));
        args.extend(
            [
                "unshare",
                "--net",
                "--mount",
                "--ipc",
                "--uts",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
                "bash",
                "-c",
                SCRIPT,
            ]
            .map(str::to_owned),
        );
        let log = folder.join("node.log");
        let process = Process::start("node", Path::new("env"), &args, &log, lifetime)?;
        let mut node = Self {
            process,
            place,
            name: name.to_owned(),
            group,
        };
        let linked = node.link();
        if linked.is_err() {
            node.kill();
        }
        linked.map(|()| node)
    }

    /// Gives it its end of the link; the kernel takes it away with the node.
    fn link(&mut self) -> anyhow::Result<()> {
        let first = wait_until("the node's first process", Duration::from_secs(20), || {
            self.process.check()?;
            Ok(self.first())
        })?;
        let (link, pods) = (self.place.link.clone(), self.place.pods());
        let (host, node) = (
            format!("{}/30", self.place.host()),
            self.place.node().to_string(),
        );
        // one of a node before that is just going
        let peer = ["peer", "name", "eth0", "netns", &first.to_string()].map(str::to_owned);
        wait_until("the node's link", Duration::from_secs(10), || {
            let mut words = vec!["link", "add", link.as_str(), "type", "veth"];
            words.extend(peer.iter().map(String::as_str));
            Ok(run("ip", &words).ok())
        })?;
        run("ip", &["address", "add", &host, "dev", &link])?;
        run("ip", &["link", "set", &link, "up"])?;
        run("ip", &["route", "add", &pods, "via", &node])?;
        Ok(())
    }

    /// The first process of its namespaces, as this machine counts.
    fn first(&self) -> Option<u32> {
        let pid = self.process.recorded().pid;
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        let child = children.split_whitespace().next()?.parse().ok()?;
        // before it is in its own network
        let net = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        (net(child)? != net(std::process::id())?).then_some(child)
    }

    /// Runs a command among its processes.
    pub fn command(&self, words: &[&str]) -> anyhow::Result<Command> {
        let first = self.first().context("the node has ended")?;
        let mut command = Command::new("nsenter");
        command
            .args([
                "--net",
                "--mount",
                "--pid",
                "--target",
                &first.to_string(),
                "--",
            ])
            .args(words);
        Ok(command)
    }

    /// Gives it the images of an archive.
    pub fn import(&self, archive: &Path) -> anyhow::Result<()> {
        let file = std::fs::File::open(archive)
            .with_context(|| format!("failed to open {}", archive.display()))?;
        let out = self
            .command(&[
                "ctr",
                "--namespace",
                "k8s.io",
                "image",
                "import",
                "--no-unpack",
                "-",
            ])?
            .stdin(file)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .context("failed to start ctr")?;
        if !out.status.success() {
            bail!(
                "failed to import {}: {}",
                archive.display(),
                String::from_utf8_lossy(&out.stderr).trim()
            );
        }
        Ok(())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address, which this machine and its pods reach.
    pub fn address(&self) -> Ipv4Addr {
        self.place.node()
    }

    /// The address by which its pods reach this machine.
    pub fn host(&self) -> Ipv4Addr {
        self.place.host()
    }

    /// What it takes to end it later.
    pub fn recorded(&self) -> &Recorded {
        self.process.recorded()
    }

    /// Fails if it has ended.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        self.process.check()
    }

    /// The last lines of its log.
    pub(crate) fn last_words(&self) -> String {
        self.process.last_words()
    }

    /// Ends it at once, and everything that it began.
    pub fn kill(&mut self) {
        self.process.kill();
        remove_group(&self.group);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.process.lifetime() == Lifetime::Tied {
            self.kill();
        }
    }
}

/// Where control groups stand: one tree, or one for each controller.
fn trees() -> Vec<PathBuf> {
    let root = Path::new(GROUPS);
    if root.join("cgroup.controllers").is_file() {
        return vec![root.to_owned()];
    }
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn make_group(name: &str) -> anyhow::Result<()> {
    for tree in trees() {
        let folder = tree.join(name);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("failed to make {}", folder.display()))?;
        // a set without processors and memory takes no process
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(text) = std::fs::read_to_string(tree.join(file)) {
                // the other kind of tree inherits it
                let _ = std::fs::write(folder.join(file), text);
            }
        }
    }
    Ok(())
}

/// Removes a group and those below it, as soon as the kernel has cleared them of what was killed.
fn remove_group(name: &str) {
    for tree in trees() {
        for _ in 0..100 {
            if !remove_tree(&tree.join(name)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Removes a folder of groups; says whether something of it is left.
fn remove_tree(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    // rmdir: what stands in such a folder is the kernel's
    let _ = std::fs::remove_dir(folder);
    folder.exists()
}

/// Removes the empty groups of nodes whose starter was killed before it could.
fn sweep() {
    for tree in trees() {
        let entries = std::fs::read_dir(tree).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let starter = name
                .strip_prefix(GROUP)
                .and_then(|rest| rest.split_once('-'))
                .and_then(|(pid, _)| pid.parse::<u32>().ok());
            if starter.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
                // one that is in use cannot be removed
                remove_tree(&entry.path());
            }
        }
    }
}

fn run(program: &str, args: &[&str]) -> anyhow::Result<String> {
    let out = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("failed to start {program}"))?;
    if !out.status.success() {
        bail!(
            "{program} {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&out.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}
