//! How bytes travel to a remote: HTTP inside this process, everything else through a program.

use std::ffi::OsString;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use gix::protocol::transport::client::blocking_io::{Transport, http};
use gix::protocol::transport::client::git::{ConnectMode, blocking_io::Connection};
use gix::protocol::transport::{Protocol, client};
use gix::url::Scheme;

use crate::bounded::Bounded;
use crate::guard::{Guard, lock};
use crate::request::{Auth, GitRequest, SshKey};
use crate::url::RemoteUrl;
use crate::{SourceError, sources::Programs};

/// A transport that is ready for the handshake, and what was said on the way.
pub(crate) struct Connected {
    pub(crate) transport: Box<dyn Transport + Send>,
    /// Options that belong to the transport, for HTTP only.
    pub(crate) options: Option<Box<dyn std::any::Any>>,
    /// What the program writes to standard error.
    pub(crate) stderr: Stderr,
    /// Files that must live as long as the program.
    _files: Vec<PrivateFile>,
}

/// The beginning of what a program said on standard error.
#[derive(Clone, Default)]
pub(crate) struct Stderr(Option<Arc<(Mutex<Said>, Condvar)>>);

#[derive(Default)]
struct Said {
    text: Vec<u8>,
    ended: bool,
}

impl Stderr {
    const LIMIT: usize = 8 << 10;

    fn follow(mut from: ChildStderr) -> Self {
        let shared = Arc::new((Mutex::new(Said::default()), Condvar::new()));
        let sink = shared.clone();
        // Reading on after the limit keeps the program from blocking on a full pipe.
        std::thread::spawn(move || {
            let mut chunk = [0; 1024];
            while let Ok(n @ 1..) = from.read(&mut chunk) {
                let mut said = lock(&sink.0);
                let room = Self::LIMIT.saturating_sub(said.text.len()).min(n);
                said.text.extend_from_slice(&chunk[..room]);
            }
            lock(&sink.0).ended = true;
            sink.1.notify_all();
        });
        Self(Some(shared))
    }

    /// Returns what was said, once the program ended or a moment passed: its last words come after its output ended.
    pub(crate) fn text(&self) -> String {
        let Some(shared) = &self.0 else {
            return String::new();
        };
        let moment = Duration::from_secs(1);
        let said = shared
            .1
            .wait_timeout_while(lock(&shared.0), moment, |said| !said.ended)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        String::from_utf8_lossy(&said.text).trim().to_owned()
    }
}

/// Variables that would point Git at another repository, configuration or program than the one named.
const GIT_VARIABLES: &[&str] = &[
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_CEILING_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DIR",
    "GIT_EXEC_PATH",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_QUARANTINE_PATH",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_TRACE",
    "GIT_TRACE_PACKET",
    "GIT_WORK_TREE",
];

pub(crate) fn connect(
    url: &RemoteUrl,
    request: &GitRequest,
    programs: &Programs,
    private: &Path,
    guard: &Guard,
) -> Result<Connected, SourceError> {
    match url.url.scheme {
        Scheme::Http | Scheme::Https => connect_http(url, request, guard),
        Scheme::Ssh => connect_ssh(url, request, programs, private, guard),
        _ => connect_file(url, programs, guard),
    }
}

fn connect_http(
    url: &RemoteUrl,
    request: &GitRequest,
    guard: &Guard,
) -> Result<Connected, SourceError> {
    let authorities = match &request.ca_bundle {
        None => Vec::new(),
        Some(pem) => certificates(url, pem)?,
    };
    let timeout = guard.remaining();
    let configure = move |builder: reqwest::blocking::ClientBuilder| {
        let builder = builder
            .timeout(timeout)
            .connect_timeout(timeout.min(Duration::from_secs(20)));
        Ok(builder.tls_certs_merge(authorities.clone()))
    };
    let options = http::Options {
        user_agent: Some(concat!("git/roadstead-", env!("CARGO_PKG_VERSION")).into()),
        backend: Some(Arc::new(Mutex::new(http::reqwest::Options {
            configure_client: Some(Box::new(configure)),
            configure_request: None,
        }))),
        ..http::Options::default()
    };
    let transport = http::connect_http(Bounded::new(guard), url.url.clone(), Protocol::V2, false);
    Ok(Connected {
        transport: Box::new(transport),
        options: Some(Box::new(options)),
        stderr: Stderr::default(),
        _files: Vec::new(),
    })
}

fn certificates(url: &RemoteUrl, pem: &[u8]) -> Result<Vec<reqwest::Certificate>, SourceError> {
    let invalid = |reason: String| SourceError::InvalidCaBundle {
        url: url.shown.clone(),
        reason,
    };
    let found = reqwest::Certificate::from_pem_bundle(pem).map_err(|e| invalid(chain(&e)))?;
    if found.is_empty() {
        return Err(invalid("it holds no certificate".into()));
    }
    Ok(found)
}

fn connect_file(
    url: &RemoteUrl,
    programs: &Programs,
    guard: &Guard,
) -> Result<Connected, SourceError> {
    let path = String::from_utf8_lossy(&url.url.path).into_owned();
    if !Path::new(&path).is_dir() {
        return Err(SourceError::NotARepository {
            url: url.shown.clone(),
            reason: "there is no such folder".into(),
        });
    }
    let mut command = Command::new(&programs.git);
    command.args(["upload-pack", &path]);
    command.env("GIT_PROTOCOL", "version=2");
    // A promisor repository must not make us run what it is configured to fetch with.
    command.env("GIT_NO_LAZY_FETCH", "1");
    spawn(url, command, Vec::new(), guard)
}

fn connect_ssh(
    url: &RemoteUrl,
    request: &GitRequest,
    programs: &Programs,
    private: &Path,
    guard: &Guard,
) -> Result<Connected, SourceError> {
    let mut files = Vec::new();
    let mut command = Command::new(&programs.ssh);
    let seconds = guard.remaining().as_secs().clamp(1, 30);
    for option in [
        "BatchMode=yes".to_owned(),
        format!("ConnectTimeout={seconds}"),
        "ServerAliveInterval=15".to_owned(),
        "SendEnv=GIT_PROTOCOL".to_owned(),
        // A forwarded agent, a tunnel or a local command are none of a fetch's business.
        "ForwardAgent=no".to_owned(),
        "ClearAllForwardings=yes".to_owned(),
        "PermitLocalCommand=no".to_owned(),
    ] {
        command.arg("-o").arg(option);
    }
    if let Auth::Ssh { key, known_hosts } = &request.auth {
        let path = match key {
            SshKey::Path(path) => path.clone(),
            SshKey::Inline(text) => {
                // OpenSSH refuses a key file without a last line feed.
                let text = format!("{}\n", text.trim_end());
                let file = PrivateFile::create(private, text.as_bytes())?;
                files.push(file);
                files[files.len() - 1].0.clone()
            }
        };
        command
            .arg("-i")
            .arg(path)
            .args(["-o", "IdentitiesOnly=yes"]);
        if let Some(hosts) = known_hosts {
            let file = PrivateFile::create(private, hosts.as_bytes())?;
            let mut option = OsString::from("UserKnownHostsFile=");
            option.push(&file.0);
            command.arg("-o").arg(option);
            command.args(["-o", "GlobalKnownHostsFile=/dev/null"]);
            command.args(["-o", "StrictHostKeyChecking=yes"]);
            files.push(file);
        }
    }
    if let Some(port) = url.url.port {
        command.arg("-p").arg(port.to_string());
    }
    let host = url.url.host().unwrap_or_default();
    let path = String::from_utf8_lossy(&url.url.path);
    // "/~user/…" is how an ssh URL spells a path below a home folder.
    let path = match path.strip_prefix('/') {
        Some(home) if home.starts_with('~') => home,
        _ => &path,
    };
    command.arg(match url.url.user() {
        Some(user) => format!("{user}@{host}"),
        None => host.to_owned(),
    });
    command.arg(format!("git-upload-pack {}", quote(path)));
    command.env("GIT_PROTOCOL", "version=2");
    command.env("LC_ALL", "C");
    command.env_remove("SSH_ASKPASS");
    spawn(url, command, files, guard)
}

/// Quotes a word for the remote shell.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn spawn(
    url: &RemoteUrl,
    mut command: Command,
    files: Vec<PrivateFile>,
    guard: &Guard,
) -> Result<Connected, SourceError> {
    for name in GIT_VARIABLES {
        command.env_remove(name);
    }
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |source| SourceError::Program {
        url: url.shown.clone(),
        program,
        source,
    };
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(source) => return Err(failed(source)),
    };
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(failed(std::io::ErrorKind::BrokenPipe.into()));
    };
    guard.adopt(child);
    let connection = Connection::new(
        stdout,
        stdin,
        Protocol::V2,
        url.url.path.clone(),
        None::<(&str, _)>,
        ConnectMode::Process,
        false,
    )
    .custom_url(Some(url.shown.as_str().into()));
    Ok(Connected {
        transport: Box::new(connection),
        options: None,
        stderr: Stderr::follow(stderr),
        _files: files,
    })
}

/// A file that only its owner may read, and that goes when it is dropped.
struct PrivateFile(PathBuf);

impl PrivateFile {
    fn create(folder: &Path, content: &[u8]) -> Result<Self, SourceError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let file = Self(folder.join(format!("{}-{number}", std::process::id())));
        let write = || {
            let mut out = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&file.0)?;
            out.write_all(content)
        };
        write().map_err(SourceError::cache(file.0.clone()))?;
        Ok(file)
    }
}

impl Drop for PrivateFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Whether this error says that the remote wants credentials.
pub(crate) fn wants_credentials(error: &(dyn std::error::Error + 'static)) -> bool {
    error.is::<client::AuthenticationRequired>()
        || error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
            .is_some_and(|inner| inner.is::<client::AuthenticationRequired>())
}

/// Joins an error and its sources, without saying the same thing twice.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let said = source.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = source.source();
    }
    text
}
