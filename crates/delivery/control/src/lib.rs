//! The hub's decisions: facts in, commits and renders out.
