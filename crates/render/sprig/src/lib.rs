//! The functions that Helm gives to templates: Sprig's, with Go's results and error texts, and Helm's own.
//!
//! Each is a row with its name, its Go signature and what its result hangs on (nothing, the clock, chance, a cluster);
//! [`functions`] gives the table of a dialect. The template machine checks arguments by the signatures, so what is here
//! never sees one of a wrong type. A function that panics in Go is an error with the panic's text.
//!
//! What differs from Helm differs because renders must be the same everywhere: the zone "Local" is UTC, `keys` and
//! `values` are in the order of the keys, `env` and `expandenv` do not exist, and random bytes come from the render's
//! host, which may forbid them, draw them from a seed ([`World`]), or let them be.
//!
//! Versions and constraints as Helm compares them are public in [`semver`].

mod codec;
mod crypto;
mod dates;
mod decimal;
mod defaults;
mod dict;
mod encode;
pub mod go;
pub mod helm;
mod list;
mod merge;
mod network;
mod numbers;
pub mod objects;
mod patterns;
mod random;
mod reflect;
pub mod semver;
mod strings;
mod table;
pub mod toml;
mod values;
mod words;
mod world;

pub use world::{Entropy, World, seeded_bytes};

use roadstead_template::{Function, Functions};

/// Whose functions they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// Helm 3.21: 220 functions.
    Helm3,
    /// Helm 4.2: `mustToYaml` and `mustToToml` as well.
    #[default]
    Helm4,
}

/// The rows that both dialects have, by category.
const CATEGORIES: &[&[Function]] = &[
    defaults::ROWS,
    reflect::ROWS,
    strings::ROWS,
    numbers::ROWS,
    dates::ROWS,
    dict::ROWS,
    encode::ROWS,
    patterns::ROWS,
    network::ROWS,
    helm::ROWS,
];

/// All functions of a dialect, besides Go's own builtins.
pub fn functions(dialect: Dialect) -> Functions {
    let more: &[Function] = match dialect {
        Dialect::Helm3 => &[],
        Dialect::Helm4 => encode::HELM4_ROWS,
    };
    let rows = CATEGORIES
        .iter()
        .chain(list::ROWS)
        .chain(crypto::ROWS)
        .copied()
        .chain([more])
        .flatten();
    Functions::new(rows.copied())
}
