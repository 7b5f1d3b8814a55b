//! Private keys: made, read, written, and signed with.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use num_bigint::BigUint;
use p256::ecdsa::signature::Signer as _;
use pem::{EncodeConfig, LineEnding, Pem};
use sha2::{Digest as _, Sha256};

use super::der::{
    INTEGER, OCTET_STRING, OID, SEQUENCE, bits, expect, oid, read, sequence, tagged, unsigned,
};
use super::prime;
use crate::random::Stream;

const RSA: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 1];
const SHA256_RSA: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 11];
const EC: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 2, 1];
const P256: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 3, 1, 7];
const P384: &[u8] = &[0x2B, 0x81, 4, 0, 34];
const ECDSA_SHA256: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 4, 3, 2];
const ECDSA_SHA384: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 4, 3, 3];
const ED25519: &[u8] = &[0x2B, 0x65, 0x70];
const NULL: &[u8] = &[5, 0];

/// The largest RSA key that is signed with.
const MAX_RSA_BITS: u64 = 8_192;

/// Which curve an ECDSA key is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
}

/// A private key.
pub(super) enum PrivateKey {
    Rsa {
        n: BigUint,
        e: BigUint,
        d: BigUint,
        p: BigUint,
        q: BigUint,
    },
    Ec(Curve, Vec<u8>),
    Ed25519(Vec<u8>),
    /// p, q, g, y, x; made and written, never signed with.
    Dsa([BigUint; 5]),
}

/// Writes a PEM block with Go's line breaks.
pub(super) fn pem(tag: &str, der: Vec<u8>) -> Vec<u8> {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    pem::encode_config(&Pem::new(tag, der), config).into_bytes()
}

impl PrivateKey {
    /// Makes an RSA key.
    pub(super) fn rsa(stream: &mut Stream, size: u64) -> PrivateKey {
        let one = BigUint::from(1_u8);
        let e = BigUint::from(65_537_u32);
        loop {
            let p = prime::prime(stream, size / 2);
            let q = prime::prime(stream, size / 2);
            if p == q {
                continue;
            }
            let (p, q) = if p > q { (p, q) } else { (q, p) };
            let phi = (&p - &one) * (&q - &one);
            if let Some(d) = e.modinv(&phi) {
                let n = &p * &q;
                return PrivateKey::Rsa { n, e, d, p, q };
            }
        }
    }

    /// Makes a key on the curve P-256.
    pub(super) fn ec(stream: &mut Stream) -> PrivateKey {
        loop {
            let mut scalar = vec![0; 32];
            stream.fill(&mut scalar);
            if p256::ecdsa::SigningKey::from_slice(&scalar).is_ok() {
                return PrivateKey::Ec(Curve::P256, scalar);
            }
        }
    }

    /// Makes an Ed25519 key.
    pub(super) fn ed25519(stream: &mut Stream) -> PrivateKey {
        let mut seed = vec![0; 32];
        stream.fill(&mut seed);
        PrivateKey::Ed25519(seed)
    }

    /// Makes a DSA key with parameters of its own.
    pub(super) fn dsa(stream: &mut Stream) -> PrivateKey {
        let (p, q, g) = prime::dsa_parameters(stream);
        let x = prime::number(stream, 255, 0) + 1_u8;
        let y = g.modpow(&x, &p);
        PrivateKey::Dsa([p, q, g, y, x])
    }

    /// The key as Sprig writes it.
    pub(super) fn to_pem(&self) -> Vec<u8> {
        match self {
            PrivateKey::Rsa { n, e, d, p, q } => {
                let one = BigUint::from(1_u8);
                let inverse = q.modinv(p).unwrap_or_default();
                let (dp, dq) = (d % (p - &one), d % (q - &one));
                let parts: Vec<Vec<u8>> = [&BigUint::ZERO, n, e, d, p, q, &dp, &dq, &inverse]
                    .iter()
                    .map(|number| unsigned(&number.to_bytes_be()))
                    .collect();
                pem("RSA PRIVATE KEY", tagged(SEQUENCE, &parts.concat()))
            }
            PrivateKey::Dsa(numbers) => {
                let mut parts = unsigned(&[0]);
                for number in numbers {
                    parts.extend(unsigned(&number.to_bytes_be()));
                }
                pem("DSA PRIVATE KEY", tagged(SEQUENCE, &parts))
            }
            PrivateKey::Ec(curve, scalar) => {
                let point = self.public_bits();
                let der = sequence(&[
                    &unsigned(&[1]),
                    &tagged(OCTET_STRING, scalar),
                    &tagged(0xA0, &oid(curve.oid())),
                    &tagged(0xA1, &bits(&point)),
                ]);
                pem("EC PRIVATE KEY", der)
            }
            PrivateKey::Ed25519(seed) => {
                let der = sequence(&[
                    &unsigned(&[0]),
                    &sequence(&[&oid(ED25519)]),
                    &tagged(OCTET_STRING, &tagged(OCTET_STRING, seed)),
                ]);
                pem("PRIVATE KEY", der)
            }
        }
    }

    /// Reads a key. The error is Sprig's text where Sprig has one.
    pub(super) fn from_pem(text: &[u8]) -> Result<PrivateKey, String> {
        let Ok(block) = pem::parse(text) else {
            return Err("no PEM data in input".to_owned());
        };
        let der = block.contents();
        let malformed = "asn1: structure error: malformed or unsupported key";
        if block.tag() == "PRIVATE KEY" {
            return from_pkcs8(der).ok_or_else(|| format!("decoding PEM as PKCS#8: {malformed}"));
        }
        let Some(kind) = block.tag().strip_suffix(" PRIVATE KEY") else {
            let tag = block.tag();
            return Err(format!("no private key data in PEM block of type {tag}"));
        };
        let (key, name) = match kind {
            "RSA" => (from_pkcs1(der), "RSA"),
            "EC" => (from_sec1(der, None), "EC"),
            "DSA" => (from_dsa(der), "DSA"),
            _ => return Err(format!("invalid private key type {kind}")),
        };
        key.ok_or_else(|| format!("parsing {name} private key from PEM: {malformed}"))
    }

    /// The content of the public key's bit string.
    fn public_bits(&self) -> Vec<u8> {
        match self {
            PrivateKey::Rsa { n, e, .. } => {
                sequence(&[&unsigned(&n.to_bytes_be()), &unsigned(&e.to_bytes_be())])
            }
            PrivateKey::Ec(Curve::P256, scalar) => p256::ecdsa::SigningKey::from_slice(scalar)
                .map(|key| key.verifying_key().to_sec1_point(false).as_bytes().to_vec())
                .unwrap_or_default(),
            PrivateKey::Ec(Curve::P384, scalar) => p384::ecdsa::SigningKey::from_slice(scalar)
                .map(|key| key.verifying_key().to_sec1_point(false).as_bytes().to_vec())
                .unwrap_or_default(),
            PrivateKey::Ed25519(seed) => Ed25519KeyPair::from_seed_unchecked(seed)
                .map(|pair| pair.public_key().as_ref().to_vec())
                .unwrap_or_default(),
            PrivateKey::Dsa([.., y, _]) => unsigned(&y.to_bytes_be()),
        }
    }

    /// The public key as certificates hold it, and the content of its bit string.
    pub(super) fn public(&self) -> (Vec<u8>, Vec<u8>) {
        let point = self.public_bits();
        let algorithm = match self {
            PrivateKey::Rsa { .. } => sequence(&[&oid(RSA), NULL]),
            PrivateKey::Ec(curve, _) => sequence(&[&oid(EC), &oid(curve.oid())]),
            PrivateKey::Ed25519(_) => sequence(&[&oid(ED25519)]),
            PrivateKey::Dsa(_) => Vec::new(),
        };
        (sequence(&[&algorithm, &bits(&point)]), point)
    }

    /// Whether certificates can be made for it and with it.
    pub(super) fn can_sign(&self) -> bool {
        !matches!(self, PrivateKey::Dsa(_))
    }

    /// The algorithm that it signs with, as certificates name it.
    pub(super) fn algorithm(&self) -> Vec<u8> {
        match self {
            PrivateKey::Rsa { .. } => sequence(&[&oid(SHA256_RSA), NULL]),
            PrivateKey::Ec(Curve::P256, _) => sequence(&[&oid(ECDSA_SHA256)]),
            PrivateKey::Ec(Curve::P384, _) => sequence(&[&oid(ECDSA_SHA384)]),
            PrivateKey::Ed25519(_) => sequence(&[&oid(ED25519)]),
            PrivateKey::Dsa(_) => Vec::new(),
        }
    }

    /// Signs a message; the same one has the same signature, with ECDSA too (RFC 6979).
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        let pair = |signature: &[u8]| {
            let (r, s) = signature.split_at(signature.len() / 2);
            sequence(&[&unsigned(r), &unsigned(s)])
        };
        let broken = |_| "the key does not sign".to_owned();
        match self {
            PrivateKey::Rsa { n, e, d, p, q } => sign_rsa([n, e, d, p, q], message),
            PrivateKey::Ec(Curve::P256, scalar) => {
                let key = p256::ecdsa::SigningKey::from_slice(scalar).map_err(broken)?;
                let signature: p256::ecdsa::Signature = key.sign(message);
                Ok(pair(&signature.to_bytes()))
            }
            PrivateKey::Ec(Curve::P384, scalar) => {
                let key = p384::ecdsa::SigningKey::from_slice(scalar).map_err(broken)?;
                let signature: p384::ecdsa::Signature = key.sign(message);
                Ok(pair(&signature.to_bytes()))
            }
            PrivateKey::Ed25519(seed) => {
                let key = Ed25519KeyPair::from_seed_unchecked(seed)
                    .map_err(|_| "the key does not sign".to_owned())?;
                Ok(key.sign(message).as_ref().to_vec())
            }
            PrivateKey::Dsa(_) => {
                Err("x509: certificate private key does not implement crypto.Signer".to_owned())
            }
        }
    }
}

impl Curve {
    fn oid(self) -> &'static [u8] {
        match self {
            Curve::P256 => P256,
            Curve::P384 => P384,
        }
    }
}

/// PKCS #1 version 1.5 over SHA-256.
fn sign_rsa([n, e, d, p, q]: [&BigUint; 5], message: &[u8]) -> Result<Vec<u8>, String> {
    const PREFIX: [u8; 19] = [
        0x30, 0x31, 0x30, 0x0D, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 0x20,
    ];
    let size = usize::try_from(n.bits().div_ceil(8)).unwrap_or(0);
    let digest = Sha256::digest(message);
    let Some(fill) = size
        .checked_sub(PREFIX.len() + digest.len() + 3)
        .filter(|fill| *fill >= 8)
    else {
        return Err("crypto/rsa: message too long for RSA key size".to_owned());
    };
    let mut padded = vec![0, 1];
    padded.extend(vec![0xFF; fill]);
    padded.push(0);
    padded.extend(PREFIX);
    padded.extend_from_slice(&digest);
    // modulo each prime alone, and then together: a quarter of the work
    let message = BigUint::from_bytes_be(&padded);
    let one = BigUint::from(1_u8);
    let [by_p, by_q] = [p, q].map(|prime| message.modpow(&(d % (prime - &one)), prime));
    let inverse = q.modinv(p).ok_or("the key's primes are no primes")?;
    let ahead = (by_p + p - &by_q % p) * inverse % p;
    let signature = by_q + ahead * q;
    // what does not come back was no key
    if signature.modpow(e, n) != message {
        return Err("the key does not sign".to_owned());
    }
    let signature = signature.to_bytes_be();
    let mut out = vec![0; size - signature.len()];
    out.extend(signature);
    Ok(out)
}

fn integers<const N: usize>(der: &[u8]) -> Option<[BigUint; N]> {
    let (mut rest, _) = expect(SEQUENCE, der)?;
    let mut found = Vec::with_capacity(N);
    for _ in 0..N {
        let (content, after) = expect(INTEGER, rest)?;
        if content.first().is_none_or(|byte| byte & 0x80 != 0) {
            return None;
        }
        found.push(BigUint::from_bytes_be(content));
        rest = after;
    }
    found.try_into().ok()
}

fn from_pkcs1(der: &[u8]) -> Option<PrivateKey> {
    let [_, n, e, d, p, q] = integers::<6>(der)?;
    let odd = |number: &BigUint| number.bit(0) && number.bits() > 1;
    let fits = n.bits() <= MAX_RSA_BITS && odd(&p) && odd(&q) && odd(&e) && &p * &q == n;
    let one = BigUint::from(1_u8);
    if !fits || d < one || (&e * &d) % (&p - &one) != one || (&e * &d) % (&q - &one) != one {
        return None;
    }
    Some(PrivateKey::Rsa { n, e, d, p, q })
}

fn from_dsa(der: &[u8]) -> Option<PrivateKey> {
    let [_, p, q, g, y, x] = integers::<6>(der)?;
    Some(PrivateKey::Dsa([p, q, g, y, x]))
}

fn from_sec1(der: &[u8], curve: Option<&[u8]>) -> Option<PrivateKey> {
    let (body, _) = expect(SEQUENCE, der)?;
    let (_, rest) = expect(INTEGER, body)?;
    let (scalar, rest) = expect(OCTET_STRING, rest)?;
    let mut curve = curve;
    if let Some((0xA0, content, _)) = read(rest) {
        curve = Some(expect(OID, content)?.0);
    }
    let (curve, size) = match curve? {
        P256 => (Curve::P256, 32),
        P384 => (Curve::P384, 48),
        _ => return None,
    };
    let skip = scalar.iter().take_while(|byte| **byte == 0).count();
    let significant = &scalar[skip..];
    let mut padded = vec![0; size - significant.len().min(size)];
    padded.extend_from_slice(significant);
    let fits = match curve {
        Curve::P256 => p256::ecdsa::SigningKey::from_slice(&padded).is_ok(),
        Curve::P384 => p384::ecdsa::SigningKey::from_slice(&padded).is_ok(),
    };
    fits.then_some(PrivateKey::Ec(curve, padded))
}

fn from_pkcs8(der: &[u8]) -> Option<PrivateKey> {
    let (body, _) = expect(SEQUENCE, der)?;
    let (_, rest) = expect(INTEGER, body)?;
    let (algorithm, rest) = expect(SEQUENCE, rest)?;
    let (inner, _) = expect(OCTET_STRING, rest)?;
    let (name, parameters) = expect(OID, algorithm)?;
    match name {
        RSA => from_pkcs1(inner),
        EC => from_sec1(inner, expect(OID, parameters).map(|(curve, _)| curve)),
        ED25519 => {
            let (seed, _) = expect(OCTET_STRING, inner)?;
            (seed.len() == 32).then(|| PrivateKey::Ed25519(seed.to_vec()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back() {
        let mut stream = Stream::fixed(7);
        for key in [
            PrivateKey::rsa(&mut stream, 1024),
            PrivateKey::ec(&mut stream),
            PrivateKey::ed25519(&mut stream),
            PrivateKey::Ec(Curve::P384, vec![9; 48]),
        ] {
            let text = key.to_pem();
            let back = PrivateKey::from_pem(&text).unwrap();
            assert_eq!(back.to_pem(), text);
            assert_eq!(back.sign(b"x").unwrap(), key.sign(b"x").unwrap());
        }
        assert!(PrivateKey::from_pem(b"x").is_err());
    }
}
