//! Processes as they run: a hub that is killed, destroyed and restored, and what a hostile repository costs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long something may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// A process that ends with its test.
struct Child(std::process::Child);

impl Child {
    /// Kills it, as a machine does that loses its power.
    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A hub, simulated clusters and their agents, each a process of its own, and a Git repository.
struct Fleet {
    folder: tempfile::TempDir,
    port: u16,
    hub: Option<Child>,
    agents: Vec<Child>,
    _clusters: Child,
    names: Vec<String>,
    more: Vec<String>,
}

impl Fleet {
    fn start(clusters: usize, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let served = spawn(
            folder.path(),
            &format!("playground clusters --clusters {clusters} --kubeconfigs clusters"),
            "clusters.log",
        );
        let mut fleet = Self {
            folder,
            port,
            hub: None,
            agents: Vec::new(),
            _clusters: served,
            names: Vec::new(),
            more: more.iter().map(|word| (*word).to_owned()).collect(),
        };
        fleet.git(&["init", "-q", "-b", "main", "."]);
        fleet.write("seal.key", "a seal that nobody guesses\n");
        fleet.start_hub();
        fleet.hub_is_up();
        let kubeconfigs = fleet.path("clusters");
        fleet.until("the clusters", || {
            let names = std::fs::read_dir(&kubeconfigs).into_iter().flatten();
            let names: Vec<String> = names
                .flatten()
                .filter_map(|file| {
                    let name = file.file_name().into_string().ok()?;
                    let name = name.strip_suffix(".yaml")?.to_owned();
                    (name != "playground").then_some(name)
                })
                .collect();
            (names.len() == clusters)
                .then_some(())
                .ok_or(format!("{names:?}"))
        });
        let files = std::fs::read_dir(&kubeconfigs).expect("a folder").flatten();
        let mut names: Vec<String> = files
            .filter_map(|file| {
                let name = file.file_name().into_string().ok()?;
                let name = name.strip_suffix(".yaml")?.to_owned();
                (name != "playground").then_some(name)
            })
            .collect();
        names.sort();
        for name in &names {
            let token = fleet.run(&format!("cluster join {name} --token-only")).0;
            let url = format!("https://127.0.0.1:{port}");
            let agent = spawn(
                fleet.folder.path(),
                &format!(
                    "agent --hub {url} --name {name} --token {} --kubeconfig clusters/{name}.yaml --state agents/{name}",
                    token.trim()
                ),
                &format!("{name}.log"),
            );
            fleet.agents.push(agent);
        }
        fleet.names = names;
        fleet.connected();
        fleet
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start_hub(&mut self) {
        let line = format!(
            "hub --data hub --listen 127.0.0.1:{} --name 127.0.0.1 --kubeconfig hub.yaml --beat 1s --no-own-agent {}",
            self.port,
            self.more.join(" ")
        );
        self.hub = Some(spawn(self.folder.path(), line.trim(), "hub.log"));
    }

    fn kill_hub(&mut self) {
        self.hub.take().expect("a hub that runs").kill();
    }

    fn hub_is_up(&self) {
        self.until("the hub answers", || match self.run("get projects") {
            (_, 0) => Ok(()),
            (said, _) => Err(said),
        });
    }

    fn connected(&self) {
        let wanted = self.names.len();
        self.until("every agent is connected", || {
            let (said, _) = self.run("get clusters");
            (said.matches(" Connected ").count() == wanted)
                .then_some(())
                .ok_or(said)
        });
    }

    /// Waits until a look finds something; shows the hub's log if it never does.
    fn until<T>(&self, what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
        let began = Instant::now();
        loop {
            match look() {
                Ok(found) => return found,
                Err(seen) if began.elapsed() > PATIENCE => {
                    let log = std::fs::read_to_string(self.path("hub.log")).unwrap_or_default();
                    let lines: Vec<&str> = log.lines().collect();
                    let last = lines[lines.len().saturating_sub(30)..].join("\n");
                    panic!("never: {what}; last seen: {seen}\nthe hub's log ends:\n{last}");
                }
                Err(_) => std::thread::sleep(Duration::from_millis(150)),
            }
        }
    }

    fn run(&self, line: &str) -> (String, i32) {
        let output = command(self.folder.path(), line)
            .output()
            .expect("the binary runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        (text, output.status.code().unwrap_or(-1))
    }

    /// Runs it; it must work.
    fn good(&self, line: &str) -> String {
        let (said, code) = self.run(line);
        assert_eq!(code, 0, "roadstead {line}: {said}");
        said
    }

    fn json(&self, line: &str) -> Value {
        let (said, _) = self.run(&format!("{line} -o json"));
        serde_json::from_str(&said).unwrap_or_default()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    }

    fn git(&self, arguments: &[&str]) -> String {
        let repository = self.path("repo");
        std::fs::create_dir_all(&repository).expect("a folder");
        let output = Command::new("git")
            .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.com"])
            .args(arguments)
            .current_dir(&repository)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .expect("git runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-qm", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// A Source that is asked each second, and an App of its folder `shop`.
    fn shop(&self, strategy: &str) {
        let url = format!("file://{}", self.path("repo").display());
        let nouns = format!(
            "apiVersion: roadstead.dev/v1alpha1\nkind: Source\nmetadata: {{ name: repo }}\n\
             spec: {{ git: {{ url: '{url}', branch: main }}, interval: 1s }}\n---\n\
             apiVersion: roadstead.dev/v1alpha1\nkind: Strategy\nmetadata: {{ name: waves }}\nspec: {strategy}\n---\n\
             apiVersion: roadstead.dev/v1alpha1\nkind: App\nmetadata: {{ name: shop }}\n\
             spec: {{ inputs: [{{ source: repo, path: shop }}], namespace: shop, strategy: waves, targets: [{{ name: all }}] }}\n"
        );
        self.write("nouns.yaml", &nouns);
        self.good("apply -f nouns.yaml");
    }

    /// Waits until the App is healthy everywhere at a commit.
    fn healthy(&self, commit: &str) {
        self.until(&format!("shop is healthy at {commit}"), || {
            let status = &self.json("get app shop")["status"];
            let good = status["commit"] == commit[..12]
                && status["current"].as_u64() == Some(self.names.len() as u64)
                && status["healthy"].as_u64() == Some(self.names.len() as u64);
            good.then_some(())
                .ok_or_else(|| format!("{status}\n{}", self.run("get assignments -o wide").0))
        });
    }

    /// The uid and the resource version of an object in every cluster.
    fn everywhere(&self, kind: &str, name: &str) -> Vec<(String, Value)> {
        let of = |cluster: &String| {
            let line =
                format!("get {kind} {name} --kubeconfig clusters/{cluster}.yaml --project shop");
            let object = self.json(&line);
            let uid = object["metadata"]["uid"].as_str();
            let uid = uid.unwrap_or_else(|| panic!("{}", self.run(&line).0));
            (uid.to_owned(), object)
        };
        self.names.iter().map(of).collect()
    }
}

fn command(folder: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roadstead"));
    command
        .args(line.split(' '))
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("ROADSTEAD_KUBECONFIG", folder.join("hub.yaml"))
        .stdin(Stdio::null());
    command
}

fn spawn(folder: &Path, line: &str, log: &str) -> Child {
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join(log))
        .expect("a log");
    let child = command(folder, line)
        .stdout(file.try_clone().expect("a log"))
        .stderr(file)
        .spawn()
        .expect("the binary runs");
    Child(child)
}

fn map(name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name} }}\ndata: {{ key: {value} }}\n"
    )
}

#[test]
fn a_hub_that_is_killed_twenty_times_does_everything_once() {
    let mut fleet = Fleet::start(4, &[]);
    fleet.write("repo/shop/a.yaml", &map("a", "v0"));
    fleet.write("repo/shop/b.yaml", &map("b", "stays"));
    let mut commit = fleet.commit("begin");
    let stages =
        "{ stages: [{ name: one, waves: [{ count: 1 }, { percent: 100 }], soak: 300ms }] }";
    fleet.shop(stages);
    fleet.healthy(&commit);
    let before = fleet.everywhere("configmaps", "b");
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let began = Instant::now();
    for kill in 0..20 {
        if kill % 4 == 0 {
            fleet.write("repo/shop/a.yaml", &map("a", &format!("v{}", kill + 1)));
            commit = fleet.commit("go on");
        }
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        // from the middle of its start to the middle of a rollout
        std::thread::sleep(Duration::from_millis(100 + seed % 1400));
        fleet.kill_hub();
        fleet.start_hub();
    }
    println!(
        "killed 20 times within {:.1} s",
        began.elapsed().as_secs_f64()
    );
    fleet.hub_is_up();
    fleet.healthy(&commit);
    // nothing that did not change was touched, and what changed is the newest everywhere
    assert_eq!(fleet.everywhere("configmaps", "b"), before);
    for (_, object) in fleet.everywhere("configmaps", "a") {
        assert_eq!(object["data"]["key"], "v17");
    }
    // every Rollout has ended, and each Release was made once
    let releases = fleet.json("get releases");
    let commits: Vec<&Value> = releases["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|release| &release["spec"]["commit"])
        .collect();
    let mut different = commits.clone();
    different.sort_by_key(|commit| commit.to_string());
    different.dedup();
    assert_eq!(different.len(), commits.len(), "{commits:?}");
    fleet.until("every Rollout has ended", || {
        let rollouts = fleet.json("get rollouts");
        let open = rollouts["items"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|rollout| {
                !["Completed", "Superseded"]
                    .contains(&rollout["status"]["phase"].as_str().unwrap_or_default())
            });
        (!open)
            .then_some(())
            .ok_or_else(|| fleet.run("get rollouts").0)
    });
}

#[test]
fn a_destroyed_hub_comes_back_from_its_sealed_backup() {
    let secret = "correct horse battery staple\n";
    let mut fleet = Fleet::start(2, &["--seal-key-file", "seal.key"]);
    fleet.write("repo/shop/a.yaml", &map("a", "v1"));
    let commit = fleet.commit("begin");
    fleet.shop("{ stages: [{ name: all }] }");
    fleet.healthy(&commit);
    let before = fleet.everywhere("configmaps", "a");
    fleet.write("backup.key", secret);

    // while it runs
    let said = fleet.good("hub backup sealed.backup --passphrase-file backup.key");
    assert!(!said.contains("warning"), "{said}");
    let (said, code) = fleet.run("hub backup sealed.backup --passphrase-file backup.key");
    assert_eq!(code, 1);
    assert!(said.contains("is there already"), "{said}");
    let said = fleet.good("hub backup open.backup");
    assert!(said.contains("not sealed"), "{said}");
    for name in ["sealed.backup", "open.backup"] {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(fleet.path(name))
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let bytes = std::fs::read(fleet.path("sealed.backup")).expect("there");
    assert!(!bytes.windows(15).any(|part| part == b"SQLite format 3"));
    let (said, code) = fleet.run("hub backup x.backup --data hub");
    assert_eq!(code, 1);
    assert!(said.contains("leave --data out"), "{said}");
    let audit = fleet.good("get audit");
    assert!(
        audit.contains("backup") && audit.contains("keys included"),
        "{audit}"
    );

    // it is lost altogether
    fleet.kill_hub();
    std::fs::remove_dir_all(fleet.path("hub")).expect("removed");
    let (said, code) = fleet.run("hub restore --from sealed.backup --data hub");
    assert_eq!(code, 1);
    assert!(
        said.contains("is sealed") && said.contains("--passphrase-file"),
        "{said}"
    );
    fleet.write("wrong.key", "another horse altogether");
    let (said, code) =
        fleet.run("hub restore --from sealed.backup --data hub --passphrase-file wrong.key");
    assert_eq!(code, 1);
    assert!(said.contains("another secret"), "{said}");
    let said =
        fleet.good("hub restore --from sealed.backup --data hub --passphrase-file backup.key");
    assert!(said.contains("epoch 2"), "{said}");
    fleet.start_hub();
    fleet.hub_is_up();
    fleet.connected();
    fleet.healthy(&commit);
    assert_eq!(fleet.everywhere("configmaps", "a"), before);
    fleet.write("repo/shop/a.yaml", &map("a", "v2"));
    let commit = fleet.commit("after the restore");
    fleet.healthy(&commit);
    let said = fleet.good("get hub -o wide");
    assert!(said.contains("true"), "{said}");

    // without a hub, from its file, by way of another program
    fleet.kill_hub();
    let whole = command(
        fleet.folder.path(),
        "hub backup - --data hub --passphrase-file backup.key",
    )
    .output()
    .expect("it runs");
    assert!(whole.status.success(), "{whole:?}");
    assert!(whole.stdout.starts_with(b"roadstead sealed backup "));
    std::fs::write(fleet.path("piped.backup"), &whole.stdout).expect("written");
    let said =
        fleet.good("hub restore --from piped.backup --data hub --passphrase-file backup.key");
    assert!(said.contains("what was there before is at"), "{said}");
    fleet.start_hub();
    fleet.hub_is_up();
    fleet.connected();
}

#[test]
fn a_huge_file_in_a_repository_is_refused_by_its_size_and_costs_no_memory() {
    let fleet = Fleet::start(1, &[]);
    fleet.write("repo/shop/a.yaml", &map("a", "v1"));
    let commit = fleet.commit("begin");
    fleet.shop("{ stages: [{ name: all }] }");
    fleet.healthy(&commit);
    // a repository of its own with a gigabyte in one file, of zeros: a megabyte when packed
    let huge = fleet.path("huge");
    std::fs::create_dir_all(&huge).expect("a folder");
    let git = |arguments: &[&str]| {
        let done = Command::new("git")
            .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.com"])
            .args(arguments)
            .current_dir(&huge)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .status()
            .expect("git runs");
        assert!(done.success(), "git {arguments:?}");
    };
    git(&["init", "-q", "-b", "main", "."]);
    let file = std::fs::File::create(huge.join("disk.img")).expect("a file");
    file.set_len(1 << 30).expect("grown");
    git(&["add", "-A"]);
    git(&["commit", "-qm", "a disk"]);
    std::fs::remove_file(huge.join("disk.img")).expect("removed");
    let url = format!("file://{}", huge.display());
    fleet.write("huge.yaml", &format!(
        "apiVersion: roadstead.dev/v1alpha1\nkind: Source\nmetadata: {{ name: huge }}\nspec: {{ git: {{ url: '{url}', branch: main }}, interval: 2s }}\n"
    ));
    fleet.good("apply -f huge.yaml");
    let said = fleet.until("the Source says that it is too large", || {
        let source = fleet.json("get source huge");
        let conditions = source["status"]["conditions"].to_string();
        conditions
            .contains("larger than")
            .then_some(conditions.clone())
            .ok_or(conditions)
    });
    assert!(said.contains("larger than 134217728 bytes"), "{said}");
    assert!(
        said.contains("move what is large out of the repository"),
        "{said}"
    );
    // nobody else is slowed
    fleet.write("repo/shop/a.yaml", &map("a", "v2"));
    let commit = fleet.commit("go on");
    fleet.healthy(&commit);
    let hub = fleet.hub.as_ref().expect("a hub").0.id();
    let status = std::fs::read_to_string(format!("/proc/{hub}/status")).unwrap_or_default();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    if let Some(peak) = peak {
        println!("the hub took at most {} MiB", peak >> 10);
        assert!(peak < 400 << 10, "the hub took {peak} KiB");
    }
}
