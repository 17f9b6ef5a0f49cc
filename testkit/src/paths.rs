//! Paths of the checkout, its target directory, and the cache kept between checkouts.

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

/// Directories that may contain resources that are expensive to obtain (other PostgreSQL versions, client
/// libraries) and are kept between runs, in order of preference.
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

/// The cache directory to write to: `/opt/helios` for root, otherwise the user's cache directory.
pub fn cache() -> PathBuf {
    let mut all = caches();
    if rustix::process::geteuid().is_root() || all.len() == 1 {
        all.swap_remove(0)
    } else {
        all.swap_remove(1)
    }
}
