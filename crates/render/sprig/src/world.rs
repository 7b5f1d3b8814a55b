//! A host for renders: the time that it is told, and random bytes by the render's policy.

use std::any::Any;
use std::collections::BTreeMap;

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use roadstead_template::{FuncError, Host, Policy, Site};

/// Gives random bytes: the edge's own source of chance.
pub type Entropy = fn(&mut [u8]) -> Result<(), String>;

/// The world as a render sees it: a time, and chance by its policy.
///
/// Under [`Policy::Seeded`] bytes come from the seed, the file, the function and how often that function was called in
/// that file before. So a render gives the same bytes each time, and a call more in one file moves nothing in another.
pub struct World {
    policy: Policy,
    seed: Vec<u8>,
    now: i128,
    entropy: Option<Entropy>,
    drawn: BTreeMap<(String, String), u64>,
}

impl World {
    /// A world where all that differs from run to run is an error.
    pub fn forbidding() -> World {
        World {
            policy: Policy::Forbid,
            seed: Vec::new(),
            now: 0,
            entropy: None,
            drawn: BTreeMap::new(),
        }
    }

    /// A world that draws from a seed, at a time in nanoseconds since 1970.
    pub fn seeded(seed: &[u8], now: i128) -> World {
        World {
            policy: Policy::Seeded,
            seed: seed.to_vec(),
            now,
            ..World::forbidding()
        }
    }

    /// A world with real chance.
    pub fn live(entropy: Entropy, now: i128) -> World {
        World {
            policy: Policy::Live,
            now,
            entropy: Some(entropy),
            ..World::forbidding()
        }
    }
}

fn forbidden(function: &str, site: &Site<'_>) -> FuncError {
    let place = if site.file.is_empty() {
        String::new()
    } else {
        format!(" in {}", site.file)
    };
    FuncError::policy(format!(
        "{function}{place} is forbidden by the render's policy: its result differs from run to run"
    ))
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// Bytes of a seed for one place: the same for the same two, and telling nothing of any other.
pub fn seeded_bytes(seed: &[u8], place: &[&[u8]], buffer: &mut [u8]) -> Result<(), FuncError> {
    let key = Salt::new(HKDF_SHA256, b"roadstead template").extract(seed);
    // Lengths keep places apart whose parts run together.
    let info: Vec<u8> = place
        .iter()
        .flat_map(|part| [&(part.len() as u64).to_be_bytes()[..], part].concat())
        .collect();
    // One expansion gives 255 blocks of 32 bytes at most.
    for (index, part) in buffer.chunks_mut(8_160).enumerate() {
        let block = (index as u64).to_be_bytes();
        let infos = [&info[..], &block[..]];
        let expanded = key.expand(&infos, Length(part.len()));
        expanded
            .and_then(|expanded| expanded.fill(part))
            .map_err(|_| FuncError::new("the seed gives no bytes"))?;
    }
    Ok(())
}

impl Host for World {
    fn policy(&self) -> Policy {
        self.policy
    }

    fn now(&mut self, function: &str, site: &Site<'_>) -> Result<i128, FuncError> {
        match self.policy {
            Policy::Forbid => Err(forbidden(function, site)),
            Policy::Seeded | Policy::Live => Ok(self.now),
        }
    }

    fn random(
        &mut self,
        function: &str,
        site: &Site<'_>,
        buffer: &mut [u8],
    ) -> Result<(), FuncError> {
        match (self.policy, self.entropy) {
            (Policy::Live, Some(entropy)) => entropy(buffer).map_err(FuncError::new),
            (Policy::Seeded, _) => {
                let place = (site.file.to_owned(), function.to_owned());
                let drawn = self.drawn.entry(place).or_insert(0);
                let count = drawn.to_be_bytes();
                *drawn += 1;
                let place: [&[u8]; 3] = [site.file.as_bytes(), function.as_bytes(), &count];
                seeded_bytes(&self.seed, &place, buffer)
            }
            _ => Err(forbidden(function, site)),
        }
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}
