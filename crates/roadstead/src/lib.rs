//! The roadstead binary: flags, config, logging, terminal output.
