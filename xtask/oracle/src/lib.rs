//! Real Kubernetes control planes for tests: etcd, kube-apiserver, its controllers and its scheduler as processes of this
//! machine, on loopback ports; on demand one with a real node.
//!
//! It runs what `cargo xtask oracle build` has built and builds nothing itself. Every process that it starts is ended by its
//! id when the value that stands for it is dropped, and by the kernel if the test dies before that. Everything blocks.

mod client;
mod control_plane;
mod node;
mod pki;
mod process;
mod state;
mod tools;

pub use client::{Answer, Client, Held};
pub use control_plane::{ControlPlane, RealCluster, Settings};
pub use node::{Node, node_is_possible};
pub use pki::{Authority, Pair};
pub use process::{Lifetime, Process, Recorded, wait_until};
pub use state::{State, Written};
pub use tools::{Tools, cache};
