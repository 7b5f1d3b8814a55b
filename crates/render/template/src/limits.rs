//! How much a render may take.

use crate::error::Limit;
use crate::host::Host;

/// How much one render may take, over all its templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Steps of the machine, plus what functions charge: about 100 ns each at worst.
    pub fuel: u64,
    /// Bytes of values made over the whole run, including those that were dropped again.
    pub memory: usize,
    /// Bytes of one string.
    pub string: usize,
    /// Bytes of output of one template that is executed, and of what it includes each.
    pub output: usize,
    /// Templates within templates by the `template` action, as in Go.
    pub depth: usize,
    /// How deep one name may nest in calls by functions such as `include`; Helm's is 1000.
    pub nesting: usize,
    /// Templates within templates of all sorts.
    pub frames: usize,
    /// Texts within texts parsed while executing (`tpl`).
    pub texts: usize,
    /// Costly pieces of cryptography.
    pub crypto: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fuel: 20_000_000,
            memory: 256 << 20,
            string: 16 << 20,
            output: 32 << 20,
            depth: 100_000,
            nesting: 1000,
            frames: 100_000,
            texts: 64,
            crypto: 32,
        }
    }
}

/// What is left of the limits.
pub(crate) struct Meter {
    limits: Limits,
    fuel: u64,
    until_check: u64,
    memory: usize,
    crypto: u32,
}

const CHECK_EVERY: u64 = 1024;

impl Meter {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            fuel: limits.fuel,
            until_check: CHECK_EVERY,
            memory: limits.memory,
            crypto: limits.crypto,
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn spend(&mut self, fuel: u64, host: &mut dyn Host) -> Result<(), Limit> {
        if fuel > self.fuel {
            self.fuel = 0;
            return Err(Limit::Fuel(self.limits.fuel));
        }
        self.fuel -= fuel;
        if fuel >= self.until_check {
            self.until_check = CHECK_EVERY;
            if host.expired() {
                return Err(Limit::Deadline);
            }
        } else {
            self.until_check -= fuel;
        }
        Ok(())
    }

    pub(crate) fn allocate(&mut self, bytes: usize) -> Result<(), Limit> {
        if bytes > self.limits.string {
            return Err(Limit::String(self.limits.string));
        }
        if bytes > self.memory {
            self.memory = 0;
            return Err(Limit::Memory(self.limits.memory));
        }
        self.memory -= bytes;
        Ok(())
    }

    pub(crate) fn crypto(&mut self) -> Result<(), Limit> {
        self.crypto = self
            .crypto
            .checked_sub(1)
            .ok_or(Limit::Crypto(self.limits.crypto))?;
        Ok(())
    }
}
