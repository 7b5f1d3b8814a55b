//! Clusters over HTTP, simulated and real.

mod kube_rs;
mod real;
mod simulated;
