//! Random text, password hashes, derived passwords, and texts that a password closes.

use aws_lc_rs::cipher::{
    AES_256, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext, UnboundCipherKey,
};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roadstead_template::{Call, FuncError, Function, IntKind, Purity, Signature, Type, Value};

use crate::encode::decode64;
use crate::go::unicode::{push, runes};
use crate::random::Stream;
use crate::table::{INT, NONE, STR, STR_STR};
use crate::values::{Outcome, failed, int, text};

const DIGITS: &[u8] = b"0123456789";
const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const BOTH: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

const DERIVE: Signature = Signature::fixed(&[
    Type::Int(IntKind::Uint32),
    Type::Str,
    Type::Str,
    Type::Str,
    Type::Str,
]);

pub(super) const ROWS: &[Function] = &[
    random("randAlphaNum", INT, |call, args| letters(call, args, BOTH)),
    random("randAlpha", INT, |call, args| letters(call, args, LETTERS)),
    random("randNumeric", INT, |call, args| letters(call, args, DIGITS)),
    random("randAscii", INT, |call, args| {
        let all: Vec<u8> = (32..127).collect();
        letters(call, args, &all)
    }),
    random("randBytes", INT, |call, args| {
        let Ok(count) = usize::try_from(int(args, 0)) else {
            return Err(failed("runtime error: makeslice: len out of range"));
        };
        call.allocate(count.saturating_mul(3))?;
        call.spend(count as u64 / 64)?;
        let mut bytes = vec![0; count];
        Stream::draw(call)?.fill(&mut bytes);
        Ok(Value::from(STANDARD.encode(bytes)))
    }),
    random("uuidv4", NONE, |call, _| {
        let mut bytes = [0; 16];
        Stream::draw(call)?.fill(&mut bytes);
        bytes[6] = bytes[6] & 0x0F | 0x40;
        bytes[8] = bytes[8] & 0x3F | 0x80;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let parts = [
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..],
        ];
        Ok(Value::from(parts.join("-")))
    }),
    random("shuffle", STR, |call, args| {
        let source = text(args, 0);
        let mut all: Vec<u32> = runes(&source).map(|(_, rune, _)| rune).collect();
        call.spend(all.len() as u64 / 4)?;
        let mut stream = Stream::draw(call)?;
        for at in (1..all.len()).rev() {
            let other = stream.below(at as u64 + 1) as usize;
            all.swap(at, other);
        }
        let mut out = Vec::with_capacity(source.len());
        for rune in all {
            push(&mut out, rune);
        }
        Ok(Value::str(out))
    }),
    Function::native("bcrypt", STR, Purity::Crypto, |call, args| {
        Ok(Value::from(bcrypt(call, &text(args, 0))?))
    }),
    Function::native("htpasswd", STR_STR, Purity::Crypto, |call, args| {
        let user = text(args, 0);
        let user_text = user.to_text();
        if user.contains(&b':') {
            return Ok(Value::from(format!("invalid username: {user_text}")));
        }
        let hash = bcrypt(call, &text(args, 1))?;
        Ok(Value::str([&user[..], b":", hash.as_bytes()].concat()))
    }),
    Function::pure("derivePassword", DERIVE, derive),
    Function::native("encryptAES", STR_STR, Purity::Random, encrypt),
    Function::pure("decryptAES", STR_STR, decrypt),
];

const fn random(
    name: &'static str,
    signature: Signature,
    native: roadstead_template::Native,
) -> Function {
    Function::native(name, signature, Purity::Random, native)
}

fn letters(call: &mut Call<'_>, args: &[Value], from: &[u8]) -> Outcome {
    // A negative count is an error that Sprig swallows.
    let count = usize::try_from(int(args, 0)).unwrap_or(0);
    if count == 0 {
        return Ok(Value::from(""));
    }
    call.allocate(count)?;
    call.spend(count as u64 / 4)?;
    let mut stream = Stream::draw(call)?;
    let text: Vec<u8> = (0..count)
        .map(|_| from[stream.below(from.len() as u64) as usize])
        .collect();
    Ok(Value::str(text))
}

/// The cost that Sprig takes: its library's default.
const COST: u32 = 10;

fn bcrypt(call: &mut Call<'_>, password: &[u8]) -> Result<String, FuncError> {
    if password.len() > 72 {
        return Ok(
            "failed to encrypt string with bcrypt: bcrypt: password length exceeds 72 bytes"
                .to_owned(),
        );
    }
    call.crypto()?;
    call.spend(100_000)?;
    let mut salt = [0; 16];
    Stream::draw(call)?.fill(&mut salt);
    let mut key = password.to_vec();
    key.push(0);
    key.truncate(72);
    let hash = ::bcrypt::bcrypt(COST, salt, &key);
    let coded = |bytes: &[u8]| ::bcrypt::BASE_64.encode(bytes);
    Ok(format!("$2a${COST}${}{}", coded(&salt), coded(&hash[..23])))
}

/// The templates of the Master Password algorithm: which class of characters stands where.
fn password_templates(kind: &[u8]) -> Option<&'static [&'static [u8]]> {
    Some(match kind {
        b"maximum" => &[b"anoxxxxxxxxxxxxxxxxx", b"axxxxxxxxxxxxxxxxxno"],
        b"long" => &[
            b"CvcvnoCvcvCvcv",
            b"CvcvCvcvnoCvcv",
            b"CvcvCvcvCvcvno",
            b"CvccnoCvcvCvcv",
            b"CvccCvcvnoCvcv",
            b"CvccCvcvCvcvno",
            b"CvcvnoCvccCvcv",
            b"CvcvCvccnoCvcv",
            b"CvcvCvccCvcvno",
            b"CvcvnoCvcvCvcc",
            b"CvcvCvcvnoCvcc",
            b"CvcvCvcvCvccno",
            b"CvccnoCvccCvcv",
            b"CvccCvccnoCvcv",
            b"CvccCvccCvcvno",
            b"CvcvnoCvccCvcc",
            b"CvcvCvccnoCvcc",
            b"CvcvCvccCvccno",
            b"CvccnoCvcvCvcc",
            b"CvccCvcvnoCvcc",
            b"CvccCvcvCvccno",
        ],
        b"medium" => &[b"CvcnoCvc", b"CvcCvcno"],
        b"short" => &[b"Cvcn"],
        b"basic" => &[b"aaanaaan", b"aannaaan", b"aaannaaa"],
        b"pin" => &[b"nnnn"],
        _ => return None,
    })
}

fn password_class(class: u8) -> &'static [u8] {
    match class {
        b'V' => b"AEIOU",
        b'C' => b"BCDFGHJKLMNPQRSTVWXYZ",
        b'v' => b"aeiou",
        b'c' => b"bcdfghjklmnpqrstvwxyz",
        b'a' => b"AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz",
        b'n' => DIGITS,
        b'o' => b"@&%?,=[]_:-+*$#!'^~;()/.",
        _ => b"AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz0123456789!@#$%^&*()",
    }
}

fn derive(call: &mut Call<'_>, args: &[Value]) -> Outcome {
    const SCOPE: &[u8] = b"com.lyndir.masterpassword";
    let kind = text(args, 1);
    let Some(templates) = password_templates(&kind) else {
        let kind = kind.to_text();
        return Ok(Value::from(format!("cannot find password template {kind}")));
    };
    call.crypto()?;
    call.spend(500_000)?;
    let counter = int(args, 0) as u32;
    let (password, user, site) = (text(args, 2), text(args, 3), text(args, 4));
    let length = |text: &[u8]| (text.len() as u32).to_be_bytes();
    let salt = [SCOPE, &length(&user), &user[..]].concat();
    let mut key = [0; 64];
    let broken = |_| failed("failed to derive password: scrypt: parameters are too large");
    let parameters = scrypt::Params::new(15, 8, 2).map_err(broken)?;
    scrypt::scrypt(&password, &salt, &parameters, &mut key)
        .map_err(|_| failed("failed to derive password: scrypt: parameters are too large"))?;
    let message = [SCOPE, &length(&site), &site[..], &counter.to_be_bytes()].concat();
    let seed = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &message);
    let seed = seed.as_ref();
    let template = templates[usize::from(seed[0]) % templates.len()];
    let letters = template.iter().zip(&seed[1..]).map(|(class, byte)| {
        let class = password_class(*class);
        class[usize::from(*byte) % class.len()]
    });
    Ok(Value::str(letters.collect::<Vec<u8>>()))
}

fn cipher_key(password: &[u8]) -> Result<UnboundCipherKey, FuncError> {
    let mut key = [0; 32];
    let length = password.len().min(32);
    key[..length].copy_from_slice(&password[..length]);
    UnboundCipherKey::new(&AES_256, &key).map_err(broken_cipher)
}

fn broken_cipher(_: aws_lc_rs::error::Unspecified) -> FuncError {
    failed("the cipher does not work")
}

fn encrypt(call: &mut Call<'_>, args: &[Value]) -> Outcome {
    let (password, plain) = (text(args, 0), text(args, 1));
    if plain.is_empty() {
        return Ok(Value::from(""));
    }
    call.allocate(plain.len().saturating_mul(3))?;
    call.spend(plain.len() as u64 / 32)?;
    let padding = 16 - plain.len() % 16;
    let mut content = plain.to_vec();
    content.extend(vec![padding as u8; padding]);
    let mut start = [0; 16];
    Stream::draw(call)?.fill(&mut start);
    let key = EncryptingKey::cbc(cipher_key(&password)?).map_err(broken_cipher)?;
    key.less_safe_encrypt(&mut content, EncryptionContext::Iv128((&start).into()))
        .map_err(broken_cipher)?;
    Ok(Value::from(
        STANDARD.encode([&start[..], &content].concat()),
    ))
}

fn decrypt(call: &mut Call<'_>, args: &[Value]) -> Outcome {
    let (password, closed) = (text(args, 0), text(args, 1));
    if closed.is_empty() {
        return Ok(Value::from(""));
    }
    call.spend(closed.len() as u64 / 32)?;
    let coded = decode64(&closed).map_err(failed)?;
    let Some((start, content)) = coded.split_first_chunk::<16>() else {
        // What Go allocated for it counts, not how much came out.
        let room = closed.len() / 4 * 3;
        if room < 16 {
            return Err(failed(format!(
                "runtime error: slice bounds out of range [:16] with capacity {room}"
            )));
        }
        return Err(failed("runtime error: slice bounds out of range [16:0]"));
    };
    if content.len() % 16 != 0 {
        return Err(failed("crypto/cipher: input not full blocks"));
    }
    if content.is_empty() {
        return Err(failed("runtime error: index out of range [-1]"));
    }
    let mut content = content.to_vec();
    let key = DecryptingKey::cbc(cipher_key(&password)?).map_err(broken_cipher)?;
    key.decrypt(&mut content, DecryptionContext::Iv128(start.into()))
        .map_err(broken_cipher)?;
    let padding = usize::from(content.last().copied().unwrap_or(0));
    let Some(length) = content.len().checked_sub(padding) else {
        let below = padding - content.len();
        return Err(failed(format!(
            "runtime error: slice bounds out of range [:-{below}]"
        )));
    };
    content.truncate(length);
    Ok(Value::str(content))
}
