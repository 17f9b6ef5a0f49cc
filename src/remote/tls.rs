//! TLS to a node: what is trusted, and the channel binding that ties SCRAM to the certificate.

use super::target::{SslMode, Target};
use crate::error::{Error, Result};
use der::Decode;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore,
    SignatureScheme,
};
use std::path::Path;
use std::sync::Arc;

/// A TLS connection to be, for one host of the target. 58P01 or F0000 when files are missing or wrong.
pub fn connection(target: &Target, host: &str) -> Result<ClientConnection> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| broken(format!("cannot set up TLS: {e}")))?
        .dangerous()
        .with_custom_certificate_verifier(verifier(target, &provider)?);
    let mut config = match (&target.sslcert, &target.sslkey) {
        (Some(cert), Some(key)) => {
            let key =
                PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable("sslkey", key, &e))?;
            builder.with_client_auth_cert(certificates("sslcert", cert)?, key).map_err(|e| {
                broken(format!(
                    "cannot use the client certificate for node \"{}\": {e}",
                    target.name
                ))
            })?
        }
        _ => builder.with_no_client_auth(),
    };
    // Sessions live long; a resumed one would hide the certificate that channel binding needs.
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| broken(format!("\"{host}\" is not a host name that TLS can verify")))?;
    ClientConnection::new(Arc::new(config), name)
        .map_err(|e| broken(format!("cannot set up TLS: {e}")))
}

/// RFC 5929 `tls-server-end-point`: the hash of the server's certificate by its own signature's hash, with MD5
/// and SHA-1 replaced by SHA-256; nothing for signatures without a hash of their own.
pub fn channel_binding(tls: &ClientConnection) -> Option<Vec<u8>> {
    use ring::digest::{SHA256, SHA384, SHA512, digest};
    let der = tls.peer_certificates()?.first()?;
    let certificate = x509_cert::Certificate::from_der(der).ok()?;
    let algorithm = match certificate.signature_algorithm.oid.to_string().as_str() {
        // md5/sha1/sha256 WithRSAEncryption, ecdsa-with-SHA1/SHA256
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.1"
        | "1.2.840.10045.4.3.2" => &SHA256,
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => &SHA384,
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => &SHA512,
        _ => return None,
    };
    Some(digest(algorithm, der).as_ref().to_vec())
}

fn certificates(option: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let all: std::result::Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|e| unreadable(option, path, &e))?.collect();
    let all = all.map_err(|e| unreadable(option, path, &e))?;
    if all.is_empty() {
        return Err(broken(format!("{option} \"{}\" contains no certificate", path.display())));
    }
    Ok(all)
}

fn verifier(
    target: &Target,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>> {
    let by_root = match target.sslmode {
        SslMode::VerifyCa | SslMode::VerifyFull => true,
        SslMode::Require => target.sslrootcert.is_some(),
        SslMode::Prefer | SslMode::Disable => false,
    };
    if !by_root {
        return Ok(Arc::new(Verifier { root: None, name: false, provider: Arc::clone(provider) }));
    }
    let path = target.sslrootcert.as_ref().ok_or_else(|| {
        broken(format!(
            "node \"{}\" has an sslmode that verifies certificates, but no sslrootcert",
            target.name
        ))
        .hint("Set the node's option sslrootcert to a file of trusted certificates.")
    })?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates("sslrootcert", path)? {
        roots.add(certificate).map_err(|e| unreadable("sslrootcert", path, &e))?;
    }
    let root = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|e| unreadable("sslrootcert", path, &e))?;
    let name = target.sslmode == SslMode::VerifyFull;
    Ok(Arc::new(Verifier { root: Some(root), name, provider: Arc::clone(provider) }))
}

/// libpq's levels of trust: none, the root, the root and the name.
#[derive(Debug)]
struct Verifier {
    root: Option<Arc<WebPkiServerVerifier>>,
    name: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let Some(root) = &self.root else { return Ok(ServerCertVerified::assertion()) };
        match root.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            // The name is compared last: with this error the chain was found good.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.name => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn unreadable(option: &str, path: &Path, reason: &dyn std::fmt::Display) -> Error {
    Error::new(
        PgSqlErrorCode::ERRCODE_CONFIG_FILE_ERROR,
        format!("could not use {option} \"{}\": {reason}", path.display()),
    )
    .hint("The file must be readable by the operating system user that runs the server.")
}

fn broken(message: impl Into<Vec<u8>>) -> Error {
    Error::new(PgSqlErrorCode::ERRCODE_CONFIG_FILE_ERROR, message)
}
