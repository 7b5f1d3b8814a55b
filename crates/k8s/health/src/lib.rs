//! Is this Kubernetes object healthy.
