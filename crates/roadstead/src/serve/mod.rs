//! The roles that stay up: hub and agent.

pub(crate) mod agent;
pub(crate) mod hub;
