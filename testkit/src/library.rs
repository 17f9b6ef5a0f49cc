//! Location of the extension's shared library for this checkout's servers.

use std::path::PathBuf;

use crate::postgres::Postgres;

/// Environment variable: install the shared library below this directory (`pg15/helios.so`, …) instead of in
/// PostgreSQL's library directory; servers find it through `dynamic_library_path`. Allows several checkouts to share a
/// PostgreSQL installation.
pub const LIBRARY_DIR: &str = "HELIOS_LIBRARY_DIR";

/// The private library directory for a version, if configured.
pub fn private_library_dir(pg: &Postgres) -> Option<PathBuf> {
    let base = PathBuf::from(std::env::var_os(LIBRARY_DIR)?);
    Some(base.join(format!("pg{}", pg.major)))
}

/// Directory of the library with failpoints, separate from the library that servers normally use.
pub fn failpoints_dir(pg: &Postgres) -> PathBuf {
    let base = match std::env::var_os(LIBRARY_DIR) {
        Some(base) => PathBuf::from(base),
        None => {
            let user = rustix::process::geteuid().as_raw();
            std::env::temp_dir().join(format!("helios-libraries-{user}"))
        }
    };
    base.join(format!("failpoints/pg{}", pg.major))
}
