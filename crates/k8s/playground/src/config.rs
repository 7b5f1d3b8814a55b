//! How a playground behaves.

use serde::{Deserialize, Serialize};

/// A delay: at least this long, and up to `jitter_ms` more, by the cluster's seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Span {
    /// The least, in milliseconds.
    pub least_ms: u64,
    /// How much may be added, in milliseconds.
    pub jitter_ms: u64,
}

impl Span {
    /// Makes one.
    pub const fn new(least_ms: u64, jitter_ms: u64) -> Self {
        Self {
            least_ms,
            jitter_ms,
        }
    }

    pub(crate) fn times(self, factor: u64) -> Self {
        Self::new(
            self.least_ms.saturating_mul(factor),
            self.jitter_ms.saturating_mul(factor),
        )
    }
}

/// How long the stages of a pod's life and of other controllers take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Timings {
    /// From created to bound to a node.
    pub schedule: Span,
    /// From bound to containers being created.
    pub accept: Span,
    /// From containers being created to running: pulling the image and starting.
    pub start: Span,
    /// From running to ready.
    pub ready: Span,
    /// From running to the end, for pods that run to an end.
    pub run: Span,
    /// From running to a crash, for pods that crash.
    pub crash: Span,
    /// From asked to end to gone.
    pub stop: Span,
    /// From the first failure to the next try, of a pull or a crashed container; doubles each time.
    pub back_off: Span,
    /// The longest that a back-off becomes, in milliseconds.
    pub back_off_max_ms: u64,
    /// How much longer everything takes in a pod with the fault `slow`.
    pub slow_factor: u64,
    /// How long a controller waits for more changes before it writes what follows from many (endpoints).
    pub gather: Span,
    /// How long until a volume is there, or a load balancer has its address.
    pub provision: Span,
    /// How often a pod that cannot be placed or configured is tried again.
    pub retry: Span,
    /// How long Events are kept, in milliseconds.
    pub event_ttl_ms: u64,
    /// How long history is kept after the last write, in milliseconds: until then a watch can go on from an old revision.
    pub history_ms: u64,
}

impl Default for Timings {
    /// A pod is ready 200 to 800 ms after it was created.
    fn default() -> Self {
        Self {
            schedule: Span::new(10, 40),
            accept: Span::new(20, 60),
            start: Span::new(80, 300),
            ready: Span::new(90, 300),
            run: Span::new(300, 600),
            crash: Span::new(100, 200),
            stop: Span::new(50, 150),
            back_off: Span::new(400, 200),
            back_off_max_ms: 30_000,
            slow_factor: 20,
            gather: Span::new(20, 0),
            provision: Span::new(100, 200),
            retry: Span::new(1000, 500),
            event_ttl_ms: 3_600_000,
            history_ms: 300_000,
        }
    }
}

impl Timings {
    /// Everything comes at once, but what has failed is tried again only after a second: for simulations that care about
    /// outcomes and not about the way there.
    pub fn instant() -> Self {
        let at_once = Span::new(0, 0);
        let second = Span::new(1000, 0);
        Self {
            schedule: at_once,
            accept: at_once,
            start: at_once,
            ready: at_once,
            run: at_once,
            crash: at_once,
            stop: at_once,
            back_off: second,
            gather: at_once,
            provision: at_once,
            retry: second,
            ..Self::default()
        }
    }
}

/// What a playground is made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Config {
    /// Everything random comes from this and the clusters' names.
    pub seed: u64,
    /// The version that the clusters claim to have.
    pub kubernetes_version: String,
    /// How long things take.
    pub timings: Timings,
    /// How many nodes each cluster has.
    pub nodes: u32,
    /// Are Kubernetes Events written?
    pub events: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 0,
            kubernetes_version: "v1.36.3".to_owned(),
            timings: Timings::default(),
            nodes: 3,
            events: true,
        }
    }
}
