//! The server from outside.

mod api;
mod common;
mod extensions;
mod kubectl;
mod over_http;
