//! The roles that stay up: hub and agent.

pub(crate) mod agent;
mod backup;
pub(crate) mod clusters;
pub(crate) mod hub;
pub(crate) mod playground;
