//! Where things are: the checkout, its target directory, the cache that outlives it.

use std::path::{Path, PathBuf};

/// The checkout's root directory.
pub fn workspace() -> &'static Path {
    // xtask lives one level below the root; the path is absolute and always has a parent.
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// Cargo's target directory for this checkout.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => workspace().join(dir),
        None => workspace().join("target"),
    }
}

/// Directories that may hold what is expensive to obtain (other PostgreSQL versions, client
/// libraries) and is kept between runs, best first.
pub fn caches() -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("/opt/helios")];
    let user = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    if let Some(user) = user {
        found.push(user.join("helios"));
    }
    found
}

/// The cache directory to write to: `/opt/helios` for root, the user's cache directory else.
pub fn cache() -> PathBuf {
    let mut all = caches();
    if rustix::process::geteuid().is_root() || all.len() == 1 {
        all.swap_remove(0)
    } else {
        all.swap_remove(1)
    }
}
