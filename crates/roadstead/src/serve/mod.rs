//! The roles that stay up: hub and agent.

pub(crate) mod agent;
pub(crate) mod clusters;
pub(crate) mod hub;
pub(crate) mod playground;
