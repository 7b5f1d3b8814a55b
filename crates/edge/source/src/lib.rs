//! Git to an immutable tree by digest.
