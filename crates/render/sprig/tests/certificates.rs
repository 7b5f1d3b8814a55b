//! Keys and certificates parse, name what they should, and verify.

mod common;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use common::Renderer;
use roadstead_sprig::Dialect;
use serde_json::{Value as Json, json};
use x509_parser::prelude::*;

fn render(template: &str) -> Json {
    let text = Renderer::new(Dialect::Helm4)
        .render(template, &json!({}))
        .expect("as it should be");
    serde_json::from_slice(&text).expect("as it should be")
}

fn der(pem: &Json) -> Vec<u8> {
    ::pem::parse(pem.as_str().expect("as it should be"))
        .expect("as it should be")
        .into_contents()
}

fn verify(
    certificate: &X509Certificate<'_>,
    issuer: &X509Certificate<'_>,
    by: &'static dyn VerificationAlgorithm,
) {
    let key = &issuer.tbs_certificate.subject_pki.subject_public_key.data;
    UnparsedPublicKey::new(by, key)
        .verify(
            certificate.tbs_certificate.as_ref(),
            &certificate.signature_value.data,
        )
        .expect("the signature verifies");
}

#[test]
fn a_chain_verifies() {
    let made = render(
        r#"{{ $ca := genCA "my ca" 365 }}{{ $leaf := genSignedCert "svc*" (list "10.0.0.1" "::1") (list "a.b" "*.c.d") 30 $ca }}{{ list $ca $leaf | toJson }}"#,
    );
    let (authority, leaf) = (der(&made[0]["Cert"]), der(&made[1]["Cert"]));
    let (_, authority) = parse_x509_certificate(&authority).unwrap();
    let (_, leaf) = parse_x509_certificate(&leaf).unwrap();
    verify(&authority, &authority, &RSA_PKCS1_2048_8192_SHA256);
    verify(&leaf, &authority, &RSA_PKCS1_2048_8192_SHA256);
    assert!(authority.is_ca() && !leaf.is_ca());
    assert_eq!(authority.subject().to_string(), "CN=my ca");
    assert_eq!(leaf.issuer(), authority.subject());
    assert_eq!(leaf.subject().to_string(), "CN=svc*");
    let validity = leaf.validity();
    assert_eq!(validity.not_before.timestamp(), 1_700_000_000);
    assert_eq!(validity.not_after.timestamp(), 1_700_000_000 + 30 * 86_400);
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    let names: Vec<String> = names
        .value
        .general_names
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(
        names[0].contains("a.b") && names[1].contains("*.c.d"),
        "{names:?}"
    );
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && usage.client_auth);
    assert!(
        authority
            .key_usage()
            .unwrap()
            .unwrap()
            .value
            .key_cert_sign()
    );
    assert!(!leaf.key_usage().unwrap().unwrap().value.key_cert_sign());
    let order: Vec<String> = leaf
        .extensions()
        .iter()
        .map(|one| one.oid.to_id_string())
        .collect();
    assert_eq!(
        order,
        [
            "2.5.29.15",
            "2.5.29.37",
            "2.5.29.19",
            "2.5.29.35",
            "2.5.29.17"
        ]
    );
}

#[test]
fn keys_of_other_kinds_sign() {
    for (kind, algorithm) in [
        (
            "ecdsa",
            &ECDSA_P256_SHA256_ASN1 as &'static dyn VerificationAlgorithm,
        ),
        ("ed25519", &ED25519),
    ] {
        let made = render(&format!(
            r#"{{{{ $ca := genCAWithKey "ca" 1 (genPrivateKey "{kind}") }}}}{{{{ $leaf := genSignedCertWithKey "x" nil nil 1 $ca (genPrivateKey "{kind}") }}}}{{{{ $custom := buildCustomCert (b64enc $leaf.Cert) (b64enc $leaf.Key) }}}}{{{{ list $ca $leaf $custom | toJson }}}}"#
        ));
        let (authority, leaf) = (der(&made[0]["Cert"]), der(&made[1]["Cert"]));
        let (_, authority) = parse_x509_certificate(&authority).unwrap();
        let (_, leaf) = parse_x509_certificate(&leaf).unwrap();
        verify(&authority, &authority, algorithm);
        verify(&leaf, &authority, algorithm);
        assert_eq!(made[1], made[2]);
    }
}

#[test]
fn a_foreign_key_does_not_sign() {
    let error = Renderer::new(Dialect::Helm4)
        .render(
            r#"{{ $a := genCAWithKey "a" 1 (genPrivateKey "ecdsa") }}{{ $b := genCAWithKey "b" 1 (genPrivateKey "ed25519") }}{{ $mixed := buildCustomCert (b64enc $a.Cert) (b64enc $b.Key) }}{{ genSignedCertWithKey "x" nil nil 1 $mixed (genPrivateKey "ecdsa") }}"#,
            &json!({}),
        )
        .unwrap_err();
    assert!(
        error.contains("provided PrivateKey doesn't match parent's PublicKey"),
        "{error}"
    );
}

#[test]
fn password_hashes_verify() {
    let made = render(r#"{{ list (bcrypt "secret") (htpasswd "me" "pass") | toJson }}"#);
    let hash = made[0].as_str().unwrap();
    assert!(hash.starts_with("$2a$10$") && bcrypt::verify("secret", hash).unwrap());
    let line = made[1].as_str().unwrap().strip_prefix("me:").unwrap();
    assert!(bcrypt::verify("pass", line).unwrap() && !bcrypt::verify("x", line).unwrap());
}
