//! The extension's SQL scripts: one per version in `sql/install/`, and one per update step in `sql/upgrade/`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use testkit::paths;

/// Parent directory of all scripts.
pub fn directory() -> PathBuf {
    paths::workspace().join("sql")
}

/// All scripts, sorted by path.
pub fn all() -> Result<Vec<PathBuf>> {
    let mut files = in_directory(&directory().join("install"))?;
    files.extend(in_directory(&directory().join("upgrade"))?);
    Ok(files)
}

/// The default version of CREATE EXTENSION, from the control file.
pub fn default_version() -> Result<String> {
    let control = fs::read_to_string(paths::workspace().join("helios.control"))
        .context("cannot read helios.control")?;
    let line = control.lines().find_map(|line| line.strip_prefix("default_version = '"));
    let version = line.and_then(|rest| rest.strip_suffix('\''));
    Ok(version.context("helios.control has no default_version")?.to_owned())
}

/// The versions in a script's name: `["0.1.0"]` or `["0.1.0", "0.2.0"]`.
pub fn versions(script: &Path) -> Vec<String> {
    let name = script.file_name().unwrap_or_default().to_string_lossy();
    let middle = name.strip_prefix("helios--").and_then(|rest| rest.strip_suffix(".sql"));
    middle.into_iter().flat_map(|m| m.split("--")).map(str::to_owned).collect()
}

/// The scripts in a directory, sorted by path.
pub fn in_directory(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if !versions(&path).is_empty() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
