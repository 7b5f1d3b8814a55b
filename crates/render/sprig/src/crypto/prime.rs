//! Prime numbers from a stream of random bytes. The same stream gives the same primes: this is what makes seeded keys
//! stable, so the order in which bytes are drawn must not change.

use std::sync::LazyLock;

use num_bigint::BigUint;

use super::montgomery::Modulus;
use crate::random::Stream;

/// Candidates are sieved by the odd primes below it.
const SIEVED: usize = 1 << 17;

/// Odd numbers that one sieve holds.
const WINDOW: usize = 1 << 14;

/// The odd primes to sieve by, in packs whose product fits into 64 bits: a large number is divided once for a pack.
static SMALL: LazyLock<Vec<(u64, Vec<u32>)>> = LazyLock::new(|| {
    let mut divided = vec![false; SIEVED];
    let mut packs: Vec<(u64, Vec<u32>)> = vec![(1, Vec::new())];
    for candidate in (3..SIEVED).step_by(2) {
        if divided[candidate] {
            continue;
        }
        for multiple in (candidate * candidate..SIEVED).step_by(2 * candidate) {
            divided[multiple] = true;
        }
        let prime = u32::try_from(candidate).unwrap_or(u32::MAX);
        let last = packs.len() - 1;
        match packs[last].0.checked_mul(u64::from(prime)) {
            Some(product) => {
                packs[last].0 = product;
                packs[last].1.push(prime);
            }
            None => packs.push((u64::from(prime), vec![prime])),
        }
    }
    packs
});

/// The small primes, each with what is left of a number divided by it.
fn rests(value: &BigUint) -> impl Iterator<Item = (u32, u32)> {
    let limbs = value.to_u64_digits();
    SMALL.iter().flat_map(move |(product, primes)| {
        let product = u128::from(*product);
        let rest = limbs
            .iter()
            .rev()
            .fold(0, |rest, limb| (rest << 64 | u128::from(*limb)) % product);
        primes.iter().map(move |prime| {
            let rest = rest % u128::from(*prime);
            (*prime, u32::try_from(rest).unwrap_or(0))
        })
    })
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

/// Whether an odd number that was chosen at random is, beyond reasonable doubt, prime.
pub(super) fn is_prime(stream: &mut Stream, value: &BigUint) -> bool {
    if !Modulus::new(value).passes_with_two(value) {
        return false;
    }
    // that a large random number which is not prime passes even once is less likely than that a small one does often
    let rounds = if value.bits() >= 1_024 { 4 } else { 16 };
    (0..rounds).all(|_| {
        let base = number(stream, value.bits() - 1, 0) + 2_u8;
        passes(value, &base)
    })
}

/// A prime of so many bits, more than twenty, with its two top bits set, so that the product of two has twice as many.
pub(super) fn prime(stream: &mut Stream, bits: u64) -> BigUint {
    let mut divided = vec![false; WINDOW];
    loop {
        let mut start = number(stream, bits, 2);
        start.set_bit(0, true);
        divided.fill(false);
        for (prime, rest) in rests(&start) {
            // the first odd number from here on that the prime divides
            let ahead = (prime - rest) % prime;
            let first = if ahead % 2 == 0 { ahead } else { ahead + prime };
            let step = usize::try_from(prime).unwrap_or(usize::MAX);
            for at in (usize::try_from(first / 2).unwrap_or(usize::MAX)..WINDOW).step_by(step) {
                divided[at] = true;
            }
        }
        let whole = divided.iter().enumerate().filter(|(_, divided)| !**divided);
        for (at, _) in whole {
            let candidate = &start + 2 * at;
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
    let one = BigUint::from(1_u8);
    let q = prime(stream, 256);
    let double = &q * 2_u8;
    let p = loop {
        let random = number(stream, 2048, 1);
        let candidate = &random - (&random % &double) + &one;
        let divided = rests(&candidate).any(|(_, rest)| rest == 0);
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
