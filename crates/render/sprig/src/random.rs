//! Random bytes: one draw from the host for each call, stretched into as many as the call needs.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use roadstead_template::{Call, FuncError};

/// An endless stream of bytes. The same draw gives the same stream in every version of this program.
pub(crate) struct Stream(ChaCha20Rng);

impl Stream {
    /// Begins a stream with bytes of the host.
    pub(crate) fn draw(call: &mut Call<'_>) -> Result<Stream, FuncError> {
        let mut seed = [0; 32];
        call.random(&mut seed)?;
        Ok(Stream(ChaCha20Rng::from_seed(seed)))
    }

    /// A stream of its own, for tests.
    #[cfg(test)]
    pub(crate) fn fixed(seed: u8) -> Stream {
        Stream(ChaCha20Rng::from_seed([seed; 32]))
    }

    /// Fills a buffer.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) {
        self.0.fill_bytes(buffer);
    }

    /// A number below another, each with the same chance.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let mask = u64::MAX >> bound.saturating_sub(1).leading_zeros().min(63);
        loop {
            let value = self.0.next_u64() & mask;
            if value < bound || bound == 0 {
                return value;
            }
        }
    }
}

/// A random number below another.
pub(crate) fn below(call: &mut Call<'_>, bound: u64) -> Result<u64, FuncError> {
    Ok(Stream::draw(call)?.below(bound))
}
