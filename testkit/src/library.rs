//! Where the extension's shared library is for servers of this checkout.

use std::path::PathBuf;

use crate::postgres::Postgres;

/// Installs the shared library below this directory (`pg15/helios.so`, …) instead of in PostgreSQL's own library directory; servers then
/// get it through `dynamic_library_path`. Lets several checkouts share one PostgreSQL.
pub const LIBRARY_DIR: &str = "HELIOS_LIBRARY_DIR";

/// The private library directory for one version, when one is asked for.
pub fn private_library_dir(pg: &Postgres) -> Option<PathBuf> {
    let base = PathBuf::from(std::env::var_os(LIBRARY_DIR)?);
    Some(base.join(format!("pg{}", pg.major)))
}

/// Where the library with failpoints is put, apart from the one that servers use.
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
