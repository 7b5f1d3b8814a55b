//! Is the agent well? A quiet one is; one that has something to do and does not do it is not.
//!
//! `/livez` fails when a step of the loop hangs, or when a time passed at which the machine had to be woken and was not:
//! a restart may help then. It does not fail when the cluster or the hub cannot be reached, since a restart would not
//! help; `/readyz` says that.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// How long one step, or a time that passed unseen, is no reason to worry.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the loop is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    /// It has not joined or does not lead yet.
    Starting,
    /// Another replica leads.
    StandingBy,
    /// It waits for something to happen.
    Waiting,
    /// It is in a step, since then.
    Working(Instant),
    /// It tries again and again to keep its records, since then.
    Keeping(Instant),
}

#[derive(Debug)]
struct Pulse {
    doing: Doing,
    /// When the machine wants to be woken.
    due: Option<Instant>,
    hub: Option<bool>,
    /// Why its records cannot be kept.
    problem: String,
    /// Why the hub will not have it.
    refused: String,
}

/// What the loop tells, and the endpoint shows.
#[derive(Debug, Clone)]
pub(crate) struct Health(Arc<Mutex<Pulse>>);

impl Health {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Pulse {
            doing: Doing::Starting,
            due: None,
            hub: None,
            problem: String::new(),
            refused: String::new(),
        })))
    }

    pub(crate) fn doing(&self, doing: Doing) {
        let mut pulse = self.0.lock();
        pulse.doing = doing;
        if !matches!(doing, Doing::Keeping(_)) {
            pulse.problem.clear();
        }
        if matches!(doing, Doing::Starting | Doing::StandingBy) {
            pulse.due = None;
            pulse.hub = None;
        }
    }

    pub(crate) fn due(&self, due: Option<Instant>) {
        self.0.lock().due = due;
    }

    pub(crate) fn hub(&self, reached: bool) {
        let mut pulse = self.0.lock();
        pulse.hub = Some(reached);
        if reached {
            pulse.refused.clear();
        }
    }

    /// The hub will not have this agent; the cluster is looked after all the same.
    pub(crate) fn refused(&self, why: String) {
        self.0.lock().refused = why;
    }

    pub(crate) fn cannot_keep(&self, since: Instant, problem: String) {
        let mut pulse = self.0.lock();
        pulse.doing = Doing::Keeping(since);
        pulse.problem = problem;
    }

    /// Why a restart may help; `None` when all is well.
    fn stuck(&self, now: Instant) -> Option<String> {
        let pulse = self.0.lock();
        let late = |since: Instant| {
            let late = now.saturating_duration_since(since);
            (late > PATIENCE).then_some(late.as_secs())
        };
        match pulse.doing {
            Doing::Working(since) => {
                late(since).map(|seconds| format!("one step has taken {seconds} s"))
            }
            Doing::Waiting => pulse
                .due
                .and_then(late)
                .map(|seconds| format!("something was to be done {seconds} s ago, and was not")),
            Doing::Starting | Doing::StandingBy | Doing::Keeping(_) => None,
        }
    }

    /// Everything, for a person.
    fn shown(&self, now: Instant) -> (bool, Value) {
        let stuck = self.stuck(now);
        let pulse = self.0.lock();
        let (ready, state) = match pulse.doing {
            Doing::Starting => (false, "starting"),
            Doing::StandingBy => (true, "standing by"),
            Doing::Waiting => (true, "quiet"),
            Doing::Working(_) => (true, "working"),
            Doing::Keeping(_) => (false, "cannot keep its records"),
        };
        let shown = json!({
            "state": if stuck.is_some() { "stuck" } else { state },
            "hub": match pulse.hub { Some(true) => "connected", Some(false) => "away", None => "unknown" },
            "refused": pulse.refused,
            "problem": stuck.clone().unwrap_or_else(|| pulse.problem.clone()),
        });
        (ready && stuck.is_none(), shown)
    }

    fn answer(&self, path: &str, now: Instant) -> (StatusCode, Value) {
        let (ready, shown) = self.shown(now);
        let good = match path {
            "/livez" | "/healthz" => self.stuck(now).is_none(),
            "/readyz" => ready,
            _ => {
                return (
                    StatusCode::NOT_FOUND,
                    json!({ "problem": "there are /livez and /readyz" }),
                );
            }
        };
        let code = if good {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        (code, shown)
    }

    /// Answers on a port, in a thread of its own: a loop that hangs must not keep it from being said.
    pub(crate) fn serve(&self, listener: std::net::TcpListener) -> std::io::Result<()> {
        let health = self.clone();
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::Builder::new()
            .name("health".to_owned())
            .spawn(move || runtime.block_on(health.accept(listener)))?;
        Ok(())
    }

    async fn accept(self, listener: std::net::TcpListener) {
        let Ok(listener) = TcpListener::from_std(listener) else {
            return;
        };
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let health = self.clone();
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let (code, shown) = health.answer(request.uri().path(), Instant::now());
                let mut response = Response::new(Full::new(Bytes::from(format!("{shown}\n"))));
                *response.status_mut() = code;
                async move { Ok::<_, Infallible>(response) }
            });
            tokio::spawn(async move {
                let serving = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(Duration::from_secs(5))
                    .keep_alive(false)
                    .serve_connection(TokioIo::new(stream), service);
                let _ = tokio::time::timeout(Duration::from_secs(10), serving).await;
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stuck_agent_is_told_from_a_quiet_one() {
        let start = Instant::now();
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        let check = |set: &dyn Fn(&Health), now: Instant, live: bool, ready: bool| {
            let health = Health::new();
            set(&health);
            let is = |path: &str| health.answer(path, now).0 == StatusCode::OK;
            assert_eq!(
                (is("/livez"), is("/readyz")),
                (live, ready),
                "{:?}",
                health.shown(now).1
            );
        };
        // nothing to do for a day
        check(&|h| h.doing(Doing::Waiting), after(86_400), true, true);
        check(&|h| h.doing(Doing::StandingBy), after(86_400), true, true);
        check(&|h| h.doing(Doing::Starting), after(86_400), true, false);
        let due = |h: &Health| {
            h.doing(Doing::Waiting);
            h.due(Some(after(60)));
        };
        check(&due, after(100), true, true);
        check(&due, after(200), false, false);
        check(&|h| h.doing(Doing::Working(start)), after(10), true, true);
        check(
            &|h| h.doing(Doing::Working(start)),
            after(130),
            false,
            false,
        );
        // a restart mends no full disk
        check(
            &|h| h.cannot_keep(start, "full".to_owned()),
            after(86_400),
            true,
            false,
        );
    }
}
