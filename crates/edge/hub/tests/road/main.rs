//! The whole road: a hub, real Git repositories, simulated clusters, and an agent for each over real mTLS.

mod adopting;
mod api;
mod bad_apps;
mod bad_clusters;
mod bad_hubs;
mod charts;
mod deliver;
mod full;
mod host;
mod invited;
mod kustomize;
mod ops;
mod real;
mod repository;
mod world;
