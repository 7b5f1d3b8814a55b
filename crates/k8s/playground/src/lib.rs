//! Simulated Kubernetes clusters: thousands in one process, on top of the API server library.
//!
//! Each cluster is a fork of one shared image with controllers that make delivery look real: Deployments roll, pods
//! come up in stages or fail as they are told, namespaces and owned objects go. Nothing here has a clock, a thread or a
//! timer: [`Playground::run_due`] does what is due, [`Playground::next_due`] tells when to come again, and clusters
//! where nothing is due cost nothing but their bytes.
//!
//! What it does not do: run containers, check what admission would check in depth, count what is used on a node.

mod admission;
mod api;
mod cluster;
mod config;
mod controllers;
mod counters;
mod cx;
mod dice;
mod fault;
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
pub use playground::{Handle, Playground, PlaygroundError};
pub use virtual_time::VirtualTime;
