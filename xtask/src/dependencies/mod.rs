//! Checks the workspace's dependencies: licenses, versions and sources against the rules in `deny.toml`, and that the
//! package's sources use each dependency in its manifest (docs/decisions/dependencies.md).

mod policy;
#[cfg(test)]
mod tests;
mod unused;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use policy::Policy;
use testkit::command;
use testkit::paths;

/// The parts of `cargo metadata`'s output used here.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
}

/// One version of one package.
#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    /// Registry or repository, or `None` for a directory on this machine.
    source: Option<String>,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

/// A dependency listed in a manifest.
#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    rename: Option<String>,
}

impl Metadata {
    /// Reads all packages in `Cargo.lock`, which must be consistent with the manifests.
    fn read() -> Result<Self> {
        let mut cargo = command::cargo();
        cargo.args(["metadata", "--format-version=1", "--locked", "--quiet"]);
        let text = command::output(&mut cargo)?;
        serde_json::from_str(&text).context("invalid output of cargo metadata")
    }

    fn is_member(&self, package: &Package) -> bool {
        self.workspace_members.contains(&package.id)
    }

    fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.is_member(package))
    }
}

/// Checks all packages of the workspace and all their dependencies, for every platform.
pub fn check() -> Result<()> {
    let metadata = Metadata::read()?;
    let policy = Policy::read(&paths::workspace().join("deny.toml"))?;
    let mut faults = policy.faults(&metadata);
    for package in metadata.members() {
        faults.extend(unused::faults(package)?);
    }
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    println!("licenses and sources of {} packages are allowed", metadata.packages.len());
    println!(
        "advisories are not checked because their database is in no package registry; \
         to check them, run: cargo deny check advisories"
    );
    Ok(())
}
