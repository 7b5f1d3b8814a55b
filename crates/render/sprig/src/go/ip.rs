//! Internet addresses as Go's `net/netip` and `net.ParseIP` read them.

use super::strconv::quote;

fn refuse(text: &[u8], message: &str, at: &[u8]) -> String {
    let at = if at.is_empty() {
        String::new()
    } else {
        format!(" (at {})", quote(at))
    };
    format!("ParseAddr({}): {message}{at}", quote(text))
}

fn v4(whole: &[u8], text: &[u8]) -> Result<[u8; 4], String> {
    let (mut value, mut digits, mut field) = (0_u32, 0, 0);
    let mut out = [0; 4];
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                if digits == 1 && value == 0 {
                    return Err(refuse(whole, "IPv4 field has octet with leading zero", b""));
                }
                value = value * 10 + u32::from(byte - b'0');
                digits += 1;
                if value > 255 {
                    return Err(refuse(whole, "IPv4 field has value >255", b""));
                }
            }
            b'.' => {
                if at == 0 || at + 1 == text.len() || text[at - 1] == b'.' {
                    let message = "IPv4 field must have at least one digit";
                    return Err(refuse(whole, message, &text[at..]));
                }
                if field == 3 {
                    return Err(refuse(whole, "IPv4 address too long", b""));
                }
                out[field] = value as u8;
                field += 1;
                (value, digits) = (0, 0);
            }
            _ => return Err(refuse(whole, "unexpected character", &text[at..])),
        }
    }
    if field < 3 {
        return Err(refuse(whole, "IPv4 address too short", b""));
    }
    out[3] = value as u8;
    Ok(out)
}

fn v6(whole: &[u8]) -> Result<([u8; 16], bool), String> {
    let mut rest = whole;
    let mut zoned = false;
    if let Some(at) = whole.iter().position(|byte| *byte == b'%') {
        rest = &whole[..at];
        zoned = true;
        if at + 1 == whole.len() {
            return Err(refuse(whole, "zone must be a non-empty string", b""));
        }
    }
    let mut ip = [0_u8; 16];
    let mut ellipsis = None;
    if rest.starts_with(b"::") {
        ellipsis = Some(0);
        rest = &rest[2..];
        if rest.is_empty() {
            return Ok((ip, zoned));
        }
    }
    let mut at = 0;
    while at < 16 {
        let mut value = 0_u32;
        let mut digits = 0;
        while let Some(digit) = rest.get(digits).and_then(|b| char::from(*b).to_digit(16)) {
            value = value << 4 | digit;
            if digits > 3 {
                return Err(refuse(whole, "each group must have 4 or less digits", rest));
            }
            digits += 1;
        }
        if digits == 0 {
            let message = "each colon-separated field must have at least one digit";
            return Err(refuse(whole, message, rest));
        }
        if rest.get(digits) == Some(&b'.') {
            if ellipsis.is_none() && at != 12 {
                let message =
                    "embedded IPv4 address must replace the final 2 fields of the address";
                return Err(refuse(whole, message, rest));
            }
            if at + 4 > 16 {
                let message =
                    "too many hex fields to fit an embedded IPv4 at the end of the address";
                return Err(refuse(whole, message, rest));
            }
            ip[at..at + 4].copy_from_slice(&v4(whole, rest)?);
            rest = b"";
            at += 4;
            break;
        }
        ip[at] = (value >> 8) as u8;
        ip[at + 1] = value as u8;
        at += 2;
        rest = &rest[digits..];
        if rest.is_empty() {
            break;
        }
        if rest[0] != b':' {
            return Err(refuse(whole, "unexpected character, want colon", rest));
        }
        if rest.len() == 1 {
            let message = "colon must be followed by more characters";
            return Err(refuse(whole, message, rest));
        }
        rest = &rest[1..];
        if rest[0] == b':' {
            if ellipsis.is_some() {
                return Err(refuse(whole, "multiple :: in address", rest));
            }
            ellipsis = Some(at);
            rest = &rest[1..];
            if rest.is_empty() {
                break;
            }
        }
    }
    if !rest.is_empty() {
        return Err(refuse(whole, "trailing garbage after address", rest));
    }
    match ellipsis {
        None if at < 16 => return Err(refuse(whole, "address string too short", b"")),
        Some(_) if at == 16 => {
            let message = "the :: must expand to at least one field of zeros";
            return Err(refuse(whole, message, b""));
        }
        Some(from) => {
            let gap = 16 - at;
            ip.copy_within(from..at, from + gap);
            ip[from..from + gap].fill(0);
        }
        None => {}
    }
    Ok((ip, zoned))
}

/// Checks the address between the brackets of a host.
pub(super) fn check_v6_literal(text: &[u8]) -> Result<(), String> {
    let mark = text.iter().find(|byte| matches!(byte, b'.' | b':' | b'%'));
    let refused = match mark {
        Some(b':') => v6(text).err(),
        Some(b'.') => match v4(text, text) {
            Ok(_) => return Err("invalid IP-literal".to_owned()),
            Err(message) => Some(message),
        },
        Some(_) => Some(refuse(text, "missing IPv6 address", b"")),
        None => Some(refuse(text, "unable to parse IP", b"")),
    };
    refused.map_or(Ok(()), |message| Err(format!("invalid host: {message}")))
}

/// Reads an address without a zone: 4 bytes for version 4 (also when it is written as version 6), else 16.
pub fn parse(text: &[u8]) -> Option<Vec<u8>> {
    let mark = text.iter().find(|byte| matches!(byte, b'.' | b':'))?;
    if *mark == b'.' {
        return v4(text, text).ok().map(|ip| ip.to_vec());
    }
    let (ip, zoned) = v6(text).ok()?;
    if zoned {
        return None;
    }
    match ip.strip_prefix(b"\0\0\0\0\0\0\0\0\0\0\xff\xff") {
        Some(v4) => Some(v4.to_vec()),
        None => Some(ip.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses() {
        assert_eq!(parse(b"10.0.0.1"), Some(vec![10, 0, 0, 1]));
        assert_eq!(parse(b"::ffff:1.2.3.4"), Some(vec![1, 2, 3, 4]));
        let loopback = parse(b"::1").unwrap();
        assert_eq!((loopback.len(), loopback[15]), (16, 1));
        let middle = parse(b"2001:db8::68").unwrap();
        assert_eq!(middle[..4], [0x20, 1, 0x0d, 0xb8]);
        assert_eq!(middle[14..], [0, 0x68]);
        for text in [
            "",
            "1.2.3",
            "01.2.3.4",
            "1.2.3.256",
            "fe80::1%e",
            "1::2::3",
            "12345::",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
