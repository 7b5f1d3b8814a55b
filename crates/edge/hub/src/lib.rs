//! The hub: background tasks, agent gateway, API.
