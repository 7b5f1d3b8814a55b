//! The agent's own state machine: phases, waves, apply, prune, heal, hold.
