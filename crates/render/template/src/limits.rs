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
    /// Fuel that is left, without `slice`.
    fuel: u64,
    /// Fuel to be used before the deadline is looked at again.
    slice: u64,
    memory: usize,
    crypto: u32,
}

const SLICE: u64 = 1024;

impl Meter {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            fuel: limits.fuel,
            slice: 0,
            memory: limits.memory,
            crypto: limits.crypto,
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn used(&self) -> u64 {
        self.limits.fuel - self.fuel - self.slice
    }

    /// Charges for one step of the machine.
    #[inline]
    pub(crate) fn step(&mut self, host: &mut dyn Host) -> Result<(), Limit> {
        if self.slice == 0 {
            self.refill(1, host)?;
        }
        self.slice -= 1;
        Ok(())
    }

    pub(crate) fn spend(&mut self, fuel: u64, host: &mut dyn Host) -> Result<(), Limit> {
        if fuel > self.slice {
            self.refill(fuel, host)?;
        }
        self.slice -= fuel;
        Ok(())
    }

    /// Makes a slice of at least so much.
    #[cold]
    fn refill(&mut self, least: u64, host: &mut dyn Host) -> Result<(), Limit> {
        let all = self.fuel + self.slice;
        if least > all {
            (self.fuel, self.slice) = (0, 0);
            return Err(Limit::Fuel(self.limits.fuel));
        }
        if host.expired() {
            return Err(Limit::Deadline);
        }
        self.slice = least.max(SLICE).min(all);
        self.fuel = all - self.slice;
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
