//! TLS connections to nodes: trust, and the channel binding that ties SCRAM to the certificate.

use super::target::{SslMode, Target};
use super::trust::Verifier;
use crate::error::{Error, Result};
use der::Decode;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

/// Prepares a TLS connection to one host of the target. 58P01 or F0000 if files are missing or invalid.
pub fn connection(target: &Target, host: &str) -> Result<ClientConnection> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| broken(format!("cannot set up TLS: {e}")))?
        .dangerous()
        .with_custom_certificate_verifier(verifier(target, &provider)?);
    let mut config = match (&target.sslcert, &target.sslkey) {
        (Some(cert), Some(key)) => {
            let chain = certificates("sslcert", cert)?;
            builder.with_client_auth_cert(chain, private_key(key)?).map_err(|e| {
                broken(format!(
                    "cannot use the client certificate for node \"{}\": {e}",
                    target.name
                ))
            })?
        }
        _ => builder.with_no_client_auth(),
    };
    // Sessions live long; a resumed one would lack the certificate that channel binding requires.
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| broken(format!("cannot verify host name \"{host}\" with TLS")))?;
    ClientConnection::new(Arc::new(config), name)
        .map_err(|e| broken(format!("cannot set up TLS: {e}")))
}

/// RFC 5929 `tls-server-end-point`: the hash of the server's certificate by the hash function of its signature, with
/// MD5 and SHA-1 replaced by SHA-256; None for signatures without a separate hash function.
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
        return Ok(Arc::new(Verifier::of_nothing(provider)));
    }
    let path = target.sslrootcert.as_ref().ok_or_else(|| {
        broken(format!(
            "missing sslrootcert for node \"{}\", whose sslmode verifies certificates",
            target.name
        ))
        .hint("Set the node option sslrootcert to a file with trusted certificates.")
    })?;
    let trusted = certificates("sslrootcert", path)?;
    let by_name = target.sslmode == SslMode::VerifyFull;
    let verifier = Verifier::of_chain(trusted, by_name, provider);
    Ok(Arc::new(verifier.map_err(|e| unreadable("sslrootcert", path, &e))?))
}

/// Reads the client certificate's key. Like libpq, rejects a file that others can read.
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let meta = std::fs::metadata(path).map_err(|e| unreadable("sslkey", path, &e))?;
    // A key owned by root may be readable by a group of the server's user.
    let forbidden = if meta.uid() == 0 { 0o037 } else { 0o077 };
    if meta.mode() & forbidden != 0 {
        return Err(broken(format!("sslkey \"{}\" has group or world access", path.display()))
            .hint(
                "File must have permissions u=rw (0600) or less if owned by the database user, or permissions u=rw,g=r \
                    (0640) or less if owned by root.",
            ));
    }
    PrivateKeyDer::from_pem_file(path).map_err(|e| unreadable("sslkey", path, &e))
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
