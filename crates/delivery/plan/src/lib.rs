//! What would change, grouped.
