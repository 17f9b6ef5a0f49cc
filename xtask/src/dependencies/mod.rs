//! Checks what the workspace depends on: licences, versions and sources by the rules of `deny.toml`, and that each
//! dependency of a manifest is named by the package's sources (docs/decisions/dependencies.md).

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

/// What `cargo metadata` tells, as far as it is used here.
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
    /// None for a folder on this machine.
    source: Option<String>,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

/// A line of a manifest.
#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    rename: Option<String>,
}

impl Metadata {
    /// All packages of `Cargo.lock`, which must be in step with the manifests.
    fn read() -> Result<Self> {
        let mut cargo = command::cargo();
        cargo.args(["metadata", "--format-version=1", "--locked", "--quiet"]);
        let text = command::output(&mut cargo)?;
        serde_json::from_str(&text).context("cannot read what cargo metadata has written")
    }

    fn is_member(&self, package: &Package) -> bool {
        self.workspace_members.contains(&package.id)
    }

    fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.is_member(package))
    }
}

/// Checks all packages of the workspace and all that they depend on, on every platform.
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
    println!("{} packages have allowed licences and sources", metadata.packages.len());
    println!(
        "advisories: not checked, their database is in no package registry; where it can be had, \
         `cargo deny check advisories` checks them"
    );
    Ok(())
}
