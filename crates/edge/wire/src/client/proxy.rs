//! The way through an HTTP proxy (RFC 9110, CONNECT).

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::Uri;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::WireError;
use super::connect::{Target, dial};

/// The most bytes of a proxy's answer.
const MAX_ANSWER: usize = 16 << 10;

/// The proxy to use, as `HTTPS_PROXY` and `NO_PROXY` name it. Both are passed in: this crate reads no environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxySettings {
    /// The proxy's URL; none or empty for a direct connection.
    pub https_proxy: Option<String>,
    /// Hosts to connect to directly, by commas: names (with everything below them), addresses, ranges, `*`; each with
    /// a port, if it is only for that.
    pub no_proxy: String,
}

/// A proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    host: String,
    port: u16,
    /// The credentials, in base64.
    authorization: Option<String>,
}

impl ProxySettings {
    /// The proxy for a host; `None` for a direct connection.
    pub(super) fn proxy_for(&self, host: &str, port: u16) -> Result<Option<Proxy>, WireError> {
        let Some(url) = self.https_proxy.as_deref().filter(|url| !url.is_empty()) else {
            return Ok(None);
        };
        if self
            .no_proxy
            .split(',')
            .any(|pattern| covers(pattern.trim(), host, port))
        {
            return Ok(None);
        }
        Proxy::parse(url).map(Some)
    }
}

impl Proxy {
    fn parse(url: &str) -> Result<Self, WireError> {
        // what is shown carries no password
        let (credentials, shown) = match url.rsplit_once('@') {
            Some((before, host)) => {
                let (scheme, credentials) = before.split_once("://").unwrap_or(("http", before));
                (Some(credentials), format!("{scheme}://{host}"))
            }
            None => (None, url.to_owned()),
        };
        let wrong = |why: String| WireError::ProxyUrl {
            url: shown.clone(),
            why,
        };
        let full = if shown.contains("://") {
            shown.clone()
        } else {
            format!("http://{shown}")
        };
        let uri: Uri = full.parse().map_err(|error| wrong(format!("{error}")))?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong(format!(
                "{:?} proxies are not supported",
                uri.scheme_str().unwrap_or_default()
            )));
        }
        let host = uri
            .host()
            .ok_or_else(|| wrong("it has no host".to_owned()))?;
        Ok(Self {
            host: host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            port: uri.port_u16().unwrap_or(80),
            authorization: credentials.map(|text| BASE64.encode(percent_decoded(text))),
        })
    }
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = text
            .get(at + 1..at + 3)
            .filter(|_| bytes[at] == b'%')
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(escaped.unwrap_or(bytes[at]));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    out
}

/// Is the host one of those that the pattern of `NO_PROXY` names?
fn covers(pattern: &str, host: &str, port: u16) -> bool {
    if pattern == "*" {
        return true;
    }
    if pattern.is_empty() {
        return false;
    }
    let address: Option<IpAddr> = host.parse().ok();
    if let (Some(address), Some((net, bits))) = (address, pattern.split_once('/')) {
        return in_range(address, net, bits);
    }
    let (name, only) = match pattern.rsplit_once(':') {
        Some((name, digits)) if !name.contains(':') || name.ends_with(']') => {
            match digits.parse::<u16>() {
                Ok(only) => (name, Some(only)),
                Err(_) => (pattern, None),
            }
        }
        _ => (pattern, None),
    };
    if only.is_some_and(|only| only != port) {
        return false;
    }
    let name = name.trim_start_matches('[').trim_end_matches(']');
    if let (Some(address), Ok(named)) = (address, name.parse::<IpAddr>()) {
        return address == named;
    }
    let name = name.trim_start_matches('*').trim_start_matches('.');
    let (host, name) = (host.to_ascii_lowercase(), name.to_ascii_lowercase());
    !name.is_empty()
        && (host == name
            || host
                .strip_suffix(&name)
                .is_some_and(|rest| rest.ends_with('.')))
}

fn in_range(address: IpAddr, net: &str, bits: &str) -> bool {
    let (Ok(net), Ok(bits)) = (net.parse::<IpAddr>(), bits.parse::<u32>()) else {
        return false;
    };
    match (address, net) {
        (IpAddr::V4(address), IpAddr::V4(net)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            u32::from(address) & mask == u32::from(net) & mask
        }
        (IpAddr::V6(address), IpAddr::V6(net)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            u128::from(address) & mask == u128::from(net) & mask
        }
        _ => false,
    }
}

/// Connects to the hub through a proxy.
pub(super) async fn tunnel(proxy: &Proxy, target: &Target) -> Result<TcpStream, WireError> {
    let refused = |status: String| WireError::Proxy {
        proxy: format!("{}:{}", proxy.host, proxy.port),
        target: target.to_string(),
        status,
    };
    let mut stream = dial("proxy", &proxy.host, proxy.port).await?;
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(authorization) = &proxy.authorization {
        request.push_str(&format!("Proxy-Authorization: Basic {authorization}\r\n"));
    }
    request.push_str("\r\n");
    let lost = |error: std::io::Error| refused(error.to_string());
    stream.write_all(request.as_bytes()).await.map_err(lost)?;
    // read to the end of the head and not one byte further: what follows is the hub's
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MAX_ANSWER {
            return Err(refused("its answer has no end".to_owned()));
        }
        let mut byte = [0];
        if stream.read(&mut byte).await.map_err(lost)? == 0 {
            return Err(refused("it closed the connection".to_owned()));
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head);
    let line = head.lines().next().unwrap_or_default();
    let (version, status) = line.split_once(' ').unwrap_or((line, ""));
    if !version.starts_with("HTTP/1.") {
        return Err(refused(format!("it does not speak HTTP: {line:?}")));
    }
    if !status.starts_with('2') {
        return Err(refused(status.to_owned()));
    }
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_need_no_proxy_are_known() {
        for (pattern, host, expected) in [
            ("*", "hub.example", true),
            ("", "hub.example", false),
            ("example", "hub.example", true),
            (".example", "hub.example", true),
            ("*.example", "hub.example", true),
            ("ample", "hub.example", false),
            ("HUB.example", "hub.EXAMPLE", true),
            ("hub.example:443", "hub.example", true),
            ("hub.example:8443", "hub.example", false),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("0.0.0.0/0", "11.1.2.3", true),
            ("10.0.0.0/99", "10.1.2.3", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("fd00::/8", "fd12::1", true),
            ("[fd12::1]:443", "fd12::1", true),
            ("fd12::1", "fd12::1", true),
            ("fd12::1", "fd12::2", false),
        ] {
            assert_eq!(covers(pattern, host, 443), expected, "{pattern} {host}");
        }
    }

    #[test]
    fn a_proxy_is_read_and_its_password_never_shown() {
        let parse = |url: &str| Proxy::parse(url);
        let proxy = parse("http://jo:p%40ss@proxy.example:3128").unwrap();
        assert_eq!((proxy.host.as_str(), proxy.port), ("proxy.example", 3128));
        assert_eq!(proxy.authorization, Some(BASE64.encode("jo:p@ss")));
        assert_eq!(parse("proxy:3128").unwrap().port, 3128);
        let error = parse("socks5://jo:secret@proxy:1").unwrap_err().to_string();
        assert!(
            error.contains("socks5://proxy:1") && !error.contains("secret"),
            "{error}"
        );
    }
}
