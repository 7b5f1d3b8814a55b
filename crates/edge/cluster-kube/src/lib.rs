//! A real cluster behind the cluster trait.
