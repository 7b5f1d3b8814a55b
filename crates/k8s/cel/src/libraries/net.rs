//! Addresses and networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::libraries::Object;
use crate::show::quote;
use crate::value::{Value, error, no_overload, text};

fn address(raw: &str) -> Result<IpAddr, String> {
    let fault = |why: String| {
        format!(
            "IP Address {} parse error during conversion from string: {why}",
            quote(raw)
        )
    };
    let (plain, zone) = match raw.split_once('%') {
        Some((plain, zone)) if plain.contains(':') => (plain, Some(zone)),
        _ => (raw, None),
    };
    let addr = parse(plain).map_err(|why| fault(format!("ParseAddr({}): {why}", quote(raw))))?;
    match zone {
        Some("") => {
            return Err(fault(format!(
                "ParseAddr({}): zone must be a non-empty string",
                quote(raw)
            )));
        }
        Some(_) => {
            return Err(format!(
                "IP address {} with zone value is not allowed",
                quote(raw)
            ));
        }
        None => {}
    }
    mapped(raw, addr)
}

fn mapped(raw: &str, addr: IpAddr) -> Result<IpAddr, String> {
    if let IpAddr::V6(v6) = addr
        && v6.to_ipv4_mapped().is_some()
    {
        return Err(format!(
            "IPv4-mapped IPv6 address {} is not allowed",
            quote(raw)
        ));
    }
    Ok(addr)
}

fn parse(text: &str) -> Result<IpAddr, String> {
    match text.find(['.', ':', '%']) {
        Some(at) if text.as_bytes()[at] == b'.' => four(text).map(IpAddr::V4),
        Some(at) if text.as_bytes()[at] == b':' => text
            .parse::<Ipv6Addr>()
            .map(IpAddr::V6)
            .map_err(|_| "unable to parse IP".into()),
        Some(_) => Err("missing IPv6 address".into()),
        None => Err("unable to parse IP".into()),
    }
}

fn four(text: &str) -> Result<Ipv4Addr, String> {
    let mut fields = [0_u8; 4];
    let (mut at, mut value, mut digits) = (0, 0_u32, 0);
    let bytes = text.as_bytes();
    for (i, b) in bytes.iter().enumerate() {
        match b {
            b'0'..=b'9' => {
                if digits == 1 && value == 0 {
                    return Err("IPv4 field has octet with leading zero".into());
                }
                value = value * 10 + u32::from(b - b'0');
                digits += 1;
                if value > 255 {
                    return Err("IPv4 field has value >255".into());
                }
            }
            b'.' => {
                if i == 0 || i == bytes.len() - 1 || bytes[i - 1] == b'.' {
                    return Err(format!(
                        "IPv4 field must have at least one digit (at {})",
                        quote(&text[i..])
                    ));
                }
                if at == 3 {
                    return Err("IPv4 address too long".into());
                }
                fields[at] = u8::try_from(value).unwrap_or_default();
                at += 1;
                (value, digits) = (0, 0);
            }
            _ => {
                return Err(format!("unexpected character (at {})", quote(&text[i..])));
            }
        }
    }
    if at < 3 {
        return Err("IPv4 address too short".into());
    }
    fields[3] = u8::try_from(value).unwrap_or_default();
    Ok(fields.into())
}

fn network(raw: &str) -> Result<(IpAddr, u8), String> {
    let fault = |why: &str| {
        format!(
            "network address parse error during conversion from string: netip.ParsePrefix({}): {why}",
            quote(raw)
        )
    };
    let (addr, bits) = raw.rsplit_once('/').ok_or_else(|| fault("no '/'"))?;
    let addr = match addr.split_once('%') {
        Some((plain, _)) if plain.contains(':') => {
            parse(plain).map_err(|why| fault(&format!("ParseAddr({}): {why}", quote(addr))))?;
            return Err(fault("IPv6 zones cannot be present in a prefix"));
        }
        _ => parse(addr).map_err(|why| fault(&format!("ParseAddr({}): {why}", quote(addr))))?,
    };
    let wrong = || fault(&format!("bad bits after slash: {}", quote(bits)));
    if bits.is_empty()
        || !bits.bytes().all(|b| b.is_ascii_digit())
        || bits.len() > 1 && bits.starts_with('0')
    {
        return Err(wrong());
    }
    let most = if addr.is_ipv4() { 32 } else { 128 };
    let number: u32 = bits.parse().map_err(|_| wrong())?;
    if number > most {
        return Err(fault("prefix length out of range"));
    }
    mapped(raw, addr).map(|addr| (addr, u8::try_from(number).unwrap_or_default()))
}

/// The address with what is not of the network cleared.
fn masked(addr: IpAddr, bits: u8) -> IpAddr {
    match addr {
        IpAddr::V4(v) => {
            let mask = u32::MAX
                .checked_shl(32 - u32::from(bits))
                .unwrap_or_default();
            IpAddr::V4((u32::from(v) & mask).into())
        }
        IpAddr::V6(v) => {
            let mask = u128::MAX
                .checked_shl(128 - u32::from(bits))
                .unwrap_or_default();
            IpAddr::V6((u128::from(v) & mask).into())
        }
    }
}

fn contains(net: IpAddr, bits: u8, addr: IpAddr) -> bool {
    net.is_ipv4() == addr.is_ipv4() && masked(net, bits) == masked(addr, bits)
}

pub(crate) fn invoke<'a>(id: &str, args: &[Value<'a>]) -> Option<Value<'a>> {
    let first = args.first()?;
    Some(match (id, first) {
        ("string_to_ip", Value::String(s)) => {
            address(s).map_or_else(error, |a| Value::Object(Object::Ip(a)))
        }
        ("is_ip", Value::String(s)) => Value::Bool(address(s).is_ok()),
        ("ip_is_canonical", Value::String(s)) => {
            address(s).map_or_else(error, |a| Value::Bool(a.to_string() == **s))
        }
        ("string_to_cidr", Value::String(s)) => cidr(s),
        ("is_cidr", Value::String(s)) => Value::Bool(network(s).is_ok()),
        (_, Value::Object(Object::Ip(a))) => return of_ip(id, *a),
        (_, Value::Object(Object::Cidr(a, bits))) => return of_cidr(id, *a, *bits, args.get(1)),
        _ => return None,
    })
}

fn cidr<'a>(raw: &str) -> Value<'a> {
    match network(raw) {
        Ok((a, bits)) => Value::Object(Object::Cidr(a, bits)),
        Err(why) => error(format!(
            "network address parse error during conversion from string: {why}"
        )),
    }
}

fn of_ip<'a>(id: &str, a: IpAddr) -> Option<Value<'a>> {
    let broadcast = a == IpAddr::V4(Ipv4Addr::BROADCAST);
    let local = match a {
        IpAddr::V4(v) => v.is_link_local(),
        IpAddr::V6(v) => v.segments()[0] & 0xffc0 == 0xfe80,
    };
    Some(match id {
        "ip_family" => Value::Int(if a.is_ipv4() { 4 } else { 6 }),
        "ip_is_unspecified" => Value::Bool(a.is_unspecified()),
        "ip_is_loopback" => Value::Bool(a.is_loopback()),
        "ip_is_link_local_multicast" => Value::Bool(match a {
            IpAddr::V4(v) => v.octets()[..3] == [224, 0, 0],
            IpAddr::V6(v) => v.segments()[0] & 0xff0f == 0xff02,
        }),
        "ip_is_link_local_unicast" => Value::Bool(local),
        "ip_is_global_unicast" => Value::Bool(
            !broadcast && !a.is_unspecified() && !a.is_loopback() && !a.is_multicast() && !local,
        ),
        "ip_to_string" => text(a.to_string()),
        _ => return None,
    })
}

fn of_cidr<'a>(id: &str, a: IpAddr, bits: u8, other: Option<&Value<'a>>) -> Option<Value<'a>> {
    Some(match (id, other) {
        ("cidr_ip", _) => Value::Object(Object::Ip(a)),
        ("cidr_prefix_length", _) => Value::Int(i64::from(bits)),
        ("cidr_masked", _) => Value::Object(Object::Cidr(masked(a, bits), bits)),
        ("cidr_to_string", _) => text(format!("{a}/{bits}")),
        ("cidr_contains_ip_ip", Some(Value::Object(Object::Ip(b)))) => {
            Value::Bool(contains(a, bits, *b))
        }
        // what is no address is, for the real one, a value of another type
        ("cidr_contains_ip_string", Some(Value::String(s))) => match address(s) {
            Ok(b) => Value::Bool(contains(a, bits, b)),
            Err(_) => no_overload(),
        },
        ("cidr_contains_cidr", Some(Value::Object(Object::Cidr(b, more)))) => {
            Value::Bool(bits <= *more && contains(a, bits, *b))
        }
        ("cidr_contains_cidr_string", Some(Value::String(s))) => match cidr(s) {
            Value::Object(Object::Cidr(b, more)) => {
                Value::Bool(bits <= more && contains(a, bits, b))
            }
            other => other,
        },
        _ => return None,
    })
}
