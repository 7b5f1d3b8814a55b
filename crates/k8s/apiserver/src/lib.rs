//! A Kubernetes-style API server as a library.
