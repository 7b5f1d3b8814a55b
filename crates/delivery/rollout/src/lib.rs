//! The state machine of one Release through one Strategy.
