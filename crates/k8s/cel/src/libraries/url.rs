//! URLs, as Go reads and writes them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::libraries::Object;
use crate::show::quote;
use crate::value::{Key, Map, Value, error, list, text};

/// A URL.
#[derive(Clone, Debug, Default)]
pub struct Url {
    scheme: String,
    opaque: String,
    user: Option<String>,
    host: String,
    path: Vec<u8>,
    raw_path: String,
    query: Option<String>,
    fragment: Option<String>,
    has_authority: bool,
}

fn hex(b: u8) -> Option<u8> {
    char::from(b)
        .to_digit(16)
        .and_then(|d| u8::try_from(d).ok())
}

/// What percent signs say.
fn unescape(text: &str, plus: bool) -> Result<Vec<u8>, String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                let pair = bytes.get(at + 1).zip(bytes.get(at + 2));
                let Some((high, low)) = pair.and_then(|(a, b)| Some((hex(*a)?, hex(*b)?))) else {
                    let mut end = (at + 3).min(bytes.len());
                    while !text.is_char_boundary(end) {
                        end += 1;
                    }
                    return Err(format!("invalid URL escape {}", quote(&text[at..end])));
                };
                out.push(high * 16 + low);
                at += 3;
            }
            b'+' if plus => {
                out.push(b' ');
                at += 1;
            }
            other => {
                out.push(other);
                at += 1;
            }
        }
    }
    Ok(out)
}

/// The part before the colon, where it is a scheme.
fn scheme(text: &str) -> Result<(&str, &str), String> {
    for (i, b) in text.bytes().enumerate() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if i > 0 => {}
            b':' if i == 0 => return Err("missing protocol scheme".into()),
            b':' => return Ok((&text[..i], &text[i + 1..])),
            _ => return Ok(("", text)),
        }
    }
    Ok(("", text))
}

fn valid_port(port: &str) -> bool {
    port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
}

fn path_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric()
        || matches!(
            b,
            b'-' | b'_'
                | b'.'
                | b'~'
                | b'$'
                | b'&'
                | b'+'
                | b'/'
                | b':'
                | b';'
                | b'='
                | b'@'
                | b','
        )
}

impl Url {
    /// Reads a URL as requests have it: absolute, or a path.
    pub(crate) fn request(text: &str) -> Result<Url, String> {
        Url::parse(text, true).map_err(|why| format!("parse {}: {why}", quote(text)))
    }

    fn parse(text: &str, request: bool) -> Result<Url, String> {
        let (text, fragment) = match text.split_once('#') {
            Some((rest, fragment)) if !request => (rest, Some(fragment.to_owned())),
            _ => (text, None),
        };
        if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
            return Err("net/url: invalid control character in URL".into());
        }
        if text.is_empty() && request {
            return Err("empty url".into());
        }
        let mut url = Url {
            fragment,
            ..Url::default()
        };
        if text == "*" {
            url.path = b"*".to_vec();
            return Ok(url);
        }
        let (scheme, mut rest) = scheme(text)?;
        url.scheme = scheme.to_ascii_lowercase();
        if rest.ends_with('?') && rest.matches('?').count() == 1 {
            rest = &rest[..rest.len() - 1];
            url.query = Some(String::new());
        } else if let Some((before, query)) = rest.split_once('?') {
            rest = before;
            url.query = Some(query.to_owned());
        }
        if !rest.starts_with('/') {
            if !url.scheme.is_empty() {
                url.opaque = rest.to_owned();
                return Ok(url);
            }
            if request {
                return Err("invalid URI for request".into());
            }
            let first = rest.split('/').next().unwrap_or_default();
            if first.contains(':') {
                return Err("first path segment in URL cannot contain colon".into());
            }
        }
        if (!url.scheme.is_empty() || !request && !rest.starts_with("///"))
            && let Some(after) = rest.strip_prefix("//")
        {
            let end = after.find('/').unwrap_or(after.len());
            url.authority(&after[..end])?;
            url.has_authority = true;
            rest = &after[end..];
        }
        url.path = unescape(rest, false)?;
        if rest.bytes().any(|b| b == b'%' || !path_byte(b)) {
            url.raw_path = rest.to_owned();
        }
        Ok(url)
    }

    fn authority(&mut self, text: &str) -> Result<(), String> {
        let host = match text.rsplit_once('@') {
            Some((user, host)) => {
                let legal = |b: u8| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&b);
                if !user.bytes().all(legal) {
                    return Err("net/url: invalid userinfo".into());
                }
                unescape(user, false)?;
                self.user = Some(user.to_owned());
                host
            }
            None => text,
        };
        if let Some(rest) = host.strip_prefix('[') {
            let Some((_, port)) = rest.rsplit_once(']') else {
                return Err("missing ']' in host".into());
            };
            if !valid_port(port) {
                return Err(format!("invalid port {} after host", quote(port)));
            }
        } else if let Some(colon) = host.rfind(':') {
            let port = &host[colon..];
            if !valid_port(port) {
                return Err(format!("invalid port {} after host", quote(port)));
            }
        }
        for (i, c) in host.char_indices() {
            let legal =
                c.is_ascii_alphanumeric() || !c.is_ascii() || "-_.~!$&'()*+,;=:[]<>\"%".contains(c);
            if !legal {
                let end = i + c.len_utf8();
                return Err(format!(
                    "invalid character {} in host name",
                    quote(&host[i..end])
                ));
            }
        }
        self.host = String::from_utf8_lossy(&unescape(host, false)?).into_owned();
        Ok(())
    }

    fn hostname(&self) -> &str {
        if let Some(rest) = self.host.strip_prefix('[')
            && let Some(end) = rest.find(']')
        {
            return &rest[..end];
        }
        match self.host.rfind(':') {
            Some(colon) if valid_port(&self.host[colon..]) => &self.host[..colon],
            _ => &self.host,
        }
    }

    fn port(&self) -> &str {
        match self.host.rfind(':') {
            Some(colon) if valid_port(&self.host[colon..]) && !self.host[colon..].contains(']') => {
                &self.host[colon + 1..]
            }
            _ => "",
        }
    }

    fn escaped_path(&self) -> String {
        let legal = |b: u8| path_byte(b) || b"!'()*[]%".contains(&b);
        if !self.raw_path.is_empty() && self.raw_path.bytes().all(legal) {
            return self.raw_path.clone();
        }
        if self.path == b"*" {
            return "*".into();
        }
        let mut out = String::new();
        for b in &self.path {
            if path_byte(*b) {
                out.push(char::from(*b));
            } else {
                out.push_str(&format!("%{b:02X}"));
            }
        }
        out
    }

    fn query_map<'a>(&self) -> Value<'a> {
        let mut map: BTreeMap<Key, Vec<Value<'a>>> = BTreeMap::new();
        for pair in self.query.iter().flat_map(|q| q.split('&')) {
            if pair.contains(';') || pair.is_empty() {
                continue;
            }
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Ok(key), Ok(value)) = (unescape(key, true), unescape(value, true)) else {
                continue;
            };
            let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            map.entry(Key::String(lossy(&key).into()))
                .or_default()
                .push(text(lossy(&value)));
        }
        let map = map.into_iter().map(|(k, v)| (k, list(v))).collect();
        Value::Map(Map::Entries(Arc::new(map)))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.scheme.is_empty() {
            write!(f, "{}:", self.scheme)?;
        }
        if self.opaque.is_empty() {
            let path = self.escaped_path();
            if !self.scheme.is_empty() && self.has_authority
                || !self.host.is_empty()
                || self.user.is_some()
            {
                f.write_str("//")?;
                if let Some(user) = &self.user {
                    write!(f, "{user}@")?;
                }
                f.write_str(&self.host)?;
            }
            f.write_str(&path)?;
        } else {
            f.write_str(&self.opaque)?;
        }
        if let Some(query) = &self.query {
            write!(f, "?{query}")?;
        }
        if let Some(fragment) = &self.fragment
            && !fragment.is_empty()
        {
            write!(f, "#{fragment}")?;
        }
        Ok(())
    }
}

pub(crate) fn invoke<'a>(id: &str, args: &[Value<'a>]) -> Option<Value<'a>> {
    let first = args.first()?;
    if let Value::String(raw) = first {
        let parsed = match id {
            "is_url_string" => return Some(Value::Bool(Url::request(raw).is_ok())),
            "string_to_url" => Url::request(raw).and_then(|_| {
                Url::parse(raw, false).map_err(|why| format!("parse {}: {why}", quote(raw)))
            }),
            _ => return None,
        };
        return Some(match parsed {
            Ok(url) => Value::Object(Object::Url(Arc::new(url))),
            Err(why) => error(format!(
                "URL parse error during conversion from string: {why}"
            )),
        });
    }
    let Value::Object(Object::Url(url)) = first else {
        return None;
    };
    Some(match id {
        "url_get_scheme" => text(url.scheme.as_str()),
        "url_get_host" => text(url.host.as_str()),
        "url_get_hostname" => text(url.hostname()),
        "url_get_port" => text(url.port()),
        "url_get_escaped_path" => text(url.escaped_path()),
        "url_get_query" => url.query_map(),
        _ => return None,
    })
}
