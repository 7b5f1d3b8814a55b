//! The roles that stay up: hub and agent.

pub(crate) mod agent;
mod backup;
pub(crate) mod clusters;
pub(crate) mod hub;
mod in_cluster;
pub(crate) mod playground;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

/// Reads `ADDRESS:PORT`; `:PORT` is every address of this machine, of both kinds where there are both.
fn address(text: &str) -> Result<SocketAddr, String> {
    let Some(port) = text.strip_prefix(':') else {
        return text.parse().map_err(|_| {
            "it is neither ADDRESS:PORT with an IP address nor :PORT for all addresses".to_owned()
        });
    };
    let port = port.parse().map_err(|_| format!("{port:?} is no port"))?;
    let six = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let both = TcpListener::bind((six, 0)).is_ok();
    let all = if both {
        six
    } else {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    };
    Ok(SocketAddr::new(all, port))
}
