//! Processes that are ended by their id, and no others.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

/// How long a process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// It dies with the process that started it, however that ends.
    Tied,
    /// It stays until it is ended by what was written down of it.
    Detached,
}

/// What is written down of a process, to know it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// What it is.
    pub name: String,
    /// Its id.
    pub pid: u32,
    /// When it started, in the kernel's ticks since boot: another process with this id has another time.
    pub started: u64,
}

impl Recorded {
    /// Does it still run?
    pub fn is_alive(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }

    /// Asks it to end, waits so long, and then makes it end. Says whether it was there.
    pub fn end(&self, patience: Duration) -> bool {
        if !self.is_alive() {
            return false;
        }
        if !patience.is_zero() {
            self.signal(Signal::TERM);
            let until = Instant::now() + patience;
            while self.is_alive() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        if self.is_alive() {
            self.signal(Signal::KILL);
        }
        let until = Instant::now() + Duration::from_secs(5);
        while self.is_alive() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// Stops it in its tracks, or lets it go on.
    pub fn freeze(&self, frozen: bool) {
        self.signal(if frozen { Signal::STOP } else { Signal::CONT });
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            // it may have ended by itself in between
            let _ = kill_process(pid, signal);
        }
    }
}

/// When a process started; `None` if there is none, or if it has ended and waits to be collected.
fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // the name in parentheses may hold anything
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let ended = matches!(fields.next(), Some("Z" | "X"));
    fields.nth(18)?.parse().ok().filter(|_| !ended)
}

/// A process of ours; dropping it ends it if it is [`Lifetime::Tied`].
#[derive(Debug)]
pub struct Process {
    child: Child,
    recorded: Recorded,
    log: PathBuf,
    lifetime: Lifetime,
}

type Job = Box<dyn FnOnce() + Send>;

/// Runs a job on a thread that never ends: the kernel ends a tied process with the *thread* that started it.
fn on_nursery<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
    static NURSERY: OnceLock<Mutex<Sender<Job>>> = OnceLock::new();
    let nursery = NURSERY.get_or_init(|| {
        let (sender, receiver) = channel::<Job>();
        std::thread::spawn(move || receiver.iter().for_each(|job| job()));
        Mutex::new(sender)
    });
    let (answer, answered) = channel();
    let job: Job = Box::new(move || {
        // whoever asked waits for it
        let _ = answer.send(job());
    });
    let sent = nursery
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send(job);
    if sent.is_err() {
        bail!("the thread that starts processes has ended");
    }
    answered
        .recv()
        .context("the thread that starts processes has ended")
}

impl Process {
    /// Starts a program; what it says goes into the log file, anew.
    pub fn start(
        name: &str,
        program: &Path,
        args: &[String],
        log: &Path,
        lifetime: Lifetime,
    ) -> anyhow::Result<Self> {
        let mut command = match lifetime {
            Lifetime::Detached => Command::new(program),
            Lifetime::Tied => {
                let mut command = Command::new("setpriv");
                command.args(["--pdeathsig", "KILL", "--"]).arg(program);
                command
            }
        };
        let out = File::create(log).with_context(|| format!("failed to make {}", log.display()))?;
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(out.try_clone().context("failed to share the log file")?)
            .stderr(out);
        // Ctrl-C is for whoever started it, who then ends it in order
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = on_nursery(move || command.spawn())?
            .with_context(|| format!("failed to start {}", program.display()))?;
        let pid = child.id();
        let recorded = Recorded {
            name: name.to_owned(),
            pid,
            started: start_time(pid).unwrap_or(0),
        };
        Ok(Self {
            child,
            recorded,
            log: log.to_owned(),
            lifetime,
        })
    }

    /// What it takes to know it again.
    pub fn recorded(&self) -> &Recorded {
        &self.recorded
    }

    /// How long it lives.
    pub fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    /// Fails with the end of its log if it has ended.
    pub fn check(&mut self) -> anyhow::Result<()> {
        let Some(status) = self.child.try_wait().context("failed to look after it")? else {
            return Ok(());
        };
        bail!(
            "{} ended with {status}; its log {} ends with:\n{}",
            self.recorded.name,
            self.log.display(),
            self.last_words()
        )
    }

    /// The last lines of its log.
    pub fn last_words(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        // it may have ended by itself
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.lifetime == Lifetime::Tied {
            self.kill();
        }
    }
}

/// Asks again and again until the answer is there; `what` is what was waited for.
pub fn wait_until<T>(
    what: &str,
    patience: Duration,
    mut look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let until = Instant::now() + patience;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() > until {
            bail!("waited {} s for {what}", patience.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(lifetime: Lifetime) -> (tempfile::TempDir, Process) {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let args = ["300".to_owned()];
        let process = Process::start("sleep", Path::new("sleep"), &args, &log, lifetime).unwrap();
        (folder, process)
    }

    #[test]
    fn ends_exactly_what_was_written_down() {
        let (_folder, mut process) = sleeper(Lifetime::Detached);
        let recorded = process.recorded().clone();
        assert!(recorded.is_alive());
        let other = Recorded {
            started: recorded.started + 1,
            ..recorded.clone()
        };
        assert!(!other.end(Duration::ZERO), "another process with this id");
        assert!(recorded.is_alive());
        assert!(recorded.end(Duration::from_secs(5)));
        assert!(!recorded.is_alive());
        assert!(process.check().is_err());
    }

    #[test]
    fn what_is_tied_ends_when_it_is_dropped() {
        let (_folder, process) = sleeper(Lifetime::Tied);
        let recorded = process.recorded().clone();
        assert!(recorded.is_alive());
        drop(process);
        assert!(!recorded.is_alive());
    }

    #[test]
    fn says_why_something_ended() {
        let folder = tempfile::tempdir().unwrap();
        let args = ["-c".to_owned(), "echo no such luck; exit 3".to_owned()];
        let log = folder.path().join("log");
        let mut process =
            Process::start("sh", Path::new("sh"), &args, &log, Lifetime::Tied).unwrap();
        let error = wait_until("its end", Duration::from_secs(10), || {
            Ok(process.check().err())
        });
        let error = error.unwrap().to_string();
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(error.contains("no such luck"), "{error}");
    }
}
