//! Sources against the real `git`.

mod references;
mod support;
mod trees;
