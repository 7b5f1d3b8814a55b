//! Simulated Kubernetes clusters: thousands in one process, on top of the API server library.
//!
//! Each cluster is a fork of one shared image with controllers that make delivery look real: Deployments roll, pods
//! come up in stages or fail as they are told, namespaces and owned objects go. Nothing here has a clock, a thread or a
//! timer: [`Playground::run_due`] does what is due, [`Playground::next_due`] tells when to come again, and clusters
//! where nothing is due cost nothing but their bytes.
//!
//! | It does | It does not |
//! |---|---|
//! | Deployments (roll, recreate, pause, deadline, history), ReplicaSets, ReplicationControllers, StatefulSets (in order or in parallel, partition, claims), DaemonSets, Jobs (indexed, suspend, back-off, deadline, time to live) | CronJobs and other kinds: stored as they come |
//! | pods in stages, with readiness, restarts, back-off; faults by image tag, annotation or command; missing ConfigMaps and Secrets in environments and volumes | run containers, init containers, probes; logs, exec |
//! | nodes: selector, taints, cordon, requests larger than a node | affinity, adding up what pods on a node use |
//! | Services, EndpointSlices, load balancer and Ingress addresses, claims with a volume each | carry traffic or data |
//! | namespaces and their deletion, owned objects in the background, in the foreground, orphaned and adopted | |
//! | disruption budgets and autoscalers: a plain status | evict, scale |
//! | between a cluster and those who ask it: offline, latency, 429, 500; counters of what was asked | fail inside a cluster |
//!
//! A StatefulSet whose new pods never become ready is taken back without deleting them by hand; real ones get stuck there.

mod admission;
mod api;
mod cluster;
mod config;
mod controllers;
mod counters;
mod cx;
mod dice;
mod fault;
mod harness;
mod http;
mod image;
mod index;
mod inproc;
mod key;
mod kubelet;
mod life;
mod packed;
mod playground;
mod pods;
mod quantity;
mod queue;
mod sim;
mod virtual_time;

pub use admission::DENY_ANNOTATION;
pub use config::{Config, Span, Timings};
pub use counters::{Counters, Tally};
pub use fault::{FAULT_ANNOTATION, Fault, PodFault};
pub use harness::Simulation;
pub use playground::{Handle, Playground, PlaygroundError};
pub use virtual_time::VirtualTime;
