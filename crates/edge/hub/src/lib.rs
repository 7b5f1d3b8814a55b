//! The hub: wires the road together.
//!
//! One thread knows and decides ([`brain`]); tasks around it poll Sources, render, serve agents and the API, and write
//! what people see. Each of them calls a crate and does little else.

mod api;
mod brain;
mod clock;
mod error;
mod front;
mod gateway;
mod housekeeping;
mod identity;
mod metrics;
mod orders;
mod plan;
mod renders;
mod serve;
mod shown;
mod sources;
mod variants;

pub use error::HubError;
pub use serve::{Hub, HubConfig, Kubeconfig};
