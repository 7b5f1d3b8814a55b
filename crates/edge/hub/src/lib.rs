//! The hub: wires the road together.
//!
//! One thread knows and decides ([`brain`]); tasks around it poll Sources, render, serve agents and the API, and write
//! what people see. Each of them calls a crate and does little else.

mod api;
mod audit;
mod brain;
mod clock;
mod error;
mod events;
mod front;
mod gateway;
mod handler;
mod health;
mod housekeeping;
mod identity;
mod invitations;
mod itself;
mod listing;
mod metrics;
mod orders;
mod plan;
mod reader;
mod renders;
pub mod seal;
mod serve;
mod shown;
mod sources;
mod survey;
mod tasks;
mod trial;
mod variants;
mod vault;

pub use error::HubError;
pub use serve::{Hub, HubConfig, Kubeconfig};
