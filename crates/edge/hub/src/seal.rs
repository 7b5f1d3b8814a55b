//! Sealing: what nobody may read who has only the disk, or only the backup.
//!
//! The key is derived from a secret file (a passphrase, or random bytes) by Argon2id; contents are sealed by
//! AES-256-GCM. Values of the store are sealed one by one, each bound to its key ([`ValueSeal`]). A backup is sealed as
//! a stream of chunks ([`StreamSeal`], [`StreamOpen`]), each bound to its place and the last one marked, so that a
//! stream that was cut, reordered or joined from two does not open.

use std::io::{Read, Write};

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::clock::random;

/// How long a sealing's tag is.
const TAG: usize = 16;
/// How a sealed value begins; no JSON does.
const VALUE: &[u8] = b"\0sealed1";
/// How a sealed stream's first line begins.
const STREAM: &str = "roadstead sealed backup ";
/// How long a stream's first line may be.
const MOST_HEADER: usize = 1024;
/// How many bytes one chunk of a stream holds.
const CHUNK: usize = 64 << 10;
/// How short a secret may be, in bytes.
const LEAST_SECRET: usize = 16;

/// Why something is not sealed, or not opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The secret is too easy to guess.
    #[error(
        "the secret has {found} bytes, and needs {LEAST_SECRET}: make one with `openssl rand -base64 32`"
    )]
    ShortSecret {
        /// How many it has.
        found: usize,
    },
    /// It does not open.
    #[error("it is sealed with another secret, or was changed since")]
    WrongSecret,
    /// It opens no further: the secret is the right one.
    #[error("it was cut short or changed: nothing after byte {read} can be opened")]
    Cut {
        /// How many bytes were opened.
        read: u64,
    },
    /// It is sealed in a way that this program does not know.
    #[error("it is sealed in a way that this program does not know: {0}")]
    Unknown(String),
    /// The parameters are not those of any sealing.
    #[error("the key cannot be derived: {0}")]
    Derive(String),
    /// It could not be read or written.
    #[error("failed to read or write it")]
    Io(#[from] std::io::Error),
}

/// A secret as it is given: what a file holds, without white space around it.
pub struct Secret(Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl Clone for Secret {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Secret {
    /// Takes the contents of a secret file.
    pub fn new(file: &[u8]) -> Result<Self, SealError> {
        let trimmed = file.trim_ascii();
        if trimmed.len() < LEAST_SECRET {
            return Err(SealError::ShortSecret {
                found: trimmed.len(),
            });
        }
        Ok(Self(trimmed.to_vec()))
    }

    fn key(&self, derivation: &Derivation) -> Result<LessSafeKey, SealError> {
        let failed = |error: &dyn std::fmt::Display| SealError::Derive(error.to_string());
        if derivation.name != "argon2id" {
            return Err(SealError::Unknown(derivation.name.clone()));
        }
        // what is read may come from anybody: it must not take all the memory
        if derivation.memory_kib > 1 << 20 || derivation.passes > 64 || derivation.lanes > 16 {
            return Err(SealError::Derive("it asks for too much".to_owned()));
        }
        let salt = BASE64
            .decode(&derivation.salt)
            .map_err(|error| failed(&error))?;
        let params = Params::new(
            derivation.memory_kib,
            derivation.passes,
            derivation.lanes,
            Some(32),
        )
        .map_err(|error| failed(&error))?;
        let mut key = [0; 32];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(&self.0, &salt, &mut key)
            .map_err(|error| failed(&error))?;
        let key = UnboundKey::new(&AES_256_GCM, &key)
            .map_err(|_| SealError::Derive("the cipher refuses it".to_owned()))?;
        Ok(LessSafeKey::new(key))
    }
}

/// How a key is made from a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Derivation {
    name: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
}

impl Derivation {
    /// A new one, with a salt of its own. The costs are RFC 9106's second recommendation.
    pub(crate) fn new() -> Self {
        let mut salt = [0; 16];
        random(&mut salt);
        Self {
            name: "argon2id".to_owned(),
            memory_kib: 64 << 10,
            passes: 3,
            lanes: 1,
            salt: BASE64.encode(salt),
        }
    }
}

/// Seals the values of a store.
pub(crate) struct ValueSeal(LessSafeKey);

impl ValueSeal {
    pub(crate) fn new(secret: &Secret, derivation: &Derivation) -> Result<Self, SealError> {
        Ok(Self(secret.key(derivation)?))
    }

    /// Is this value sealed?
    pub(crate) fn is_sealed(value: &[u8]) -> bool {
        value.starts_with(VALUE)
    }

    /// Seals a value for the key that it will stand under.
    pub(crate) fn seal(&self, key: &str, value: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        random(&mut nonce);
        let mut sealed = value.to_vec();
        let tag = self
            .0
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(key.as_bytes()),
                &mut sealed,
            )
            .expect("values are far below the cipher's 64 GiB");
        let mut out = Vec::with_capacity(VALUE.len() + NONCE_LEN + sealed.len() + TAG);
        out.extend_from_slice(VALUE);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        out.extend_from_slice(tag.as_ref());
        out
    }

    /// Opens a value that stands under this key.
    pub(crate) fn open(&self, key: &str, value: &[u8]) -> Result<Vec<u8>, SealError> {
        let rest = value.strip_prefix(VALUE).ok_or(SealError::WrongSecret)?;
        let (nonce, sealed) = rest
            .split_at_checked(NONCE_LEN)
            .ok_or(SealError::WrongSecret)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::WrongSecret)?;
        let mut bytes = sealed.to_vec();
        let length = self
            .0
            .open_in_place(nonce, Aad::from(key.as_bytes()), &mut bytes)
            .map_err(|_| SealError::WrongSecret)?
            .len();
        bytes.truncate(length);
        Ok(bytes)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    version: u32,
    cipher: String,
    chunk: usize,
    key: Derivation,
}

fn nonce(counter: u64, last: bool) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[..8].copy_from_slice(&counter.to_be_bytes());
    bytes[NONCE_LEN - 1] = u8::from(last);
    // each stream has a key of its own, by its salt
    Nonce::assume_unique_for_key(bytes)
}

/// Seals a stream; [`finish`](Self::finish) it, or it will not open.
pub struct StreamSeal<W> {
    to: W,
    key: LessSafeKey,
    header: Vec<u8>,
    kept: Vec<u8>,
    counter: u64,
}

impl<W: Write> StreamSeal<W> {
    /// Begins a stream.
    pub fn new(mut to: W, secret: &Secret) -> Result<Self, SealError> {
        let derivation = Derivation::new();
        let key = secret.key(&derivation)?;
        let header = Header {
            version: 1,
            cipher: "AES-256-GCM".to_owned(),
            chunk: CHUNK,
            key: derivation,
        };
        let line = serde_json::to_string(&header).unwrap_or_default();
        let header = format!("{STREAM}{line}\n").into_bytes();
        to.write_all(&header)?;
        Ok(Self {
            to,
            key,
            header,
            kept: Vec::with_capacity(CHUNK + TAG),
            counter: 0,
        })
    }

    fn chunk(&mut self, last: bool) -> std::io::Result<()> {
        let tag = self
            .key
            .seal_in_place_separate_tag(
                nonce(self.counter, last),
                Aad::from(&self.header),
                &mut self.kept,
            )
            .map_err(|_| std::io::Error::other("the cipher refuses"))?;
        self.to.write_all(&self.kept)?;
        self.to.write_all(tag.as_ref())?;
        self.counter += 1;
        self.kept.clear();
        Ok(())
    }

    /// Writes the last part, and gives back where it was written to.
    pub fn finish(mut self) -> Result<W, SealError> {
        self.chunk(true)?;
        self.to.flush()?;
        Ok(self.to)
    }
}

impl<W: Write> Write for StreamSeal<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // a full chunk is written when more follows: only `finish` knows the last
        if self.kept.len() == CHUNK {
            self.chunk(false)?;
        }
        let taken = bytes.len().min(CHUNK - self.kept.len());
        self.kept.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}

/// Is this how a sealed stream begins?
pub fn is_sealed_stream(beginning: &[u8]) -> bool {
    beginning.starts_with(STREAM.as_bytes())
}

/// Opens a sealed stream and writes what is in it; returns how many bytes that were. What was written before an error is
/// of no use.
pub fn open_stream(
    mut from: impl Read,
    mut to: impl Write,
    secret: &Secret,
) -> Result<u64, SealError> {
    let mut header = Vec::new();
    let mut byte = [0];
    while header.last() != Some(&b'\n') {
        if header.len() >= MOST_HEADER || from.read(&mut byte)? == 0 {
            return Err(SealError::Unknown("it has no first line".to_owned()));
        }
        header.push(byte[0]);
    }
    let line = header
        .strip_prefix(STREAM.as_bytes())
        .ok_or_else(|| SealError::Unknown("it does not begin as one".to_owned()))?;
    let read: Header =
        serde_json::from_slice(line).map_err(|error| SealError::Unknown(error.to_string()))?;
    if read.version != 1 || read.cipher != "AES-256-GCM" || read.chunk != CHUNK {
        let found = format!("version {}, {}", read.version, read.cipher);
        return Err(SealError::Unknown(found));
    }
    let key = secret.key(&read.key)?;
    let mut total = 0;
    let mut chunk = vec![0; CHUNK + TAG];
    for counter in 0.. {
        let mut filled = 0;
        while filled < chunk.len() {
            match from.read(&mut chunk[filled..])? {
                0 => break,
                some => filled += some,
            }
        }
        let open = |last| {
            let mut copy = chunk[..filled].to_vec();
            let opened = key.open_in_place(nonce(counter, last), Aad::from(&header), &mut copy);
            opened.map(|opened| opened.to_vec()).ok()
        };
        // only the last chunk may be short, and a full one may be the last
        let (opened, last) = match (filled == CHUNK + TAG).then(|| open(false)).flatten() {
            Some(opened) => (opened, false),
            None => match open(true) {
                Some(opened) => (opened, true),
                None if total > 0 => return Err(SealError::Cut { read: total }),
                None => return Err(SealError::WrongSecret),
            },
        };
        to.write_all(&opened)?;
        total += opened.len() as u64;
        if last {
            if from.read(&mut byte)? != 0 {
                return Err(SealError::Unknown("something follows its end".to_owned()));
            }
            break;
        }
    }
    to.flush()?;
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes()).expect("long enough")
    }

    fn sealed(bytes: &[u8], secret: &Secret) -> Vec<u8> {
        let mut seal = StreamSeal::new(Vec::new(), secret).expect("begun");
        seal.write_all(bytes).expect("written");
        seal.finish().expect("finished")
    }

    fn opened(bytes: &[u8], secret: &Secret) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        open_stream(bytes, &mut out, secret)
            .map(|_| out)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_value_opens_under_its_own_key_and_secret_only() {
        let derivation = Derivation::new();
        let seal = ValueSeal::new(&secret("correct horse battery"), &derivation).expect("a key");
        let value = seal.seal("s/ca", b"the key");
        assert!(ValueSeal::is_sealed(&value));
        assert!(!value.windows(7).any(|part| part == b"the key"));
        assert_eq!(seal.open("s/ca", &value).expect("opened"), b"the key");
        assert!(seal.open("s/order-key", &value).is_err());
        let other = ValueSeal::new(&secret("another horse altogether"), &derivation);
        assert!(other.expect("a key").open("s/ca", &value).is_err());
        assert!(seal.open("s/ca", &value[..12]).is_err());
        assert_ne!(seal.seal("s/ca", b"the key"), value);
    }

    #[test]
    fn a_stream_of_any_length_opens_and_no_other_does() {
        let good = secret("correct horse battery");
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 7] {
            let bytes: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let stream = sealed(&bytes, &good);
            assert!(is_sealed_stream(&stream));
            assert_eq!(opened(&stream, &good), Ok(bytes), "{length}");
        }
        let bytes = vec![7; 2 * CHUNK + 7];
        let stream = sealed(&bytes, &good);
        let line = stream.iter().position(|byte| *byte == b'\n').expect("one") + 1;
        let says = |stream: &[u8], part: &str| {
            let said = opened(stream, &good).expect_err("it does not open");
            assert!(said.contains(part), "{said}");
        };
        says(&stream[..stream.len() - 3], "cut short");
        says(&stream[..line + CHUNK + TAG], "cut short");
        says(&stream[..line], "another secret");
        says(&stream[..5], "no first line");
        let mut swapped = stream.clone();
        let (first, second) = swapped[line..].split_at_mut(CHUNK + TAG);
        first.swap_with_slice(&mut second[..CHUNK + TAG]);
        says(&swapped, "another secret");
        let mut flipped = stream.clone();
        flipped[line + CHUNK + TAG + 5] ^= 1;
        says(&flipped, "nothing after byte 65536 can be opened");
        says(&[stream.as_slice(), b"x"].concat(), "cut short");
        let other = opened(&stream, &secret("another horse altogether"));
        assert!(other.expect_err("no").contains("another secret"));
    }

    #[test]
    fn a_secret_that_is_too_short_and_a_hostile_header_are_refused() {
        let said = Secret::new(b"  short\n").expect_err("refused").to_string();
        assert!(said.contains("5 bytes"), "{said}");
        let hostile = Derivation {
            memory_kib: u32::MAX,
            ..Derivation::new()
        };
        let said = ValueSeal::new(&secret("correct horse battery"), &hostile);
        assert!(said.is_err());
    }
}
