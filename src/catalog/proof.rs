//! How a node distinguishes its coordinator's sessions from those of its own clients.
//!
//! A session with a node logs in as the client's role, so the role proves nothing, and any setting that a session can
//! make, its client can make as well. The coordinator stores a public key on each node and, when it connects, sends a
//! signature of the role's name. A role that knew its own signature could impersonate its coordinator on that node
//! only, with no more privileges than it has; but the signature is never shown. The seed of the coordinator's keys is
//! readable by superusers only, and never leaves its server.

use super::cache;
use super::rows::NodeId;
use super::tables::IdentityRow;
use crate::error::{Error, Result};
use crate::pg::catalog::privileges;
use crate::pg::catalog::table::Table;
use crate::pg::session::{self, sql};
use crate::settings;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use ring::hmac;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use std::cell::Cell;
use std::fmt::Write;

/// This server's identity.
fn identity() -> Result<Option<IdentityRow>> {
    if cache::other().is_some() {
        return Ok(None); // nothing proves anything by catalogs that are not understood
    }
    Table::find().map_or(Ok(None), |table| table.first(&[]))
}

/// Length prefixes keep different lists of parts from having the same bytes.
fn message(parts: &[&[u8]]) -> Vec<u8> {
    let mut message = Vec::new();
    for part in parts {
        message.extend_from_slice(part.len().to_string().as_bytes());
        message.push(b':');
        message.extend_from_slice(part);
    }
    message
}

fn derived(parts: &[&[u8]]) -> Result<hmac::Tag> {
    cache::catalogs_owner()?;
    let identity = identity()?.ok_or_else(|| {
        Error::new(Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, "table helios.identity is empty")
            .hint(
                "Run INSERT INTO helios.identity DEFAULT VALUES, then SELECT helios_adopt_nodes().",
            )
    })?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, identity.seed.as_bytes());
    Ok(hmac::sign(&key, &message(parts)))
}

/// The keys by which a node knows this coordinator; those of another node would prove nothing there.
fn keys_for(node: NodeId) -> Result<Ed25519KeyPair> {
    let seed = derived(&[b"node", node.0.to_string().as_bytes()])?;
    Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).map_err(|_| {
        Error::new(Code::ERRCODE_INTERNAL_ERROR, "could not create a key from 32 bytes")
    })
}

/// The public key for a node of this cluster.
pub fn public_key_for(node: NodeId) -> Result<String> {
    Ok(hex(keys_for(node)?.public_key().as_ref()))
}

/// The signature for a session with a node as this role.
pub fn of_session(node: NodeId, role: &str) -> Option<String> {
    Some(hex(keys_for(node).ok()?.sign(&message(&[b"session", role.as_bytes()])).as_ref()))
}

/// Signs all parts of a request to a node.
pub fn sign(node: NodeId, parts: &[&[u8]]) -> Result<String> {
    Ok(hex(keys_for(node)?.sign(&message(parts)).as_ref()))
}

/// Whether the coordinator of this node has signed a request with these parts.
pub fn is_signed(parts: &[&[u8]], signature: &str) -> bool {
    is_signature(parts, signature) == Some(true)
}

fn is_signature(parts: &[&[u8]], signature: &str) -> Option<bool> {
    let key = UnparsedPublicKey::new(&ED25519, from_hex(&identity().ok()??.coordinator?)?);
    Some(key.verify(&message(parts), &from_hex(signature)?).is_ok())
}

/// The token by which sessions of an import identify themselves on the foreign server.
pub fn of_import(server: NodeId) -> Result<String> {
    Ok(hex(derived(&[b"import", server.0.to_string().as_bytes()])?.as_ref()))
}

thread_local! {
    /// A proof remains valid for the life of the session.
    static PROVEN: Cell<bool> = const { Cell::new(false) };
}

/// Whether this session comes from the coordinator that has this server as a node. Reads the catalogs only in sessions
/// that claim so, until the claim is proven.
#[inline]
pub fn is_coordinators() -> bool {
    PROVEN.get() || (settings::session::claims_to_be_coordinators() && prove())
}

fn prove() -> bool {
    let proven = session::can_read_catalogs() && is_right() == Some(true);
    PROVEN.set(proven);
    proven
}

fn is_right() -> Option<bool> {
    let given = settings::session::coordinator_proof()?;
    let role = privileges::login_role()?;
    is_signature(&[b"session", role.as_bytes()], &given)
}

/// Replaces an identity that another cluster may have, too.
pub(super) fn renew() -> Result<()> {
    sql::run("DELETE FROM helios.identity", &[])?;
    sql::run("INSERT INTO helios.identity DEFAULT VALUES", &[])
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.map(byte).collect()
}
