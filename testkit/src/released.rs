//! Libraries of released versions, built from the checkout's history, for tests with servers of different versions.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

use crate::command;
use crate::obtain::Obtained;
use crate::paths;
use crate::postgres::Postgres;

/// The commit of each released version.
const RELEASES: [(&str, &str); 1] = [("0.1.0", "98ec0d983b2cd31fee6ad085d2c040001f17e118")];

/// Directory with the library of a released version, for `dynamic_library_path`. It is built once and kept; unavailable
/// if the checkout lacks its history.
pub fn library_dir(pg: &Postgres, version: &str) -> Result<Obtained<PathBuf>> {
    let Some((_, commit)) = RELEASES.iter().find(|(released, _)| *released == version) else {
        bail!("{version} is not a released version");
    };
    let below = format!("released/{version}/pg{}", pg.major);
    let kept = paths::caches().into_iter().map(|cache| cache.join(&below));
    if let Some(dir) = kept.clone().find(|dir| dir.join("helios.so").is_file()) {
        return Ok(Obtained::Yes(dir));
    }
    let dir = paths::cache().join(&below);
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    // Several tests may call this concurrently.
    let lock = File::create(dir.join("lock"))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    if dir.join("helios.so").is_file() {
        return Ok(Obtained::Yes(dir));
    }
    let sources = paths::target().join(format!("released/{version}"));
    if let Err(reason) = extract(commit, &sources) {
        return Ok(Obtained::No(format!(
            "the sources of version {version} are unavailable: {reason:#}"
        )));
    }
    let built = build(pg, &sources)?;
    let half = dir.join("helios.so.new");
    fs::copy(&built, &half).with_context(|| format!("cannot write {}", half.display()))?;
    fs::rename(&half, dir.join("helios.so"))?;
    Ok(Obtained::Yes(dir))
}

/// Writes the files of a commit into an empty directory.
fn extract(commit: &str, into: &Path) -> Result<()> {
    if into.exists() {
        fs::remove_dir_all(into)?;
    }
    fs::create_dir_all(into)?;
    let mut archive = Command::new("git");
    // The user who runs the tests may not own the checkout.
    archive.args(["-c", "safe.directory=*", "archive", "--format=tar", "--output"]);
    let tar = into.with_extension("tar");
    archive.arg(&tar).arg(commit).current_dir(paths::workspace());
    command::output(&mut archive)?;
    command::output(Command::new("tar").arg("-xf").arg(&tar).arg("-C").arg(into))?;
    fs::remove_file(&tar)?;
    Ok(())
}

/// Builds the library without optimization, since nothing is measured with it, and separately from the checkout's own build.
fn build(pg: &Postgres, sources: &Path) -> Result<PathBuf> {
    let target = paths::target().join("released/target");
    let mut cargo = command::cargo();
    cargo.args(["build", "--release", "--locked", "--package", "helios", "--no-default-features"]);
    cargo.args(["--features", &format!("pg{}", pg.major)]);
    cargo.env("PGRX_PG_CONFIG_PATH", &pg.pg_config).env("CARGO_TARGET_DIR", &target);
    cargo.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0").env("CARGO_PROFILE_RELEASE_DEBUG", "0");
    cargo.current_dir(sources).stdin(Stdio::null());
    command::output(&mut cargo).context("cannot build a released version")?;
    Ok(target.join("release/libhelios.so"))
}
