//! Certificates in the shape that Go's x509 gives them.

use roadstead_template::{Call, FuncError, Function, Purity, Signature, Str, Type, Value, fmt};
use sha2::{Digest as _, Sha256};

use super::der::{OCTET_STRING, SET, bits, oid, sequence, tagged, unsigned};
use super::keys::{PrivateKey, pem};
use crate::encode::decode64;
use crate::go::ip;
use crate::go::strconv::quote;
use crate::go::time::{Time, Zone};
use crate::objects::{CERTIFICATE, CertificateObject};
use crate::random::Stream;
use crate::table::{STR, STR_STR};
use crate::values::{NIL_POINTER, Outcome, any, failed, int, text};

const CA: Signature = Signature::fixed(&[Type::Str, Type::INT]);
const CA_KEY: Signature = Signature::fixed(&[Type::Str, Type::INT, Type::Str]);
const SELF: Signature = Signature::fixed(&[Type::Str, Type::LIST, Type::LIST, Type::INT]);
const SELF_KEY: Signature =
    Signature::fixed(&[Type::Str, Type::LIST, Type::LIST, Type::INT, Type::Str]);
const SIGNED: Signature =
    Signature::fixed(&[Type::Str, Type::LIST, Type::LIST, Type::INT, CERTIFICATE]);
const SIGNED_KEY: Signature = Signature::fixed(&[
    Type::Str,
    Type::LIST,
    Type::LIST,
    Type::INT,
    CERTIFICATE,
    Type::Str,
]);

const fn crypto(
    name: &'static str,
    signature: Signature,
    native: roadstead_template::Native,
) -> Function {
    Function::native(name, signature, Purity::Crypto, native)
}

pub(super) const ROWS: &[Function] = &[
    crypto("genPrivateKey", STR, |call, args| {
        let kind = text(args, 0);
        let make = match &kind[..] {
            b"" | b"rsa" => |stream: &mut Stream| PrivateKey::rsa(stream, 4096),
            b"dsa" => PrivateKey::dsa,
            b"ecdsa" => PrivateKey::ec,
            b"ed25519" => PrivateKey::ed25519,
            _ => return Ok(Value::str([b"Unknown type ", &kind[..]].concat())),
        };
        let mut stream = costly(call, 1_000_000)?;
        Ok(Value::str(make(&mut stream).to_pem()))
    }),
    Function::pure("buildCustomCert", STR_STR, build_custom),
    crypto("genCA", CA, |call, args| {
        let wish = Wish::new(&text(args, 0), &Value::Nil, &Value::Nil, int(args, 1))?;
        let (key, stream) = fresh_key(call)?;
        wish.issue(call, stream, &key, None, true)
    }),
    crypto("genCAWithKey", CA_KEY, |call, args| {
        let key = given_key(&text(args, 2))?;
        let wish = Wish::new(&text(args, 0), &Value::Nil, &Value::Nil, int(args, 1))?;
        let stream = costly(call, 100_000)?;
        wish.issue(call, stream, &key, None, true)
    }),
    crypto("genSelfSignedCert", SELF, |call, args| {
        let (key, stream) = fresh_key(call)?;
        wish(args)?.issue(call, stream, &key, None, false)
    }),
    crypto("genSelfSignedCertWithKey", SELF_KEY, |call, args| {
        let key = given_key(&text(args, 4))?;
        let stream = costly(call, 100_000)?;
        wish(args)?.issue(call, stream, &key, None, false)
    }),
    crypto("genSignedCert", SIGNED, |call, args| {
        let (key, stream) = fresh_key(call)?;
        signed(call, args, &key, stream)
    }),
    crypto("genSignedCertWithKey", SIGNED_KEY, |call, args| {
        let key = given_key(&text(args, 5))?;
        let stream = costly(call, 100_000)?;
        signed(call, args, &key, stream)
    }),
];

/// Counts the work and draws the bytes for it.
fn costly(call: &mut Call<'_>, fuel: u64) -> Result<Stream, FuncError> {
    call.crypto()?;
    call.spend(fuel)?;
    Stream::draw(call)
}

fn fresh_key(call: &mut Call<'_>) -> Result<(PrivateKey, Stream), FuncError> {
    let mut stream = costly(call, 300_000)?;
    let key = PrivateKey::rsa(&mut stream, 2048);
    Ok((key, stream))
}

fn given_key(pem: &[u8]) -> Result<PrivateKey, FuncError> {
    PrivateKey::from_pem(pem).map_err(|error| failed(format!("parsing private key: {error}")))
}

fn wish(args: &[Value]) -> Result<Wish, FuncError> {
    Wish::new(&text(args, 0), any(args, 1), any(args, 2), int(args, 3))
}

/// What a certificate is to say.
struct Wish {
    name: Str,
    addresses: Vec<Vec<u8>>,
    hosts: Vec<Str>,
    days: i64,
}

/// Who signs a certificate, if not its own key.
struct Issuer {
    key: PrivateKey,
    name: Vec<u8>,
    key_id: Option<Vec<u8>>,
}

impl Wish {
    fn new(name: &Str, ips: &Value, hosts: &Value, days: i64) -> Result<Wish, FuncError> {
        let items = |list: &Value| list.as_list().map(|list| list.items().into_owned());
        let shown = |value: &Value| {
            fmt::value_text(value)
                .map(|text| String::from_utf8_lossy(&text).into_owned())
                .map_err(FuncError::limit)
        };
        let mut addresses = Vec::new();
        for value in items(ips).unwrap_or_default() {
            let Value::Str(text) = &value else {
                let text = shown(&value)?;
                return Err(failed(format!("error parsing ip: {text} is not a string")));
            };
            let Some(address) = ip::parse(text) else {
                return Err(failed(format!("error parsing ip: {}", text.to_text())));
            };
            addresses.push(address);
        }
        let mut names = Vec::new();
        for value in items(hosts).unwrap_or_default() {
            let Value::Str(text) = &value else {
                let text = shown(&value)?;
                return Err(failed(format!(
                    "error processing alternate dns name: {text} is not a string"
                )));
            };
            names.push(text.clone());
        }
        Ok(Wish {
            name: name.clone(),
            addresses,
            hosts: names,
            days,
        })
    }

    fn issue(
        &self,
        call: &mut Call<'_>,
        mut stream: Stream,
        key: &PrivateKey,
        issuer: Option<Issuer>,
        authority: bool,
    ) -> Outcome {
        let refuse = |message: &str| failed(format!("error creating certificate: {message}"));
        let signer = issuer.as_ref().map_or(key, |issuer| &issuer.key);
        if !signer.can_sign() {
            return Err(refuse(
                "x509: certificate private key does not implement crypto.Signer",
            ));
        }
        if !key.can_sign() {
            return Err(refuse("x509: only RSA, ECDSA and Ed25519 keys supported"));
        }
        let mut serial = [0; 16];
        stream.fill(&mut serial);
        serial[15] |= u8::from(serial == [0; 16]);
        let nanoseconds = call.now()?;
        let now = i64::try_from(nanoseconds.div_euclid(1_000_000_000)).unwrap_or(0);
        // Go multiplies nanoseconds, so a life of more than 292 years wraps around.
        let life = 86_400_000_000_000_i64.wrapping_mul(self.days);
        let end = Time::at(now, 0, Zone::Utc).add(life);
        let subject = distinguished(&self.name);
        let (public, point) = key.public();
        let extensions = self
            .extensions(&subject, &point, issuer.as_ref(), authority)
            .map_err(|message| refuse(&message))?;
        let algorithm = signer.algorithm();
        let content = sequence(&[
            &tagged(0xA0, &unsigned(&[2])),
            &unsigned(&serial),
            &algorithm,
            issuer.as_ref().map_or(&subject, |issuer| &issuer.name),
            &sequence(&[
                &moment(&Time::at(now, 0, Zone::Utc)).map_err(refuse)?,
                &moment(&end).map_err(refuse)?,
            ]),
            &subject,
            &public,
            &tagged(0xA3, &sequence(&[&extensions])),
        ]);
        let signature = signer.sign(&content).map_err(|message| refuse(&message))?;
        let certificate = sequence(&[&content, &algorithm, &bits(&signature)]);
        Ok(Value::object(CertificateObject {
            cert: pem("CERTIFICATE", certificate),
            key: key.to_pem(),
        }))
    }

    fn extensions(
        &self,
        subject: &[u8],
        point: &[u8],
        issuer: Option<&Issuer>,
        authority: bool,
    ) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        let mut add = |id: u8, critical: bool, value: &[u8]| {
            let critical: &[u8] = if critical { &[1, 1, 0xFF] } else { &[] };
            let value = tagged(OCTET_STRING, value);
            out.extend(sequence(&[&oid(&[0x55, 0x1D, id]), critical, &value]));
        };
        // Digital signature and key encipherment; for an authority certificate signing as well.
        let usage: &[u8] = if authority { &[2, 0xA4] } else { &[5, 0xA0] };
        add(15, true, &tagged(super::der::BIT_STRING, usage));
        let purpose = |last: u8| oid(&[0x2B, 6, 1, 5, 5, 7, 3, last]);
        add(37, false, &sequence(&[&purpose(1), &purpose(2)]));
        let basic: &[u8] = if authority { &[1, 1, 0xFF] } else { &[] };
        add(19, true, &sequence(&[basic]));
        if authority {
            let digest = Sha256::digest(point);
            add(14, false, &tagged(OCTET_STRING, &digest[..20]));
        }
        if let Some(issuer) = issuer
            && issuer.name != subject
            && let Some(key_id) = &issuer.key_id
        {
            add(35, false, &sequence(&[&tagged(0x80, key_id)]));
        }
        if !self.hosts.is_empty() || !self.addresses.is_empty() {
            let mut names = Vec::new();
            for host in &self.hosts {
                if !host.is_ascii() {
                    let host = quote(host);
                    return Err(format!("x509: {host} cannot be encoded as an IA5String"));
                }
                names.extend(tagged(0x82, host));
            }
            for address in &self.addresses {
                names.extend(tagged(0x87, address));
            }
            let nameless = subject == sequence(&[]);
            add(17, nameless, &sequence(&[&names]));
        }
        Ok(out)
    }
}

/// A name that holds a common name only; nothing if that is empty.
fn distinguished(name: &[u8]) -> Vec<u8> {
    if name.is_empty() {
        return sequence(&[]);
    }
    let printable = |byte: &u8| byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(byte);
    let tag = if name.iter().all(printable) {
        0x13
    } else {
        0x0C
    };
    let pair = sequence(&[&oid(&[0x55, 4, 3]), &tagged(tag, name)]);
    sequence(&[&tagged(SET, &pair)])
}

fn moment(time: &Time) -> Result<Vec<u8>, &'static str> {
    let year = time.date().0;
    if !(0..10_000).contains(&year) {
        return Err("asn1: structure error: cannot represent time as GeneralizedTime");
    }
    Ok(if (1950..2050).contains(&year) {
        tagged(0x17, &time.format(b"060102150405Z"))
    } else {
        tagged(0x18, &time.format(b"20060102150405Z"))
    })
}

fn signed(call: &mut Call<'_>, args: &[Value], key: &PrivateKey, stream: Stream) -> Outcome {
    let Some(authority) = any(args, 4).downcast::<CertificateObject>() else {
        return Err(failed(NIL_POINTER));
    };
    let Ok(block) = ::pem::parse(&authority.cert) else {
        return Err(failed("unable to decode certificate"));
    };
    let unreadable = |error: String| {
        failed(format!(
            "error parsing certificate: decodedSignerCert.Bytes: {error}"
        ))
    };
    let (_, certificate) = x509_parser::parse_x509_certificate(block.contents())
        .map_err(|error| unreadable(format!("x509: malformed certificate: {error}")))?;
    let signer = PrivateKey::from_pem(&authority.key)
        .map_err(|error| failed(format!("error parsing private key: {error}")))?;
    let wish = wish(args)?;
    if signer.can_sign() && signer.public().0 != certificate.tbs_certificate.subject_pki.raw {
        return Err(failed(
            "error creating certificate: x509: provided PrivateKey doesn't match parent's PublicKey",
        ));
    }
    let key_id =
        certificate
            .iter_extensions()
            .find_map(|extension| match extension.parsed_extension() {
                x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(id) => {
                    Some(id.0.to_vec())
                }
                _ => None,
            });
    let issuer = Issuer {
        key: signer,
        name: certificate.tbs_certificate.subject.as_raw().to_vec(),
        key_id,
    };
    wish.issue(call, stream, key, Some(issuer), false)
}

fn build_custom(_: &mut Call<'_>, args: &[Value]) -> Outcome {
    let cert =
        decode64(&text(args, 0)).map_err(|_| failed("unable to decode base64 certificate"))?;
    let key =
        decode64(&text(args, 1)).map_err(|_| failed("unable to decode base64 private key"))?;
    let Ok(block) = ::pem::parse(&cert) else {
        return Err(failed("unable to decode certificate"));
    };
    x509_parser::parse_x509_certificate(block.contents()).map_err(|error| {
        failed(format!(
            "error parsing certificate: decodedCert.Bytes: x509: malformed certificate: {error}"
        ))
    })?;
    PrivateKey::from_pem(&key)
        .map_err(|error| failed(format!("error parsing private key: {error}")))?;
    Ok(Value::object(CertificateObject { cert, key }))
}
