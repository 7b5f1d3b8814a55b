//! What Go's standard library does, as far as the template functions show it: text, numbers, time, paths, addresses.

pub mod duration;
pub mod ip;
pub mod json;
pub mod path;
pub mod regexp;
pub mod strconv;
pub mod time;
mod time_parse;
pub mod unicode;
pub mod url;

mod layout;
#[rustfmt::skip]
mod tables;
