//! Randomness with a seed.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::config::Span;

/// A cluster's own stream of random numbers: the same seed and name give the same stream.
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        let digest = base_json::Digest::of(format!("{seed} {name}").as_bytes());
        Self(ChaCha8Rng::from_seed(*digest.as_bytes()))
    }

    pub(crate) fn fill(&mut self, buffer: &mut [u8]) {
        self.0.fill_bytes(buffer);
    }

    /// A number below `limit`; 0 if that is 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        if limit == 0 {
            0
        } else {
            self.0.next_u64() % limit
        }
    }

    /// One of `out_of` chances.
    pub(crate) fn hits(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.below(1000) < u64::from(per_mille)
    }

    /// Milliseconds within a span.
    pub(crate) fn within(&mut self, span: Span) -> u64 {
        span.least_ms + self.below(span.jitter_ms + 1)
    }

    /// Characters for a generated name, without vowels so that no word can come out.
    pub(crate) fn suffix(&mut self, length: usize) -> String {
        (0..length)
            .map(|_| {
                let at = self.below(LETTERS.len() as u64);
                char::from(LETTERS[usize::try_from(at).unwrap_or(0)])
            })
            .collect()
    }
}

const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Writes a digest's beginning with the letters that generated names use.
pub(crate) fn letters_of(digest: &base_json::Digest, length: usize) -> String {
    digest
        .as_bytes()
        .iter()
        .take(length)
        .map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]))
        .collect()
}
