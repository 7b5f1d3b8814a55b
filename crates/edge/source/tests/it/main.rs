//! Sources against the real `git`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod artifacts;
mod damage;
mod https;
mod references;
mod sharing;
mod ssh;
mod support;
mod trees;
