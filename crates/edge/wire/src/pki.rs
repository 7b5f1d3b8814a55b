//! The hub's certificate authority, and the certificates that it makes.
//!
//! Every key is ECDSA on P-256. An agent's identity stands in a URI SAN and nowhere else:
//! `spiffe://roadstead/cluster/<cluster id>`. A person's stands in the subject, as Kubernetes has it: CN is the user,
//! each O a group.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use base_json::Digest;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SigningKey as _,
    SubjectPublicKeyInfo,
};
use roadstead_model::{ClusterId, Time};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::OID_SIG_ECDSA_WITH_SHA256;
use x509_parser::prelude::FromDer as _;

use crate::der;
use crate::identity::{AGENT_URI, IdentityError, PeerCertificate};
use crate::keys::PublicKey;

/// Why a certificate could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The library refused.
    #[error("failed to {step}")]
    Make {
        /// What was attempted.
        step: &'static str,
        /// Why it failed.
        #[source]
        source: rcgen::Error,
    },
    /// No randomness.
    #[error("failed to read random bytes for a serial number")]
    Random(#[source] getrandom::Error),
    /// A request's signature or form is wrong.
    #[error(
        "certificate request is malformed, not for a P-256 key, or not signed with its own key"
    )]
    Request,
    /// A name cannot stand in a certificate.
    #[error("{0:?} cannot stand in a certificate: neither an IP address nor a DNS name")]
    Name(String),
    /// It is not PEM of what is needed.
    #[error("{what} is not PEM")]
    Pem {
        /// What should have been there.
        what: &'static str,
        /// Why it was not read.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// The key does not belong to the certificate.
    #[error("CA key does not belong to the CA certificate")]
    OtherKey,
    /// The certificate cannot be read.
    #[error("failed to read the certificate just made")]
    Read(#[from] IdentityError),
    /// The TLS library refuses the certificates.
    #[error("failed to set up TLS")]
    Tls(#[from] rustls::Error),
    /// No CA, or none that can be used.
    #[error("failed to set up the trusted CAs: {0}")]
    Roots(String),
}

fn step(step: &'static str) -> impl FnOnce(rcgen::Error) -> PkiError {
    move |source| PkiError::Make { step, source }
}

/// From when until when a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Not before this; in whole seconds.
    pub from: Time,
    /// Not after this; in whole seconds.
    pub until: Time,
}

impl Validity {
    /// From an hour ago, for clocks that are slow, until `duration` from now.
    pub fn starting(now: Time, duration: Duration) -> Self {
        let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            from: Time(now.0.saturating_sub(3_600_000)),
            until: now.plus_ms(ms),
        }
    }
}

fn system_time(time: Time) -> SystemTime {
    // what X.509 can say: 1970 to 9999, in seconds
    let seconds = time.0.div_euclid(1000).clamp(0, 253_402_300_799);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs())
}

/// A certificate that the CA made.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate, in PEM.
    pub certificate_pem: String,
    /// Its serial number, in lower-case hexadecimal digits.
    pub serial: String,
    /// The SHA-256 of its DER.
    pub fingerprint: Digest,
    /// When it ends.
    pub not_after: Time,
}

/// A certificate with its private key.
#[derive(Debug, Clone)]
pub struct IssuedPair {
    /// The certificate.
    pub certificate: Issued,
    /// The private key, in PKCS#8 PEM. It is secret.
    pub key_pem: String,
}

/// The private key of an agent's, a server's or a person's certificate. It never leaves its owner.
pub struct TlsKey(KeyPair);

impl TlsKey {
    /// Makes a new key.
    pub fn generate() -> Result<Self, PkiError> {
        KeyPair::generate().map(Self).map_err(step("make a key"))
    }

    /// Reads PKCS#8 PEM.
    pub fn from_pem(text: &str) -> Result<Self, PkiError> {
        KeyPair::from_pem(text)
            .map(Self)
            .map_err(step("read a private key"))
    }

    /// Writes PKCS#8 PEM. It is secret.
    pub fn to_pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// Makes a certificate request. It names nobody: who the certificate is for is the hub's to say.
    pub fn request_pem(&self) -> Result<String, PkiError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .serialize_request(&self.0)
            .and_then(|request| request.pem())
            .map_err(step("make a certificate request"))
    }
}

impl std::fmt::Debug for TlsKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsKey")
    }
}

/// The digest of the public key (SubjectPublicKeyInfo in DER) that a certificate request is for.
pub fn request_key(request_pem: &str) -> Result<Digest, PkiError> {
    Ok(Digest::of(
        &read_request(request_pem)?.subject_public_key_info(),
    ))
}

/// Reads a request and checks that whoever made it has the key. Everything else in it is ignored.
fn read_request(request_pem: &str) -> Result<SubjectPublicKeyInfo, PkiError> {
    let refused = || PkiError::Request;
    let block = pem::parse(request_pem).map_err(|_| refused())?;
    let (_, request) =
        X509CertificationRequest::from_der(block.contents()).map_err(|_| refused())?;
    let info = &request.certification_request_info;
    let key = PublicKey::from_der(info.subject_pki.raw).map_err(|_| refused())?;
    let signed_by_itself = request.signature_algorithm.algorithm == OID_SIG_ECDSA_WITH_SHA256
        && key.verifies(info.raw, &request.signature_value.data);
    if !signed_by_itself {
        return Err(refused());
    }
    SubjectPublicKeyInfo::from_der(info.subject_pki.raw).map_err(step("read a public key"))
}

/// The SHA-256 of a certificate's DER: a CA's is in every join token.
pub fn certificate_hash(certificate_pem: &str) -> Result<Digest, PkiError> {
    Ok(Digest::of(&read_certificate(certificate_pem)?))
}

/// From when until when a certificate is good.
pub fn certificate_validity(certificate_pem: &str) -> Result<Validity, PkiError> {
    let der = read_certificate(certificate_pem)?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).map_err(|_| PkiError::Pem {
        what: "certificate",
        source: rustls_pki_types::pem::Error::NoItemsFound,
    })?;
    let time = |at: x509_parser::time::ASN1Time| Time(at.timestamp().saturating_mul(1000));
    Ok(Validity {
        from: time(parsed.validity().not_before),
        until: time(parsed.validity().not_after),
    })
}

pub(crate) fn read_certificate(text: &str) -> Result<CertificateDer<'static>, PkiError> {
    CertificateDer::from_pem_slice(text.as_bytes()).map_err(|source| PkiError::Pem {
        what: "certificate",
        source,
    })
}

pub(crate) fn read_certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|source| PkiError::Pem {
            what: "certificate chain",
            source,
        })
}

pub(crate) fn read_key(text: &str) -> Result<PrivateKeyDer<'static>, PkiError> {
    PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes())
        .map(Into::into)
        .map_err(|source| PkiError::Pem {
            what: "private key",
            source,
        })
}

/// The hub's certificate authority.
pub struct Ca {
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Ca {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ca({})", self.hash())
    }
}

impl Ca {
    /// Makes a new one.
    pub fn generate(name: &str, validity: Validity) -> Result<Self, PkiError> {
        let key = KeyPair::generate().map_err(step("make the CA's key"))?;
        let mut params = blank(validity)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params
            .self_signed(&key)
            .map_err(step("make the CA certificate"))?;
        Self::of(certificate.into(), key)
    }

    fn of(der: CertificateDer<'static>, key: KeyPair) -> Result<Self, PkiError> {
        let issuer =
            Issuer::from_ca_cert_der(&der, key).map_err(step("read the CA certificate"))?;
        Ok(Self { der, issuer })
    }

    /// Reads what [`certificate_pem`](Self::certificate_pem) and [`key_pem`](Self::key_pem) wrote.
    pub fn load(certificate_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        let der = read_certificate(certificate_pem)?;
        let key = KeyPair::from_pem(key_pem).map_err(step("read the CA's key"))?;
        let certificate = PeerCertificate::parse(&der)?;
        if certificate.public_key != Digest::of(&key.subject_public_key_info()) {
            return Err(PkiError::OtherKey);
        }
        Self::of(der, key)
    }

    /// The certificate, in PEM.
    pub fn certificate_pem(&self) -> String {
        pem::encode(&pem::Pem::new("CERTIFICATE", self.der.to_vec()))
    }

    /// The private key, in PKCS#8 PEM. It is secret.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// The SHA-256 of the certificate's DER.
    pub fn hash(&self) -> Digest {
        Digest::of(&self.der)
    }

    /// Makes a server certificate for DNS names and IP addresses.
    pub fn server(&self, names: &[String], validity: Validity) -> Result<IssuedPair, PkiError> {
        let mut params = blank(validity)?;
        for name in names {
            let san = match name.parse::<IpAddr>() {
                Ok(ip) => SanType::IpAddress(ip),
                Err(_) => SanType::DnsName(
                    name.as_str()
                        .try_into()
                        .map_err(|_| PkiError::Name(name.clone()))?,
                ),
            };
            params.subject_alt_names.push(san);
        }
        let first = names.first().map_or("roadstead hub", String::as_str);
        params.distinguished_name.push(DnType::CommonName, first);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.pair(params)
    }

    /// Makes a person's certificate: the user's name and groups.
    pub fn user(
        &self,
        name: &str,
        groups: &[String],
        validity: Validity,
    ) -> Result<IssuedPair, PkiError> {
        let mut params = blank(validity)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        // rcgen's names hold one value of each type, and a person may be in many groups: the name is put in afterwards
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(PkiError::Random)?;
        let placeholder = Digest::of(&random).hex();
        params
            .distinguished_name
            .push(DnType::CommonName, placeholder.as_str());
        let key = KeyPair::generate().map_err(step("make a key"))?;
        let made = params
            .signed_by(&key, &self.issuer)
            .map_err(step("sign a certificate"))?;
        let attributes = groups
            .iter()
            .map(|group| (der::ORGANIZATION, group.as_str()))
            .chain([(der::COMMON_NAME, name)]);
        let old = der::name([(der::COMMON_NAME, placeholder.as_str())]);
        let der = der::with_subject(made.der(), &old, &der::name(attributes), |message| {
            self.issuer.key().sign(message)
        })
        .map_err(step("sign a certificate"))?
        .ok_or_else(|| PkiError::Name(name.to_owned()))?;
        Ok(IssuedPair {
            certificate: issued(&der)?,
            key_pem: key.serialize_pem(),
        })
    }

    /// Makes an agent's certificate from its request. Of the request only the key is used.
    pub fn agent(
        &self,
        request_pem: &str,
        cluster: &ClusterId,
        validity: Validity,
    ) -> Result<Issued, PkiError> {
        let key = read_request(request_pem)?;
        let mut params = blank(validity)?;
        let uri = format!("{AGENT_URI}{cluster}");
        let uri = uri
            .as_str()
            .try_into()
            .map_err(|_| PkiError::Name(uri.clone()))?;
        params.subject_alt_names.push(SanType::URI(uri));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params, &key)
    }

    fn pair(&self, params: CertificateParams) -> Result<IssuedPair, PkiError> {
        let key = KeyPair::generate().map_err(step("make a key"))?;
        Ok(IssuedPair {
            certificate: self.sign(&params, &key)?,
            key_pem: key.serialize_pem(),
        })
    }

    fn sign(
        &self,
        params: &CertificateParams,
        key: &impl PublicKeyData,
    ) -> Result<Issued, PkiError> {
        let certificate = params
            .signed_by(key, &self.issuer)
            .map_err(step("sign a certificate"))?;
        issued(certificate.der())
    }
}

fn issued(der: &[u8]) -> Result<Issued, PkiError> {
    let parsed = PeerCertificate::parse(der)?;
    Ok(Issued {
        certificate_pem: pem::encode(&pem::Pem::new("CERTIFICATE", der)),
        serial: parsed.serial,
        fingerprint: parsed.fingerprint,
        not_after: parsed.not_after,
    })
}

/// Parameters without a name, with a random serial number.
fn blank(validity: Validity) -> Result<CertificateParams, PkiError> {
    let mut serial = [0; 16];
    getrandom::fill(&mut serial).map_err(PkiError::Random)?;
    // positive, and of full length
    serial[0] = serial[0] & 0x7f | 0x40;
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.distinguished_name = DistinguishedName::new();
    params.not_before = system_time(validity.from).into();
    params.not_after = system_time(validity.until).into();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Subject;

    const YEAR: Validity = Validity {
        from: Time(1_700_000_000_000),
        until: Time(1_800_000_000_000),
    };

    #[test]
    fn a_ca_survives_pem_and_refuses_another_key() {
        let ca = Ca::generate("hub", YEAR).unwrap();
        let again = Ca::load(&ca.certificate_pem(), &ca.key_pem()).unwrap();
        assert_eq!(ca.hash(), again.hash());
        assert_eq!(ca.hash(), certificate_hash(&ca.certificate_pem()).unwrap());
        let other = Ca::generate("hub", YEAR).unwrap();
        let error = Ca::load(&ca.certificate_pem(), &other.key_pem()).unwrap_err();
        assert!(matches!(error, PkiError::OtherKey), "{error}");
    }

    #[test]
    fn an_agent_is_what_the_hub_says_whatever_it_asks_for() {
        let ca = Ca::generate("hub", YEAR).unwrap();
        let key = TlsKey::generate().unwrap();
        let mut params = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let request = params.serialize_request(&key.0).unwrap().pem().unwrap();
        let made = ca
            .agent(&request, &ClusterId("c-1".to_owned()), YEAR)
            .unwrap();
        let der = read_certificate(&made.certificate_pem).unwrap();
        let parsed = PeerCertificate::parse(&der).unwrap();
        assert_eq!(parsed.subject, Subject::Agent(ClusterId("c-1".to_owned())));
        assert_eq!(parsed.not_after, YEAR.until);
        assert_eq!(parsed.public_key, request_key(&request).unwrap());
        assert_eq!((parsed.serial.len(), &parsed.serial), (32, &made.serial));
        let (_, x509) = x509_parser::parse_x509_certificate(&der).unwrap();
        assert!(!x509.is_ca());
        assert_eq!(x509.subject().to_string(), "");
        let names = x509.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names.len(), 1);
    }

    #[test]
    fn a_request_must_be_signed_with_its_own_key() {
        let request = TlsKey::generate().unwrap().request_pem().unwrap();
        assert!(request_key(&request).is_ok());
        let block = pem::parse(&request).unwrap();
        let (_, parsed) = X509CertificationRequest::from_der(block.contents()).unwrap();
        // behind the outer header stands what is signed
        for at in 3..3 + parsed.certification_request_info.raw.len() {
            let mut bytes = block.contents().to_vec();
            bytes[at] ^= 1;
            let changed = pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", bytes));
            assert!(request_key(&changed).is_err(), "byte {at}");
        }
        assert!(request_key("").is_err());
    }

    #[test]
    fn a_person_has_a_name_and_any_number_of_groups() {
        let ca = Ca::generate("hub", YEAR).unwrap();
        for groups in [
            vec![],
            vec!["a"],
            vec!["system:masters", "ops", "dev, and \u{fc}"],
        ] {
            let groups: Vec<String> = groups.into_iter().map(str::to_owned).collect();
            let made = ca.user("jo", &groups, YEAR).unwrap();
            let der = read_certificate(&made.certificate.certificate_pem).unwrap();
            let expected = Subject::User {
                name: "jo".to_owned(),
                groups,
            };
            assert_eq!(PeerCertificate::parse(&der).unwrap().subject, expected);
            assert!(TlsKey::from_pem(&made.key_pem).is_ok());
        }
    }
}
