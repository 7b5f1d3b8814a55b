//! Ends what takes too long: a deadline, the caller's interrupt and a bound on disk, for one piece of blocking work.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Why work was ended from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    Timeout,
    Interrupted,
    TooLarge,
}

/// What the work sees of its guard.
pub(crate) struct Guard {
    /// Set when the work should end.
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) deadline: Instant,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    done: bool,
    stopped: Option<Stopped>,
    child: Option<Child>,
}

/// How often the guard looks at the interrupt and at the disk.
const TICK: Duration = Duration::from_millis(50);

impl Guard {
    /// Takes a program over that the work reads from: it is killed when the work is to end, and reaped in any case.
    pub(crate) fn adopt(&self, child: Child) {
        let mut state = lock(&self.state);
        if let Some(mut earlier) = state.child.replace(child) {
            reap(&mut earlier);
        }
        if state.stopped.is_some() {
            kill(&mut state);
        }
    }

    /// Returns the time that is left, at least a millisecond.
    pub(crate) fn remaining(&self) -> Duration {
        self.deadline
            .saturating_duration_since(Instant::now())
            .max(Duration::from_millis(1))
    }
}

/// Runs `work` under guard. The second answer says whether, and why, it was ended; `None` as the first says that it
/// panicked.
pub(crate) fn run<T>(
    deadline: Instant,
    interrupt: &AtomicBool,
    folder: &Path,
    folder_limit: u64,
    work: impl FnOnce(&Guard) -> T,
) -> (Option<T>, Option<Stopped>) {
    let guard = Guard {
        stop: Arc::default(),
        deadline,
        state: Mutex::default(),
        wake: Condvar::new(),
    };
    let result = std::thread::scope(|scope| {
        scope.spawn(|| watch(&guard, interrupt, folder, folder_limit));
        // Damaged packs can make the pack reader panic; the watcher has to be told to end all the same.
        let result = catch_unwind(AssertUnwindSafe(|| work(&guard))).ok();
        lock(&guard.state).done = true;
        guard.wake.notify_all();
        result
    });
    let mut state = lock(&guard.state);
    if let Some(mut child) = state.child.take() {
        reap(&mut child);
    }
    (result, state.stopped)
}

fn watch(guard: &Guard, interrupt: &AtomicBool, folder: &Path, folder_limit: u64) {
    let mut state = lock(&guard.state);
    let mut ticks = 0u32;
    while !state.done {
        if state.stopped.is_none() {
            let now = Instant::now();
            let stopped = if interrupt.load(Ordering::Relaxed) {
                Some(Stopped::Interrupted)
            } else if now >= guard.deadline {
                Some(Stopped::Timeout)
            } else if ticks % 4 == 3 && folder_bytes(folder) > folder_limit {
                Some(Stopped::TooLarge)
            } else {
                None
            };
            if stopped.is_some() {
                state.stopped = stopped;
                guard.stop.store(true, Ordering::Relaxed);
                kill(&mut state);
            }
        }
        ticks = ticks.wrapping_add(1);
        state = guard
            .wake
            .wait_timeout(state, TICK)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
    }
}

fn kill(state: &mut State) {
    if let Some(child) = &mut state.child {
        let _ = child.kill();
    }
}

/// Lets a program that has nothing more to say end by itself, and kills it when it does not.
fn reap(child: &mut Child) {
    drop(child.stdin.take());
    for _ in 0..20 {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Sums the files of one folder.
pub(crate) fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .filter(fs::Metadata::is_file)
        .map(|meta| meta.len())
        .sum()
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn ends_work_for_each_reason() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("pack"), [0; 100]).unwrap();
        for (deadline, interrupt, limit, expected) in [
            (30_000, false, 1000, None),
            (60, false, 1000, Some(Stopped::Timeout)),
            (30_000, true, 1000, Some(Stopped::Interrupted)),
            (30_000, false, 99, Some(Stopped::TooLarge)),
        ] {
            let (seen, stopped) = run(
                Instant::now() + Duration::from_millis(deadline),
                &AtomicBool::new(interrupt),
                folder.path(),
                limit,
                |guard| {
                    for _ in 0..200 {
                        if guard.stop.load(Ordering::Relaxed) {
                            return true;
                        }
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    false
                },
            );
            assert_eq!((seen, stopped), (Some(expected.is_some()), expected));
        }
    }

    #[test]
    fn kills_a_program_that_hangs() {
        let child = std::process::Command::new("sleep")
            .arg("600")
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let start = Instant::now();
        let (_, stopped) = run(
            Instant::now() + Duration::from_millis(50),
            &AtomicBool::new(false),
            Path::new("/nonexistent"),
            0,
            |guard| {
                let mut child = child;
                let mut out = child.stdout.take().unwrap();
                guard.adopt(child);
                out.read(&mut [0; 1]).unwrap()
            },
        );
        assert_eq!(stopped, Some(Stopped::Timeout));
        assert!(start.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn survives_a_panic() {
        let (result, stopped) = run(
            Instant::now() + Duration::from_secs(30),
            &AtomicBool::new(false),
            Path::new("/nonexistent"),
            0,
            |_| -> () { panic!("as a damaged pack may") },
        );
        assert_eq!((result, stopped), (None, None));
    }
}
