//! The rules of `deny.toml`, in cargo-deny's own format.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use spdx::{Expression, ParseMode};

use super::{Metadata, Package};

/// Rules for dependencies.
#[derive(Debug, Deserialize)]
pub(super) struct Policy {
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Debug, Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Bans {
    #[serde(default)]
    skip: Vec<Skip>,
}

/// A version that is allowed besides another version of the same package.
#[derive(Debug, Deserialize)]
struct Skip {
    #[serde(rename = "crate")]
    version: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: Vec<String>,
}

impl Policy {
    /// Reads the rules from a file.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is invalid", path.display()))
    }

    /// Parses the rules.
    pub(super) fn parse(text: &str) -> Result<Self> {
        Ok(toml::from_str(text)?)
    }

    /// Returns every violation of the rules.
    pub(super) fn faults(&self, metadata: &Metadata) -> Vec<String> {
        let mut faults = Vec::new();
        for package in &metadata.packages {
            let (name, version) = (&package.name, &package.version);
            if let Err(reason) = self.license(package.license.as_deref()) {
                faults.push(format!("{name} {version}: {reason}"));
            }
            let from = package.source.as_deref();
            let is_allowed = from.map_or(metadata.is_member(package), |from| self.allows(from));
            if !is_allowed {
                let from = from.unwrap_or("a folder outside of the workspace");
                faults.push(format!("{name} {version}: comes from {from}"));
            }
        }
        faults.extend(self.duplicates(&metadata.packages));
        faults
    }

    fn allows(&self, source: &str) -> bool {
        let registry = source.strip_prefix("registry+");
        registry.is_some_and(|registry| self.sources.allow_registry.iter().any(|r| r == registry))
    }

    /// Checks a license; the error says why it is not allowed.
    fn license(&self, license: Option<&str>) -> std::result::Result<(), String> {
        let Some(license) = license else { return Err("no license specified".to_owned()) };
        // Older packages use a slash between alternatives.
        let expression = Expression::parse_mode(license, ParseMode::LAX)
            .map_err(|error| format!("invalid license \"{license}\": {}", error.reason))?;
        let is_allowed = expression.evaluate(|one| self.licenses.allow.contains(&one.to_string()));
        if is_allowed { Ok(()) } else { Err(format!("license \"{license}\" is not allowed")) }
    }

    /// Returns packages present in several versions, except for skipped versions, and skips that are not
    /// needed.
    fn duplicates(&self, packages: &[Package]) -> Vec<String> {
        let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for package in packages {
            // Build metadata after `+` does not distinguish versions.
            let version = package.version.split('+').next().unwrap_or_default();
            versions.entry(&package.name).or_default().push(version);
        }
        versions.retain(|_, versions| versions.len() > 1);
        let is_skipped = |name: &str, version: &str| {
            self.bans.skip.iter().any(|skip| skip.version == format!("{name}@{version}"))
        };
        let mut faults = Vec::new();
        for (name, versions) in &versions {
            let counted = versions.iter().filter(|version| !is_skipped(name, version));
            if counted.count() > 1 {
                faults.push(format!("{name}: multiple versions {}", versions.join(", ")));
            }
        }
        for Skip { version: skip } in &self.bans.skip {
            let (name, version) = skip.split_once('@').unwrap_or((skip, ""));
            if !versions.get(name).is_some_and(|versions| versions.contains(&version)) {
                faults.push(format!("deny.toml: skip of {skip} is unnecessary"));
            }
        }
        faults
    }
}
