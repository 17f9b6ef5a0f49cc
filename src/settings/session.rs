//! Settings that identify the purpose of a session. Clients cannot use them: they cannot set them, or the value alone proves
//! nothing.

use crate::pg::session::hooked_settings::{
    self, Described, SuperusersSwitch, define_secret, define_switch,
};
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use std::ffi::{CStr, CString};

/// Whether this session belongs to a migration: it uses this server's own tables, whatever the directory says.
pub static MIGRATION_SESSION: GucSetting<bool> = GucSetting::<bool>::new(false);

/// The coordinator's signature for its node; see `catalog::proof`.
static COORDINATOR_PROOF: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

/// Whether the coordinator's client for which this session works is logged in there as another role.
static OTHER_LOGIN: GucSetting<bool> = GucSetting::<bool>::new(false);

/// Name of that setting in the startup message of a session.
pub const OTHER_LOGIN_NAME: &str = "helios.other_login";

struct MigrationSession;

impl SuperusersSwitch for MigrationSession {
    const DESCRIBED: Described = Described {
        name: c"helios.migration_session",
        short: c"Set by a migration for its sessions to nodes.",
        long: c"Statements run on this server's own tables, including shells and fenced schemas; nothing is sent to \
            nodes.",
    };
    const REFUSAL: &'static CStr =
        c"permission denied to set parameter \"helios.migration_session\"";
}

pub(super) fn register() {
    let hidden = GucFlags::NO_SHOW_ALL | GucFlags::DISALLOW_IN_FILE;
    define_switch::<MigrationSession>(&MIGRATION_SESSION, hidden);
    GucRegistry::define_bool_guc(
        c"helios.other_login",
        c"Set by a coordinator for a session that runs code as the code's owner.",
        c"Statements that read session_user are rejected, because the client is logged in as another role.",
        &OTHER_LOGIN,
        GucContext::Backend,
        hidden,
    );
    define_secret(
        Described {
            name: c"helios.coordinator_proof",
            short: c"Sent by a coordinator when it connects to its node.",
            long: c"It cannot be set later and is never shown.",
        },
        &COORDINATOR_PROOF,
        hidden | GucFlags::SUPERUSER_ONLY,
    );
}

/// Whether `session_user` differs from the client's login role.
#[inline]
pub fn has_other_login() -> bool {
    OTHER_LOGIN.get()
}

/// Whether the client has sent a signature, valid or not.
#[inline]
pub fn claims_to_be_coordinators() -> bool {
    hooked_settings::is_given(&COORDINATOR_PROOF)
}

/// The signature sent by this session's client when it connected.
pub fn coordinator_proof() -> Option<String> {
    let proof = COORDINATOR_PROOF.get().filter(|proof| !proof.is_empty())?;
    proof.into_string().ok()
}
