//! Powers of two modulo a large odd number: nearly all of the time that a search for primes takes.

use num_bigint::BigUint;

/// A large odd number, with what multiplying modulo it needs.
pub(super) struct Modulus {
    limbs: Vec<u64>,
    /// What makes the lowest limb minus one when it is multiplied with it.
    inverse: u64,
    /// Twice as many limbs, for a square before it is reduced.
    square: Vec<u64>,
}

/// Adds `factor` times `row` to `sum`, which is as long, and gives what is carried out of it.
fn add_row(sum: &mut [u64], row: &[u64], factor: u64) -> u64 {
    let mut carry = 0;
    for (limb, by) in sum.iter_mut().zip(row) {
        let total = u128::from(*limb) + u128::from(*by) * u128::from(factor) + u128::from(carry);
        *limb = low(total);
        carry = high(total);
    }
    carry
}

fn low(value: u128) -> u64 {
    (value & u128::from(u64::MAX)) as u64
}

fn high(value: u128) -> u64 {
    (value >> 64) as u64
}

/// Whether one number of equally many limbs is below another.
fn below(one: &[u64], other: &[u64]) -> bool {
    one.iter().rev().lt(other.iter().rev())
}

/// Takes one number of equally many limbs from another; what is borrowed beyond the top is the caller's to know of.
fn subtract(from: &mut [u64], other: &[u64]) {
    let mut borrow = false;
    for (limb, by) in from.iter_mut().zip(other) {
        let (value, first) = limb.overflowing_sub(*by);
        let (value, second) = value.overflowing_sub(u64::from(borrow));
        *limb = value;
        borrow = first || second;
    }
}

/// Doubles a number, and says whether a bit left it at the top.
fn double(limbs: &mut [u64]) -> bool {
    let mut carry = 0;
    for limb in limbs {
        let top = *limb >> 63;
        *limb = *limb << 1 | carry;
        carry = top;
    }
    carry == 1
}

impl Modulus {
    /// Makes ready for an odd number that is larger than one.
    pub(super) fn new(value: &BigUint) -> Modulus {
        let limbs = value.to_u64_digits();
        let lowest = limbs.first().copied().unwrap_or(1);
        // Newton's way: each step doubles the bits that are right, from three
        let mut inverse = lowest;
        for _ in 0..5 {
            inverse = inverse.wrapping_mul(2_u64.wrapping_sub(lowest.wrapping_mul(inverse)));
        }
        Modulus {
            square: vec![0; 2 * limbs.len()],
            inverse: inverse.wrapping_neg(),
            limbs,
        }
    }

    /// Whether the number passes the test of Miller and Rabin with base 2.
    pub(super) fn passes_with_two(&mut self, value: &BigUint) -> bool {
        let size = self.limbs.len();
        let one = BigUint::from(1_u8);
        let below = value - &one;
        let twos = below.trailing_zeros().unwrap_or(0);
        let odd = &below >> twos;
        let shift = u64::try_from(64 * size).unwrap_or(u64::MAX);
        // one and minus one, as numbers look here: times a power of two with as many bits as the limbs
        let unit = self.padded(&((&one << shift) % value));
        let minus = self.padded(&((&below << shift) % value));
        let mut power = unit.clone();
        for bit in (0..odd.bits()).rev() {
            self.square(&mut power);
            if odd.bit(bit) {
                let out = double(&mut power);
                if out || !self::below(&power, &self.limbs) {
                    subtract(&mut power, &self.limbs);
                }
            }
        }
        if power == unit || power == minus {
            return true;
        }
        for _ in 1..twos {
            self.square(&mut power);
            if power == minus {
                return true;
            }
        }
        false
    }

    fn padded(&self, value: &BigUint) -> Vec<u64> {
        let mut limbs = value.to_u64_digits();
        limbs.resize(self.limbs.len(), 0);
        limbs
    }

    /// Squares a number and divides by the power of two, both modulo ours.
    fn square(&mut self, value: &mut [u64]) {
        let size = self.limbs.len();
        let sum = &mut self.square[..];
        sum.fill(0);
        // products of different limbs stand there twice
        for (at, factor) in value.iter().enumerate() {
            let carry = add_row(&mut sum[2 * at + 1..at + size], &value[at + 1..], *factor);
            sum[at + size] = carry;
        }
        double(sum);
        let mut carry = 0;
        for (pair, limb) in sum.chunks_exact_mut(2).zip(value.iter()) {
            let product = u128::from(*limb) * u128::from(*limb);
            let first = u128::from(pair[0]) + u128::from(low(product)) + u128::from(carry);
            let second = u128::from(pair[1]) + u128::from(high(product)) + u128::from(high(first));
            pair[0] = low(first);
            pair[1] = low(second);
            carry = high(second);
        }
        let mut over = 0;
        for at in 0..size {
            let factor = sum[at].wrapping_mul(self.inverse);
            let carry = add_row(&mut sum[at..at + size], &self.limbs, factor);
            let total = u128::from(sum[at + size]) + u128::from(carry) + u128::from(over);
            sum[at + size] = low(total);
            over = high(total);
        }
        value.copy_from_slice(&sum[size..]);
        if over == 1 || !below(value, &self.limbs) {
            subtract(value, &self.limbs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::prime::number;
    use crate::random::Stream;

    /// The same test by another library.
    fn expected(value: &BigUint) -> bool {
        let (one, two) = (BigUint::from(1_u8), BigUint::from(2_u8));
        let below = value - &one;
        let twos = below.trailing_zeros().unwrap();
        let mut power = two.modpow(&(&below >> twos), value);
        let mut passes = power == one || power == below;
        for _ in 1..twos {
            power = &power * &power % value;
            passes |= power == below;
        }
        passes
    }

    #[test]
    fn it_agrees_with_another_library() {
        let mut stream = Stream::fixed(1);
        let mut passed = 0;
        let check = |value: &BigUint| {
            let passes = Modulus::new(value).passes_with_two(value);
            assert_eq!(passes, expected(value), "{value}");
            u32::from(passes)
        };
        for small in (3..20_000_u32).step_by(2) {
            passed += check(&BigUint::from(small));
        }
        for bits in [63, 64, 65, 127, 128, 129, 192, 500] {
            for _ in 0..150 {
                let mut value = number(&mut stream, bits, 1);
                value.set_bit(0, true);
                passed += check(&value);
            }
        }
        // limbs full of ones, where everything is carried
        for limbs in 1..10_u32 {
            for less in (1..200_u32).step_by(2) {
                passed += check(&((BigUint::from(1_u8) << (64 * limbs)) - less));
            }
        }
        // Mersenne's primes; the strong pseudoprimes to base 2 are among the small ones
        for exponent in [61, 89, 107, 127, 521, 607, 1279] {
            passed += check(&((BigUint::from(1_u8) << exponent) - 1_u8));
        }
        assert!(passed > 2_300, "{passed}");
    }
}
