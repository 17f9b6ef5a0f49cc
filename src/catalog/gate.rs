//! Where catalogs in another version than this library works with are noticed: statements, calls of functions, definitions, workers.
//!
//! The version is read once in each backend, with the rest of the directory's cache, and again whenever that is emptied: a statement pays
//! the same comparison of two numbers as without.

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

/// The error of everything that needs the catalogs, if they are in another version.
#[inline]
pub fn refusal() -> Option<Error> {
    cache::other().map(|other| other.refusal())
}

/// On a node whose catalogs are in another version: an error for its coordinator, whose sessions cannot be told from those of others.
#[inline]
pub fn admit() -> Result<()> {
    match session::claims_to_be_coordinators() {
        true => refusal().map_or(Ok(()), Err),
        false => Ok(()),
    }
}

/// An error for a function of Helios' own where the catalogs are in another version. What plans call in the place of PostgreSQL's
/// functions looks at its argument itself.
pub fn check_call(function: Oid) -> Result<()> {
    /// Answers from the library alone, or from the function of PostgreSQL's unless the argument says something else.
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

/// Lets one transaction at a time change the extension: a second one waits, and finds the work done.
pub fn lock_extension() {
    if let Some(Installed { oid, .. }) = extension::installed(EXTENSION) {
        lock::object(ExtensionRelationId, oid.to_u32(), lock::Mode::Exclusive);
    }
}

/// Tells all backends, here and on standbys, to look at the version again, and the workers when the transaction has committed.
pub fn changed(extension: Oid) {
    if extension::installed(EXTENSION).is_some_and(|installed| installed.oid == extension) {
        directory_version::directory_changed();
        invalidation::tell(ExtensionRelationId);
    }
}

/// Before DROP EXTENSION: true where the catalogs are in another version and nothing would be lost with them. Their nodes are not told.
pub fn may_be_dropped() -> Result<bool> {
    match cache::other() {
        None => Ok(false),
        Some(other) if other.holds_nothing() => Ok(true),
        Some(other) => Err(other.refusal()),
    }
}
