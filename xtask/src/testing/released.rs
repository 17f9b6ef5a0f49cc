//! Checks that released scripts never change, and that every released version can be updated to the current one.
//!
//! `sql/released.sha256` lists every released script in `sha256sum` format. Each release adds its scripts; nothing else
//! may change the file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::scripts;

/// The scripts in the checkout, in the form needed by the check.
struct Scripts {
    /// File contents, by path below `sql/`.
    contents: BTreeMap<String, Vec<u8>>,
    /// Checksums of released scripts, by path below `sql/`.
    released: BTreeMap<String, String>,
    /// The default version of CREATE EXTENSION.
    current: String,
}

/// Compares released scripts with their checksums, and checks for an update path from each version to the current one.
pub fn check() -> Result<()> {
    let root = scripts::directory();
    let mut contents = BTreeMap::new();
    for script in scripts::all()? {
        let name = script.strip_prefix(&root).unwrap_or(&script).to_string_lossy().into_owned();
        let content =
            fs::read(&script).with_context(|| format!("cannot read {}", script.display()))?;
        contents.insert(name, content);
    }
    let list = fs::read_to_string(root.join("released.sha256"))
        .context("cannot read sql/released.sha256")?;
    let current = scripts::default_version()?;
    let faults = Scripts { contents, released: checksums(&list)?, current }.faults();
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    Ok(())
}

/// Parses a list in `sha256sum` format.
fn checksums(list: &str) -> Result<BTreeMap<String, String>> {
    let entry = |line: &str| {
        let (sum, name) = line.split_once("  ").context("invalid line in sha256sum list")?;
        Ok((name.to_owned(), sum.to_owned()))
    };
    list.lines().map(entry).collect()
}

impl Scripts {
    fn faults(&self) -> Vec<String> {
        let mut faults = self.changed();
        faults.extend(self.without_checksum());
        faults.extend(self.without_way());
        if env!("CARGO_PKG_VERSION") != self.current {
            faults.push(format!(
                "version is {} in Cargo.toml, but {} in helios.control",
                env!("CARGO_PKG_VERSION"),
                self.current
            ));
        }
        faults
    }

    /// Released scripts that were changed or removed.
    fn changed(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, sum) in &self.released {
            match self.contents.get(name) {
                None => faults.push(format!("released script sql/{name} is missing")),
                Some(content) if hexadecimal(content) != *sum => faults.push(format!(
                    "released script sql/{name} was changed; make changes in the scripts of version {}",
                    self.current
                )),
                Some(_) => {}
            }
        }
        faults
    }

    /// Scripts of earlier versions without a checksum in the list.
    fn without_checksum(&self) -> Vec<String> {
        let missing = self.contents.keys().filter(|name| {
            let made = scripts::versions(name.as_ref()).pop();
            made.as_ref() != Some(&self.current) && !self.released.contains_key(*name)
        });
        missing
            .map(|name| format!("script sql/{name} of a released version has no checksum"))
            .collect()
    }

    /// Versions without an update path to the current one.
    fn without_way(&self) -> Vec<String> {
        let mut installable = BTreeSet::new();
        let mut steps = Vec::new();
        for name in self.contents.keys() {
            match scripts::versions(name.as_ref()).as_slice() {
                [version] => {
                    installable.insert(version.clone());
                }
                [from, to] => steps.push((from.clone(), to.clone())),
                _ => return vec![format!("invalid script name sql/{name}")],
            }
        }
        if !installable.contains(&self.current) {
            return vec![format!("no script installs {}", self.current)];
        }
        let mut reaching = BTreeSet::from([self.current.clone()]);
        // Each iteration adds the versions one update step further away.
        for _ in &steps {
            let further = steps.iter().filter(|(_, to)| reaching.contains(to));
            let further: Vec<String> = further.map(|(from, _)| from.clone()).collect();
            reaching.extend(further);
        }
        let stuck = installable.difference(&reaching);
        stuck.map(|version| format!("no update path from {version} to {}", self.current)).collect()
    }
}

fn hexadecimal(content: &[u8]) -> String {
    Sha256::digest(content).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROZEN: &str = "CREATE TABLE a ();\n";

    fn scripts(contents: &[(&str, &str)]) -> Scripts {
        let contents =
            contents.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()));
        let list = format!("{}  install/helios--0.0.9.sql\n", hexadecimal(FROZEN.as_bytes()));
        Scripts {
            contents: contents.collect(),
            released: checksums(&list).unwrap(),
            current: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    fn current(kind: &str, from: &str) -> String {
        format!("{kind}/helios--{from}{}.sql", env!("CARGO_PKG_VERSION"))
    }

    #[test]
    fn whole_set_has_no_faults() {
        let (install, upgrade) = (current("install", ""), current("upgrade", "0.0.9--"));
        let set = scripts(&[("install/helios--0.0.9.sql", FROZEN), (&install, ""), (&upgrade, "")]);
        assert_eq!(set.faults(), Vec::<String>::new());
    }

    #[test]
    fn changed_and_missing_released_scripts_are_faults() {
        let (install, upgrade) = (current("install", ""), current("upgrade", "0.0.9--"));
        let changed = [("install/helios--0.0.9.sql", "other"), (&install, ""), (&upgrade, "")];
        let faults = scripts(&changed).faults().join("\n");
        assert!(faults.contains("helios--0.0.9.sql was changed"), "{faults}");
        let faults = scripts(&[(&install, "")]).faults().join("\n");
        assert!(faults.contains("helios--0.0.9.sql is missing"), "{faults}");
    }

    #[test]
    fn versions_without_checksum_or_way_are_faults() {
        let install = current("install", "");
        let set = [
            ("install/helios--0.0.9.sql", FROZEN),
            ("install/helios--0.0.8.sql", "x"),
            (&install, ""),
        ];
        let faults = scripts(&set).faults().join("\n");
        assert!(
            faults.contains("helios--0.0.8.sql of a released version has no checksum"),
            "{faults}"
        );
        assert!(faults.contains("no update path from 0.0.9 to"), "{faults}");
        let faults = scripts(&[("install/helios--0.0.9.sql", FROZEN)]).faults().join("\n");
        assert!(faults.contains("no script installs"), "{faults}");
    }

    #[test]
    fn checksum_is_that_of_sha256sum() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hexadecimal(b""), empty);
    }
}
