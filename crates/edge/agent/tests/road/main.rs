//! Agents on simulated clusters, with a hub of a few lines over real TLS.

mod deliver;
mod hub;
mod real;
mod replicas;
mod trouble;
