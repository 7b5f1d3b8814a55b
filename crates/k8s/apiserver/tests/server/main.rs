//! The server from outside.

mod api;
mod common;
mod extensions;
mod hostile;
mod kubectl;
mod life;
mod over_http;
