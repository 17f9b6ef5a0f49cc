//! Records the directories in which this checkout has started clusters, so that `cluster stop` and
//! `cluster status` find them without arguments.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use testkit::paths;

fn file() -> PathBuf {
    paths::workspace().join("target/clusters.json")
}

/// Directories of all clusters that were started and not stopped yet.
pub fn directories() -> Result<Vec<PathBuf>> {
    let path = file();
    match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text)
            .with_context(|| format!("{} is damaged; remove it", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Records a cluster that is about to be started in this directory.
pub fn add(dir: &Path) -> Result<()> {
    let mut all = directories()?;
    if !all.iter().any(|known| known == dir) {
        all.push(dir.to_owned());
        write(&all)?;
    }
    Ok(())
}

/// Forgets the cluster in this directory, which has been stopped.
pub fn remove(dir: &Path) -> Result<()> {
    let mut all = directories()?;
    all.retain(|known| known != dir);
    write(&all)
}

fn write(all: &[PathBuf]) -> Result<()> {
    let path = file();
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    // Rename into place: another xtask may be reading the file.
    let mut temporary = tempfile::NamedTempFile::new_in(dir)?;
    temporary.write_all((serde_json::to_string_pretty(all)? + "\n").as_bytes())?;
    temporary.persist(&path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}
