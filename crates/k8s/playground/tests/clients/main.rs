//! Other people's clients, unchanged, against a simulated cluster on a real clock and a real socket.
//!
//! Each test says "skipped" where its program is not built: `cargo xtask oracle build`.

#![expect(clippy::unwrap_used, reason = "tests")]

mod gitops;
mod helm;
mod informers;
mod kubectl;
mod served;
