//! The store trait on SQLite.
