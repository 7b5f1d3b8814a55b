//! Prime numbers from a stream of random bytes. The same stream gives the same primes: this is what makes seeded keys
//! stable, so the order in which bytes are drawn must not change.

use num_bigint::BigUint;

use crate::random::Stream;

/// Odd primes that candidates are sieved by.
const SMALL: usize = 2_000;

/// Rounds of Miller and Rabin, after one with base 2. For random numbers of this size four would do.
const ROUNDS: usize = 16;

fn small_primes() -> Vec<u32> {
    let mut primes: Vec<u32> = Vec::with_capacity(SMALL);
    let mut candidate = 3;
    while primes.len() < SMALL {
        let whole = primes
            .iter()
            .take_while(|prime| **prime * **prime <= candidate)
            .any(|prime| candidate % prime == 0);
        if !whole {
            primes.push(candidate);
        }
        candidate += 2;
    }
    primes
}

/// A random number of so many bits, with the top ones set that are asked for.
pub(super) fn number(stream: &mut Stream, bits: u64, top: u32) -> BigUint {
    let mut bytes = vec![0; usize::try_from(bits.div_ceil(8)).unwrap_or(0)];
    stream.fill(&mut bytes);
    let spare = (8 - bits % 8) % 8;
    if let Some(first) = bytes.first_mut() {
        *first &= 0xFF >> spare;
    }
    let mut value = BigUint::from_bytes_be(&bytes);
    for bit in 0..u64::from(top) {
        value.set_bit(bits - 1 - bit, true);
    }
    value
}

fn passes(value: &BigUint, base: &BigUint) -> bool {
    let one = BigUint::from(1_u8);
    let below = value - &one;
    let twos = below.trailing_zeros().unwrap_or(0);
    let mut power = base.modpow(&(&below >> twos), value);
    if power == one || power == below {
        return true;
    }
    for _ in 1..twos {
        power = &power * &power % value;
        if power == below {
            return true;
        }
    }
    false
}

/// Whether an odd number is, beyond reasonable doubt, prime.
pub(super) fn is_prime(stream: &mut Stream, value: &BigUint) -> bool {
    if !passes(value, &BigUint::from(2_u8)) {
        return false;
    }
    (0..ROUNDS).all(|_| {
        let base = number(stream, value.bits() - 1, 0) + 2_u8;
        passes(value, &base)
    })
}

/// A prime of so many bits with its two top bits set, so that the product of two has twice as many.
pub(super) fn prime(stream: &mut Stream, bits: u64) -> BigUint {
    let small = small_primes();
    loop {
        let mut start = number(stream, bits, 2);
        start.set_bit(0, true);
        let rests: Vec<u32> = small
            .iter()
            .map(|prime| (&start % *prime).iter_u32_digits().next().unwrap_or(0))
            .collect();
        for step in 0..(1_u32 << 14) {
            let ahead = 2 * step;
            let divided = small
                .iter()
                .zip(&rests)
                .any(|(prime, rest)| (rest + ahead) % prime == 0);
            if divided {
                continue;
            }
            let candidate = &start + ahead;
            if candidate.bits() != bits {
                break;
            }
            if is_prime(stream, &candidate) {
                return candidate;
            }
        }
    }
}

/// DSA's parameters: a prime of 256 bits, one of 2048 bits that is one more than a multiple of it, and a generator.
pub(super) fn dsa_parameters(stream: &mut Stream) -> (BigUint, BigUint, BigUint) {
    let small = small_primes();
    let one = BigUint::from(1_u8);
    let q = prime(stream, 256);
    let double = &q * 2_u8;
    let p = loop {
        let random = number(stream, 2048, 1);
        let candidate = &random - (&random % &double) + &one;
        let divided = small
            .iter()
            .any(|prime| (&candidate % *prime) == BigUint::ZERO);
        if !divided && candidate.bits() == 2048 && is_prime(stream, &candidate) {
            break candidate;
        }
    };
    let exponent = (&p - &one) / &q;
    let mut base = BigUint::from(2_u8);
    loop {
        let g = base.modpow(&exponent, &p);
        if g != one {
            return (p, q, g);
        }
        base += 1_u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primes_are_prime_and_stable() {
        let first = prime(&mut Stream::fixed(1), 128);
        assert_eq!(first, prime(&mut Stream::fixed(1), 128));
        assert_eq!(first.bits(), 128);
        assert_ne!(first, prime(&mut Stream::fixed(2), 128));
        let mut stream = Stream::fixed(3);
        for (value, expected) in [(104_729_u32, true), (561, false), (3_215_031_751, false)] {
            assert_eq!(
                is_prime(&mut stream, &BigUint::from(value)),
                expected,
                "{value}"
            );
        }
    }
}
