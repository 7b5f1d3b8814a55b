//! Hashes, passwords, keys and certificates.
//!
//! All that is random draws from the render's host, keys and signatures too, so that a seeded render gives the same key and
//! the same certificate each time. Costly work is counted against the render's limit.

mod certificates;
mod der;
mod hash;
mod keys;
mod montgomery;
mod password;
mod prime;

use roadstead_template::Function;

pub(crate) const ROWS: &[&[Function]] = &[hash::ROWS, password::ROWS, certificates::ROWS];
