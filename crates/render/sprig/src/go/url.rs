//! Addresses as Go's `net/url` parts and joins them.

use super::strconv::quote;
use super::unicode::find;

/// Which part of an address a text stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Path,
    Host,
    Zone,
    User,
    Fragment,
}

/// An address in parts. Text is bytes, decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Url {
    /// In lower case.
    pub scheme: Vec<u8>,
    /// What follows the scheme when it is no path.
    pub opaque: Vec<u8>,
    /// User name, and the password if there is one.
    pub user: Option<(Vec<u8>, Option<Vec<u8>>)>,
    /// Host and port.
    pub host: Vec<u8>,
    /// Decoded.
    pub path: Vec<u8>,
    /// As it stands.
    pub query: Vec<u8>,
    /// Decoded.
    pub fragment: Vec<u8>,
    /// Whether two slashes are left out where there is no host.
    pub omit_host: bool,
}

fn must_escape(byte: u8, place: Place) -> bool {
    if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
        return false;
    }
    if matches!(place, Place::Host | Place::Zone) {
        return !b"!$&'()*+,;=:[]<>\"".contains(&byte);
    }
    if b"$&+,/:;=?@".contains(&byte) {
        return match place {
            Place::Path => byte == b'?',
            Place::User => matches!(byte, b'@' | b'/' | b'?' | b':'),
            _ => false,
        };
    }
    !(place == Place::Fragment && matches!(byte, b'!' | b'(' | b')' | b'*'))
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

fn unescape(text: &[u8], place: Place) -> Result<Vec<u8>, String> {
    let bad = |part: &[u8]| format!("invalid URL escape {}", quote(part));
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let byte = text[at];
        if byte != b'%' {
            let hosted = matches!(place, Place::Host | Place::Zone);
            if hosted && byte < 0x80 && must_escape(byte, place) {
                return Err(format!(
                    "invalid character {} in host name",
                    quote(&text[at..=at])
                ));
            }
            out.push(byte);
            at += 1;
            continue;
        }
        let rest = &text[at..];
        let part = &rest[..rest.len().min(3)];
        let digits = (
            part.get(1).copied().and_then(hex),
            part.get(2).copied().and_then(hex),
        );
        let (Some(high), Some(low)) = digits else {
            return Err(bad(part));
        };
        let value = high << 4 | low;
        if place == Place::Host && high < 8 && part != b"%25" {
            return Err(bad(part));
        }
        if place == Place::Zone
            && part != b"%25"
            && value != b' '
            && must_escape(value, Place::Host)
        {
            return Err(bad(part));
        }
        out.push(value);
        at += 3;
    }
    Ok(out)
}

fn escape(text: &[u8], place: Place) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for &byte in text {
        if must_escape(byte, place) {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            out.push(byte);
        }
    }
    out
}

fn cut(text: &[u8], mark: u8) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == mark) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

/// The scheme and what follows it.
fn scheme(text: &[u8]) -> Result<(&[u8], &[u8]), String> {
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return Err("missing protocol scheme".to_owned()),
            b':' => return Ok((&text[..at], &text[at + 1..])),
            _ => break,
        }
    }
    Ok((b"", text))
}

fn port_fits(port: &[u8]) -> bool {
    port.is_empty() || port[0] == b':' && port[1..].iter().all(u8::is_ascii_digit)
}

fn bad_port(port: &[u8]) -> String {
    format!("invalid port {} after host", quote(port))
}

fn parse_host(scheme: &[u8], host: &[u8]) -> Result<Vec<u8>, String> {
    match host.iter().rposition(|byte| *byte == b'[') {
        Some(0) => {
            let Some(close) = host.iter().rposition(|byte| *byte == b']') else {
                return Err("missing ']' in host".to_owned());
            };
            let port = &host[close + 1..];
            if !port_fits(port) {
                return Err(bad_port(port));
            }
            let port = unescape(port, Place::Host)?;
            let name = &host[1..close];
            let name = match find(name, b"%25") {
                Some(zone) => {
                    let mut decoded = unescape(&name[..zone], Place::Host)?;
                    decoded.extend(unescape(&name[zone..], Place::Zone)?);
                    decoded
                }
                None => unescape(name, Place::Host)?,
            };
            super::ip::check_v6_literal(&name)?;
            return Ok([b"[", &name[..], b"]", &port[..]].concat());
        }
        Some(_) => return Err("invalid IP-literal".to_owned()),
        None => {}
    }
    if let Some(first) = host.iter().position(|byte| *byte == b':') {
        let web = matches!(scheme, b"http" | b"https");
        let last = host.iter().rposition(|byte| *byte == b':').unwrap_or(first);
        let port = &host[if web { first } else { last }..];
        if !port_fits(port) {
            return Err(bad_port(port));
        }
    }
    unescape(host, Place::Host)
}

type User = (Vec<u8>, Option<Vec<u8>>);

fn parse_authority(scheme: &[u8], authority: &[u8]) -> Result<(Option<User>, Vec<u8>), String> {
    let Some(at) = authority.iter().rposition(|byte| *byte == b'@') else {
        return Ok((None, parse_host(scheme, authority)?));
    };
    let host = parse_host(scheme, &authority[at + 1..])?;
    let info = &authority[..at];
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(byte);
    if !info.iter().all(fits) {
        return Err("net/url: invalid userinfo".to_owned());
    }
    let (name, password) = cut(info, b':');
    let name = unescape(name, Place::User)?;
    let password = password
        .map(|text| unescape(text, Place::User))
        .transpose()?;
    Ok((Some((name, password)), host))
}

impl Url {
    /// Parts an address. The error is Go's text.
    pub fn parse(text: &[u8]) -> Result<Url, String> {
        let (before, fragment) = cut(text, b'#');
        let failed =
            |text: &[u8], message: String| Err(format!("parse {}: {message}", quote(text)));
        let mut url = match Url::parse_before_fragment(before) {
            Ok(url) => url,
            Err(message) => return failed(before, message),
        };
        match unescape(fragment.unwrap_or_default(), Place::Fragment) {
            Ok(fragment) => url.fragment = fragment,
            Err(message) => return failed(text, message),
        }
        Ok(url)
    }

    fn parse_before_fragment(text: &[u8]) -> Result<Url, String> {
        if text.iter().any(|byte| *byte < b' ' || *byte == 0x7F) {
            return Err("net/url: invalid control character in URL".to_owned());
        }
        let mut url = Url::default();
        if text == b"*" {
            url.path = b"*".to_vec();
            return Ok(url);
        }
        let (scheme, rest) = scheme(text)?;
        url.scheme = scheme.to_ascii_lowercase();
        let (mut rest, query) = cut(rest, b'?');
        url.query = query.unwrap_or_default().to_vec();
        if !rest.starts_with(b"/") {
            if !url.scheme.is_empty() {
                url.opaque = rest.to_vec();
                return Ok(url);
            }
            if cut(rest, b'/').0.contains(&b':') {
                return Err("first path segment in URL cannot contain colon".to_owned());
            }
        }
        if rest.starts_with(b"//") && (!url.scheme.is_empty() || !rest.starts_with(b"///")) {
            let authority = &rest[2..];
            let end = authority
                .iter()
                .position(|byte| *byte == b'/')
                .unwrap_or(authority.len());
            rest = &authority[end..];
            (url.user, url.host) = parse_authority(&url.scheme, &authority[..end])?;
        } else if !url.scheme.is_empty() && rest.starts_with(b"/") {
            url.omit_host = true;
        }
        url.path = unescape(rest, Place::Path)?;
        Ok(url)
    }

    /// The host without its port and brackets.
    pub fn host_name(&self) -> &[u8] {
        let mut host = &self.host[..];
        if let Some(colon) = host.iter().rposition(|byte| *byte == b':')
            && port_fits(&host[colon..])
        {
            host = &host[..colon];
        }
        match host {
            [b'[', inner @ .., b']'] => inner,
            _ => host,
        }
    }

    /// User name and password as they stand in an address.
    pub fn user_info(&self) -> Vec<u8> {
        let Some((name, password)) = &self.user else {
            return Vec::new();
        };
        let mut out = escape(name, Place::User);
        if let Some(password) = password {
            out.push(b':');
            out.extend(escape(password, Place::User));
        }
        out
    }

    /// The whole address.
    pub fn text(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.scheme.is_empty() {
            out.extend_from_slice(&self.scheme);
            out.push(b':');
        }
        if self.opaque.is_empty() {
            let named = !self.host.is_empty() || self.user.is_some();
            if named || !self.scheme.is_empty() && !self.omit_host {
                if named || !self.path.is_empty() {
                    out.extend_from_slice(b"//");
                }
                if self.user.is_some() {
                    out.extend(self.user_info());
                    out.push(b'@');
                }
                out.extend(escape(&self.host, Place::Host));
            }
            let path = if self.path == b"*" {
                self.path.clone()
            } else {
                escape(&self.path, Place::Path)
            };
            if !path.is_empty() && path[0] != b'/' && !self.host.is_empty() {
                out.push(b'/');
            }
            if out.is_empty() && cut(&path, b'/').0.contains(&b':') {
                out.extend_from_slice(b"./");
            }
            out.extend(path);
        } else {
            out.extend_from_slice(&self.opaque);
        }
        if !self.query.is_empty() {
            out.push(b'?');
            out.extend_from_slice(&self.query);
        }
        if !self.fragment.is_empty() {
            out.push(b'#');
            out.extend(escape(&self.fragment, Place::Fragment));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        let url = Url::parse(b"HTTPS://us%20er:p@ss@[fe80::1%25en0]:80/a%2Fb?q=1#f%20").unwrap();
        assert_eq!(url.scheme, b"https");
        assert_eq!(url.user_info(), b"us%20er:p%40ss");
        assert_eq!(url.host, b"[fe80::1%en0]:80");
        assert_eq!(url.host_name(), b"fe80::1%en0");
        assert_eq!(url.path, b"/a/b");
        assert_eq!(Url::parse(b"mailto:a@b").unwrap().opaque, b"a@b");
        for (text, error) in [
            ("http://[x", "parse \"http://[x\": missing ']' in host"),
            (":x", "parse \":x\": missing protocol scheme"),
            (
                "http://a:b",
                "parse \"http://a:b\": invalid port \":b\" after host",
            ),
            ("/%zz", "parse \"/%zz\": invalid URL escape \"%zz\""),
            ("a:b c/%", ""),
        ] {
            let found = Url::parse(text.as_bytes()).err().unwrap_or_default();
            assert_eq!(found, error, "{text}");
        }
    }
}
