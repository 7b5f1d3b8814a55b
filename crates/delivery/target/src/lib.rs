//! Clusters and an App to who gets which variant.
