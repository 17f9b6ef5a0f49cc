//! Certificate verification with libpq's levels and libpq's rules for names.
//!
//! Chains are verified by webpki, which is stricter than OpenSSL. Two kinds of certificates that it rejects are those
//! described in PostgreSQL's manual, and are accepted here: a self-signed certificate (which must itself be in
//! `sslrootcert`), and one that has only a common name.

use der::{Decode, Encode};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::sync::Arc;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::{Certificate, Version};

/// libpq's levels: no verification, the chain, the chain and the name.
#[derive(Debug)]
pub struct Verifier {
    chain: Option<Chain>,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
struct Chain {
    trusted: Vec<CertificateDer<'static>>,
    webpki: Arc<WebPkiServerVerifier>,
    by_name: bool,
}

impl Verifier {
    /// Accepts any certificate; the node must have its key.
    pub fn of_nothing(provider: &Arc<CryptoProvider>) -> Self {
        Self { chain: None, provider: Arc::clone(provider) }
    }

    /// The certificate must be issued by a trusted CA and, optionally, match the host name.
    pub fn of_chain(
        trusted: Vec<CertificateDer<'static>>,
        by_name: bool,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let mut roots = RootCertStore::empty();
        for certificate in &trusted {
            roots.add(certificate.clone())?;
        }
        let builder =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let chain = Chain { trusted, webpki: builder.build()?, by_name };
        Ok(Self { chain: Some(chain), provider: Arc::clone(provider) })
    }
}

impl Chain {
    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        if parsed(end_entity)?.tbs_certificate.version == Version::V1 {
            return Err(Error::General(
                "the node's certificate is an X.509 version 1 certificate, which is not supported; create it with an \
                    extension such as subjectAltName"
                    .into(),
            ));
        }
        if self.trusted.iter().any(|trusted| trusted == end_entity) {
            return check_time(end_entity, now);
        }
        match self.webpki.verify_server_cert(end_entity, intermediates, name, &[], now) {
            // The name is compared last: this error implies that the chain is valid.
            Ok(_) => Ok(()),
            Err(error) if is_of_name(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn parsed(certificate: &CertificateDer<'_>) -> Result<Certificate, Error> {
    Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding.into())
}

fn is_of_name(error: &Error) -> bool {
    use CertificateError::{NotValidForName, NotValidForNameContext};
    matches!(error, Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }))
}

fn check_time(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let validity = parsed(certificate)?.tbs_certificate.validity;
    let seconds = |time: x509_cert::time::Time| time.to_unix_duration().as_secs();
    if now.as_secs() < seconds(validity.not_before) {
        return Err(CertificateError::NotValidYet.into());
    }
    if now.as_secs() > seconds(validity.not_after) {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}

/// The common name is used if no alternative name is a host name or an address. See "SSL Client Certificates" in
/// PostgreSQL's documentation of libpq.
fn check_name(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), Error> {
    let by_alternatives = verify_server_name(&ParsedCertificate::try_from(certificate)?, name);
    if by_alternatives.is_ok() || has_alternatives(&parsed(certificate)?)? {
        return by_alternatives;
    }
    let common = common_name(&parsed(certificate)?);
    if common.as_ref().is_some_and(|common| names(common, &name.to_str())) {
        return Ok(());
    }
    Err(Error::General(format!(
        "the node's certificate for \"{}\" does not match host name \"{}\"",
        common.unwrap_or_default(),
        name.to_str()
    )))
}

fn has_alternatives(certificate: &Certificate) -> Result<bool, Error> {
    let found = certificate.tbs_certificate.get::<SubjectAltName>();
    let found = found.map_err(|_| CertificateError::BadEncoding)?;
    let is_host =
        |n: &GeneralName| matches!(n, GeneralName::DnsName(_) | GeneralName::IpAddress(_));
    Ok(found.is_some_and(|(_, names)| names.0.iter().any(is_host)))
}

fn common_name(certificate: &Certificate) -> Option<String> {
    const COMMON_NAME: &str = "2.5.4.3";
    let parts = certificate.tbs_certificate.subject.0.iter().flat_map(|part| part.0.iter());
    let mut common = parts.filter(|attribute| attribute.oid.to_string() == COMMON_NAME);
    String::from_utf8(common.next()?.value.value().to_vec()).ok()
}

/// Whether a certificate's name, possibly with `*` as its first label, matches this host.
fn names(pattern: &str, host: &str) -> bool {
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    match (pattern.strip_prefix("*."), host.split_once('.')) {
        (Some(domain), Some((label, rest))) => {
            !label.is_empty() && domain.contains('.') && domain.eq_ignore_ascii_case(rest)
        }
        _ => false,
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(chain) = &self.chain {
            chain.verify(end_entity, intermediates, name, now)?;
            if chain.by_name {
                check_name(end_entity, name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    /// Verified with the certificate's bare key, because webpki rejects some certificates that are acceptable without
    /// verification of the chain.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = parsed(cert)?.tbs_certificate.subject_public_key_info.to_der();
        let key = SubjectPublicKeyInfoDer::from(key.map_err(|_| CertificateError::BadEncoding)?);
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &key, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn names_match_by_libpqs_rules() {
        assert!(names("db.example.org", "DB.example.org"));
        assert!(names("*.example.org", "db.example.org"));
        assert!(names("127.0.0.1", "127.0.0.1"));
        for (pattern, host) in [
            ("*.example.org", "example.org"),
            ("*.example.org", "a.b.example.org"),
            ("*.example.org", ".example.org"),
            ("*.org", "example.org"),
            ("*", "localhost"),
            ("", "localhost"),
            ("d*.example.org", "db.example.org"),
        ] {
            assert!(!names(pattern, host), "{pattern} {host}");
        }
    }
}
