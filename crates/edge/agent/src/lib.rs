//! Drives the sync state machine against a cluster.
