//! The few pieces of DER that the certificate library cannot write.

/// The OID 2.5.4.3, as a DER value.
pub(crate) const COMMON_NAME: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x03];
/// The OID 2.5.4.10, as a DER value.
pub(crate) const ORGANIZATION: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x0a];
/// AlgorithmIdentifier of ecdsa-with-SHA256.
const ECDSA_SHA256: [u8; 12] = [
    0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02,
];

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const UTF8_STRING: u8 = 0x0c;
const BIT_STRING: u8 = 0x03;

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len();
    if length < 128 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let bytes = &bytes[length.leading_zeros() as usize / 8..];
        out.push(0x80 | bytes.len() as u8);
        out.extend_from_slice(bytes);
    }
    out.extend_from_slice(content);
    out
}

/// A Name of (type, value) pairs, each a set of its own.
pub(crate) fn name<'a>(attributes: impl IntoIterator<Item = ([u8; 5], &'a str)>) -> Vec<u8> {
    let mut sets = Vec::new();
    for (oid, value) in attributes {
        let value = tlv(UTF8_STRING, value.as_bytes());
        let pair = tlv(SEQUENCE, &[oid.as_slice(), &value].concat());
        sets.extend(tlv(SET, &pair));
    }
    tlv(SEQUENCE, &sets)
}

/// Puts another subject into an ECDSA-signed certificate and signs it anew; `None` if the old one is not in it.
pub(crate) fn with_subject<E>(
    certificate: &[u8],
    old: &[u8],
    new: &[u8],
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
) -> Result<Option<Vec<u8>>, E> {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else {
        return Ok(None);
    };
    let body = parsed.tbs_certificate.as_ref();
    // the body's own tag and length stand before its content: two bytes, and as many as the second says
    let header = match body.get(1) {
        Some(length) if length & 0x80 != 0 => 2 + usize::from(length & 0x7f),
        _ => 2,
    };
    let Some(at) = body.windows(old.len()).position(|window| window == old) else {
        return Ok(None);
    };
    let content = [&body[header..at], new, &body[at + old.len()..]].concat();
    let body = tlv(SEQUENCE, &content);
    let signature = sign(&body)?;
    let signature = tlv(BIT_STRING, &[&[0], signature.as_slice()].concat());
    let whole = [body.as_slice(), &ECDSA_SHA256, &signature].concat();
    Ok(Some(tlv(SEQUENCE, &whole)))
}
