//! Clusters over HTTP, simulated and real.

mod real;
mod simulated;
