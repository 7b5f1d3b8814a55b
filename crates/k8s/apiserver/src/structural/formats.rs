//! The formats of texts and numbers that are checked; any other is not looked at.

use std::net::{Ipv4Addr, Ipv6Addr};

/// What Kubernetes 1.36 checks of texts, without dashes.
const TEXTS: [&str; 26] = [
    "bsonobjectid",
    "uri",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "cidr",
    "mac",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
    "isbn",
    "isbn10",
    "isbn13",
    "creditcard",
    "ssn",
    "hexcolor",
    "rgbcolor",
    "byte",
    "password",
    "date",
    "duration",
    "datetime",
    "k8sshortname",
    "k8slongname",
];

fn plain(format: &str) -> String {
    format.replace('-', "")
}

/// Is this format looked at, on values of these types?
pub(crate) fn is_supported(types: &[&str], format: &str) -> bool {
    match types {
        ["integer"] => matches!(format, "int32" | "int64"),
        ["number"] => matches!(format, "float" | "double"),
        // one of several types counts as none
        ["string"] | [] | [_, _, ..] => is_known(format),
        _ => false,
    }
}

/// Is it a format of texts?
pub(crate) fn is_known(format: &str) -> bool {
    TEXTS.contains(&plain(format).as_str())
}

fn matches(pattern: &'static str, text: &str) -> bool {
    base_regexp::compile(pattern.as_bytes()).is_ok_and(|made| made.regex.is_match(text.as_bytes()))
}

/// Does a text have this format?
pub(crate) fn fits(format: &str, text: &str) -> bool {
    match plain(format).as_str() {
        "uri" => is_request_uri(text),
        "email" => is_email(text),
        "hostname" => is_hostname(text),
        "ipv4" => text.contains('.') && (ipv4(text).is_some() || text.parse::<Ipv6Addr>().is_ok()),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "mac" => is_mac(text),
        "bsonobjectid" => text.len() == 24 && text.bytes().all(|c| c.is_ascii_hexdigit()),
        "uuid" => is_uuid(text, None),
        "uuid3" => is_uuid(text, Some('3')),
        "uuid4" => is_uuid(text, Some('4')) && is_random_variant(text),
        "uuid5" => is_uuid(text, Some('5')) && is_random_variant(text),
        "isbn" => is_isbn10(text) || is_isbn13(text),
        "isbn10" => is_isbn10(text),
        "isbn13" => is_isbn13(text),
        "creditcard" => is_credit_card(text),
        "ssn" => text.len() == 11 && matches(r"^\d{3}[- ]?\d{2}[- ]?\d{4}$", text),
        "hexcolor" => matches("^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$", text),
        "rgbcolor" => is_rgb_color(text),
        "byte" => is_base64(text),
        "date" => is_date(text),
        "duration" => is_duration(text),
        "datetime" => is_date_time(text),
        "k8sshortname" => text.len() <= 63 && is_short_name(text),
        "k8slongname" => text.len() <= 253 && text.split('.').all(is_short_name),
        _ => true,
    }
}

fn is_short_name(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.iter().all(|c| inner(*c) || *c == b'-')
        && bytes.first().is_some_and(|c| inner(*c))
        && bytes.last().is_some_and(|c| inner(*c))
}

/// An address whose parts may have leading zeros.
fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let mut parts = [0_u8; 4];
    let mut all = text.split('.');
    for part in &mut parts {
        let digits = all.next()?;
        if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
            return None;
        }
        let trimmed = digits.trim_start_matches('0');
        *part = if trimmed.is_empty() {
            0
        } else {
            trimmed.parse().ok()?
        };
    }
    all.next().is_none().then(|| Ipv4Addr::from(parts))
}

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return false;
    };
    let max = if ipv4(address).is_some() {
        32
    } else if address.parse::<Ipv6Addr>().is_ok() {
        128
    } else {
        return false;
    };
    let digits = !length.is_empty() && length.bytes().all(|c| c.is_ascii_digit());
    digits && length.parse::<u32>().is_ok_and(|length| length <= max)
}

fn is_mac(text: &str) -> bool {
    let hex = |part: &str, width: usize| {
        part.len() == width && part.bytes().all(|c| c.is_ascii_hexdigit())
    };
    let even = |separator: char, width: usize, counts: [usize; 3]| {
        let parts: Vec<&str> = text.split(separator).collect();
        counts.contains(&parts.len()) && parts.iter().all(|part| hex(part, width))
    };
    even(':', 2, [6, 8, 20]) || even('-', 2, [6, 8, 20]) || even('.', 4, [3, 4, 10])
}

/// Groups of 8, 4, 4, 4 and 12, with or without a dash between.
fn is_uuid(text: &str, version: Option<char>) -> bool {
    let mut rest = text;
    for (index, width) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if index > 0 {
            rest = rest.strip_prefix('-').unwrap_or(rest);
        }
        let Some((part, after)) = rest.split_at_checked(width) else {
            return false;
        };
        if !part.bytes().all(|c| c.is_ascii_hexdigit())
            || (index == 2 && version.is_some_and(|version| !part.starts_with(version)))
        {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}

fn is_random_variant(text: &str) -> bool {
    let digits: Vec<char> = text.chars().filter(|c| *c != '-').collect();
    digits
        .get(16)
        .is_some_and(|c| matches!(c.to_ascii_lowercase(), '8' | '9' | 'a' | 'b'))
}

fn bare(text: &str) -> String {
    text.chars()
        .filter(|c| !matches!(c, ' ' | '\t' | '\n' | '\x0c' | '\r' | '-'))
        .collect()
}

fn is_isbn10(text: &str) -> bool {
    let digits = bare(text);
    let bytes = digits.as_bytes();
    if bytes.len() != 10 || !bytes[..9].iter().all(u8::is_ascii_digit) {
        return false;
    }
    let last = match bytes[9] {
        b'X' => 10,
        c if c.is_ascii_digit() => u32::from(c - b'0'),
        _ => return false,
    };
    let sum: u32 = (1..)
        .zip(&bytes[..9])
        .map(|(factor, c)| factor * u32::from(c - b'0'))
        .sum();
    (sum + 10 * last).is_multiple_of(11)
}

fn is_isbn13(text: &str) -> bool {
    let digits = bare(text);
    let bytes = digits.as_bytes();
    if bytes.len() != 13 || !bytes.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let sum: u32 = bytes[..12]
        .iter()
        .enumerate()
        .map(|(index, c)| u32::from(c - b'0') * if index % 2 == 0 { 1 } else { 3 })
        .sum();
    u32::from(bytes[12] - b'0') == (10 - sum % 10) % 10
}

fn is_credit_card(text: &str) -> bool {
    const KNOWN: &str = "^(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|(222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35\\d{3})\\d{11}|6[27][0-9]{14})$";
    let digits = bare(text);
    if !matches(KNOWN, &digits) {
        return false;
    }
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(index, c)| {
            let digit = u32::from(c - b'0');
            match (index % 2, digit) {
                (0, digit) => digit,
                (_, digit) if digit > 4 => digit * 2 - 9,
                (_, digit) => digit * 2,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

fn is_rgb_color(text: &str) -> bool {
    const PART: &str = r"\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*";
    let pattern = format!(r"^rgb\({PART},{PART},{PART}\)$");
    base_regexp::compile(pattern.as_bytes()).is_ok_and(|made| made.regex.is_match(text.as_bytes()))
}

fn is_base64(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.is_empty() || !bytes.len().is_multiple_of(4) {
        return false;
    }
    let end = bytes.iter().rev().take_while(|c| **c == b'=').count();
    let body = &bytes[..bytes.len() - end];
    end <= 2
        && body
            .iter()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/'))
}

fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 10
        && bytes.iter().enumerate().all(|(index, c)| match index {
            4 | 7 => *c == b'-',
            _ => c.is_ascii_digit(),
        })
        && text.parse::<jiff::civil::Date>().is_ok()
}

fn is_date_time(text: &str) -> bool {
    if text.len() < 4 {
        return false;
    }
    let lower = text.to_lowercase();
    let mut parts = lower.split('t');
    let (Some(date), Some(time)) = (parts.next(), parts.next()) else {
        return false;
    };
    const TIME: &str = "^([0-9]{2}):([0-9]{2}):([0-9]{2})(.[0-9]+)?(z|([+-][0-9]{2}:[0-9]{2}))$";
    is_date(date)
        && matches(TIME, time)
        && time.get(..2).is_some_and(|hour| hour <= "23")
        && time.get(3..5).is_some_and(|minute| minute <= "59")
        && time.get(6..8).is_some_and(|second| second <= "59")
}

/// Go's own durations, and those of Scala: `3 days`.
fn is_duration(text: &str) -> bool {
    is_go_duration(text) || {
        const WORDS: [(&str, bool); 20] = [
            ("ns", false),
            ("nano", true),
            ("us", false),
            ("µs", false),
            ("micro", true),
            ("ms", false),
            ("milli", true),
            ("s", false),
            ("sec", true),
            ("m", false),
            ("min", true),
            ("h", false),
            ("hr", false),
            ("hour", true),
            ("d", false),
            ("day", true),
            ("w", false),
            ("wk", false),
            ("week", true),
            ("weeks", false),
        ];
        let found = base_regexp::compile(r"((\d+)\s*([A-Za-zµ]+))".as_bytes());
        found.is_ok_and(|made| {
            made.regex.captures_iter(text.as_bytes()).any(|one| {
                let unit = one.get(3).map_or(&b""[..], |unit| unit.as_bytes());
                let unit = String::from_utf8_lossy(unit).to_lowercase();
                WORDS
                    .iter()
                    .any(|(word, open)| unit == *word || (*open && unit.starts_with(word)))
            })
        })
    }
}

fn is_go_duration(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    if text == "0" {
        return true;
    }
    let mut rest = text;
    let mut nanos = 0.0_f64;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (digits, after) = rest.split_at(end);
        if digits.is_empty() || digits == "." || digits.matches('.').count() > 1 {
            return false;
        }
        let units = [
            ("ns", 1.0),
            ("us", 1e3),
            ("µs", 1e3),
            ("μs", 1e3),
            ("ms", 1e6),
            ("s", 1e9),
            ("m", 60e9),
            ("h", 3600e9),
        ];
        let word = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(word);
        let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
            return false;
        };
        nanos += digits.parse::<f64>().unwrap_or(f64::MAX) * factor;
        rest = after;
    }
    // 290 years are all that it can hold
    !text.is_empty() && nanos <= 9.223_372_036_854_776e18
}

/// One label with at most one dash, behind its first character; or several labels and a domain of letters.
fn is_hostname(text: &str) -> bool {
    let symbol = base_regexp::compile(br"^\p{S}$");
    let inner = |c: &char| {
        let is_symbol = || {
            let mut bytes = [0; 4];
            let text = c.encode_utf8(&mut bytes);
            symbol
                .as_ref()
                .is_ok_and(|made| made.regex.is_match(text.as_bytes()))
        };
        c.is_ascii_digit() || is_letter(*c) || is_symbol()
    };
    if text.len() > 255 || text.split('.').any(|part| part.len() > 63) {
        return false;
    }
    let (labels, last) = match text.rsplit_once('.') {
        Some(split) => split,
        None => {
            let mut chars = text.chars().peekable();
            let first = chars.next().is_some_and(|c| inner(&c));
            chars.next_if_eq(&'-');
            return first && chars.all(|c| inner(&c));
        }
    };
    let label = |label: &str| {
        let chars: Vec<char> = label.chars().collect();
        chars.first().is_some_and(inner)
            && chars.last().is_some_and(inner)
            && chars.iter().all(|c| *c == '-' || inner(c))
    };
    labels.split('.').all(label) && last.chars().count() >= 2 && last.chars().all(is_letter)
}

fn is_letter(c: char) -> bool {
    c.is_alphabetic()
}

/// What Go's `mail.ParseAddress` takes, as far as plain and named addresses go.
fn is_email(text: &str) -> bool {
    let text = text.trim();
    let address = match text.strip_suffix('>') {
        Some(named) => match named.rsplit_once('<') {
            Some((_, address)) => address,
            None => return false,
        },
        None => text,
    };
    let Some((local, domain)) = address.rsplit_once('@') else {
        return false;
    };
    let atom = |part: &str| {
        !part.is_empty()
            && part.chars().all(|c| {
                c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !c.is_ascii()
            })
    };
    let quoted = local.len() > 2 && local.starts_with('"') && local.ends_with('"');
    let literal = domain
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|address| {
            let address = address.strip_prefix("IPv6:").unwrap_or(address);
            address.parse::<std::net::IpAddr>().is_ok()
        });
    (quoted || local.split('.').all(atom)) && (literal || domain.split('.').all(atom))
}

/// What Go's `url.ParseRequestURI` takes: an absolute URL or an absolute path.
fn is_request_uri(text: &str) -> bool {
    if text.is_empty() || text.chars().any(|c| c.is_ascii_control()) {
        return false;
    }
    if text == "*" {
        return true;
    }
    let scheme_end = text.find(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c));
    let rest = match scheme_end {
        Some(0) if text.starts_with(':') => return false,
        Some(end)
            if text[end..].starts_with(':')
                && text.starts_with(|c: char| c.is_ascii_alphabetic()) =>
        {
            let rest = &text[end + 1..];
            // without a path there is nothing to ask a server for, but Go lets it pass with a scheme
            if !rest.starts_with('/') {
                return !rest.is_empty() || end > 0;
            }
            rest
        }
        _ => text,
    };
    if !rest.starts_with('/') {
        return false;
    }
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let _ = query;
    let path = match rest.strip_prefix("//") {
        Some(after) if rest.len() < text.len() => {
            let end = after.find('/').unwrap_or(after.len());
            if !is_host(&after[..end]) {
                return false;
            }
            &after[end..]
        }
        _ => rest,
    };
    percents_fit(path)
}

fn percents_fit(text: &str) -> bool {
    text.split('%')
        .skip(1)
        .all(|after| after.len() >= 2 && after.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit))
}

fn is_host(authority: &str) -> bool {
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((name, port)) => (name, port),
            None => return false,
        },
        None => match host.find(':') {
            Some(at) => host.split_at(at),
            None => (host, ""),
        },
    };
    let port_fits = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|port| port.bytes().all(|c| c.is_ascii_digit()));
    port_fits
        && !name
            .chars()
            .any(|c| c.is_ascii() && !c.is_ascii_alphanumeric() && !"-._~!$&'()*+,;=:%".contains(c))
        && percents_fit(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_those_of_the_real_one() {
        for (format, good, bad) in [
            (
                "date-time",
                &["2014-12-15T19:30:20.000Z", "2014-12-15t19:30:20+01:00"][..],
                &["now", "2014-12-15", "2014-12-15T25:00:00Z"][..],
            ),
            ("date", &["2006-01-02"], &["2006-13-02", "2006-1-2"]),
            (
                "duration",
                &["1h30m", "0", "22 ns", "3 days", "-5s"],
                &["", "abc", "5 lightyears"],
            ),
            (
                "uuid",
                &[
                    "01020304-0506-0708-090a-0b0c0d0e0f10",
                    "01020304050607080910111213141516",
                ],
                &["0102"],
            ),
            ("ipv4", &["10.0.0.1", "010.0.0.1"], &["::1", "1.2.3"]),
            ("ipv6", &["::1"], &["10.0.0.1"]),
            (
                "cidr",
                &["10.0.0.0/8", "::/0"],
                &["10.0.0.0", "10.0.0.0/33"],
            ),
            ("mac", &["01:23:45:67:89:ab", "0123.4567.89ab"], &["01:23"]),
            ("byte", &["aGVsbG8="], &["", "a"]),
            ("email", &["a@b.c", "A B <a@b.c>"], &["a", "a@", "@b"]),
            (
                "uri",
                &["http://example.com/x?y", "/x"],
                &["x", "http://a b/", "http://[::1"],
            ),
            ("hostname", &["example.com", "a"], &["-a", "a..b"]),
            ("isbn", &["0321751043", "978-0321751041"], &["1"]),
            ("hexcolor", &["#FFFFFF", "abc"], &["#12"]),
            ("rgbcolor", &["rgb(1, 2, 3)"], &["rgb(1,2,300)"]),
            ("ssn", &["111-11-1111"], &["111111111"]),
            (
                "creditcard",
                &["4111-1111-1111-1111"],
                &["4111111111111112"],
            ),
            ("k8s-short-name", &["a-b"], &["-a", "a.b"]),
        ] {
            for text in good {
                assert!(fits(format, text), "{format}: {text}");
            }
            for text in bad {
                assert!(!fits(format, text), "{format}: {text}");
            }
        }
        assert!(!is_supported(&["string"], "int32"));
        assert!(is_supported(&["integer"], "int32"));
    }
}
