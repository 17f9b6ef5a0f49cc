//! Detects catalogs of a version that this library does not support, at all entry points: statements, function calls,
//! DDL, workers.
//!
//! The version is read once per backend together with the rest of the directory cache, and again whenever that is
//! discarded, so statements pay no more than the usual comparison of two numbers.

use super::cache;
use super::version::EXTENSION;
use crate::error::{Error, Result};
use crate::pg::catalog::extension::{self, Installed};
use crate::pg::catalog::names::displayed_call;
use crate::pg::hooks::invalidation;
use crate::pg::ipc::lock;
use crate::settings::session;
use crate::shared::directory_version;
use pgrx::pg_sys::{ExtensionRelationId, Oid};

/// The error for everything that needs the catalogs, if their version is not supported.
#[inline]
pub fn refusal() -> Option<Error> {
    cache::other().map(|other| other.refusal())
}

/// On a node with catalogs of an unsupported version: an error for its coordinator, whose sessions cannot be
/// distinguished from others.
#[inline]
pub fn admit() -> Result<()> {
    match session::claims_to_be_coordinators() {
        true => refusal().map_or(Ok(()), Err),
        false => Ok(()),
    }
}

/// An error for a function of Helios if the catalogs' version is not supported. Functions that plans call in place of
/// PostgreSQL's check their argument themselves.
pub fn check_call(function: Oid) -> Result<()> {
    /// Functions that use the library only, or call PostgreSQL's function unless the argument says otherwise.
    const ALWAYS: [&str; 3] = ["helios_version()", "routed_", "followed_"];
    if cache::other().is_none() || !extension::has_c_function(EXTENSION, function) {
        return Ok(());
    }
    let name = displayed_call(function);
    match ALWAYS.iter().any(|always| name.starts_with(always)) {
        true => Ok(()),
        false => refusal().map_or(Ok(()), Err),
    }
}

/// Serializes changes of the extension: a second transaction waits and finds the work done.
pub fn lock_extension() {
    if let Some(Installed { oid, .. }) = extension::installed(EXTENSION) {
        lock::object(ExtensionRelationId, oid.to_u32(), lock::Mode::Exclusive);
    }
}

/// Makes all backends, here and on standbys, check the version again, and the workers after the transaction has
/// committed.
pub fn changed(extension: Oid) {
    if extension::installed(EXTENSION).is_some_and(|installed| installed.oid == extension) {
        directory_version::directory_changed();
        invalidation::table_changed(ExtensionRelationId);
    }
}

/// Before DROP EXTENSION: true if the catalogs' version is not supported and nothing would be lost. Their nodes are not
/// informed.
pub fn may_be_dropped() -> Result<bool> {
    match cache::other() {
        None => Ok(false),
        Some(other) if other.holds_nothing() => Ok(true),
        Some(other) => Err(other.refusal()),
    }
}
