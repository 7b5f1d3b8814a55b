//! Simulated Kubernetes clusters on top of the API server library.
