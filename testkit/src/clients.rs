//! Client libraries for tests with unmodified client programs: a Python virtual environment, a
//! directory of Node packages, and source packages that contain tests. Each is created once per version of its package list in
//! `tests/clients/`, and kept in the cache directory.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};

use crate::command;
use crate::obtain::Obtained;
use crate::paths;

/// A Python interpreter with the packages from `requirements.txt`.
pub fn python() -> Result<Obtained<PathBuf>> {
    let list = paths::workspace().join("tests/clients/requirements.txt");
    // Debian's own interpreter has the module that creates environments (package python3-venv).
    let system = Path::new("/usr/bin/python3");
    let python = if system.exists() { system } else { Path::new("python3") };
    let made = prepare("python", &list, |dir| {
        command::output(Command::new(python).args(["-m", "venv"]).arg(dir))?;
        let mut pip = Command::new(dir.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]);
        command::output(pip.arg(&list)).map(drop)
    })?;
    Ok(made.map(|dir| dir.join("bin/python")))
}

/// The unpacked source package of django-tenants, which contains its own tests; it runs with [`python`].
pub fn django_tenants() -> Result<Obtained<PathBuf>> {
    let python = match python()? {
        Obtained::Yes(python) => python,
        Obtained::No(reason) => return Ok(Obtained::No(reason)),
    };
    let list = paths::workspace().join("tests/clients/django_tenants.txt");
    let made = prepare("django-tenants", &list, |dir| {
        fs::create_dir_all(dir)?;
        let mut pip = Command::new(python);
        pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
        pip.args(["--no-binary", ":all:", "--requirement"]).arg(&list).arg("--dest").arg(dir);
        command::output(&mut pip)?;
        let package = fs::read_dir(dir)?.next().context("pip has left no package")??.path();
        let mut tar = Command::new("tar");
        tar.args(["--extract", "--strip-components=1", "--file"]).arg(package);
        command::output(tar.arg("--directory").arg(dir)).map(drop)
    })?;
    Ok(made)
}

/// The `node_modules` directory (for `NODE_PATH`) with the packages from `package.json`.
pub fn node_modules() -> Result<Obtained<PathBuf>> {
    let list = paths::workspace().join("tests/clients/package.json");
    let made = prepare("node", &list, |dir| {
        fs::create_dir_all(dir)?;
        fs::copy(&list, dir.join("package.json"))?;
        let mut npm = Command::new("npm");
        npm.current_dir(dir).args(["install", "--no-audit", "--no-fund", "--no-update-notifier"]);
        command::output(&mut npm).map(drop)
    })?;
    Ok(made.map(|dir| dir.join("node_modules")))
}

/// Fills a directory in the cache unless an earlier run has done so for the same list. If filling it
/// fails (no network, missing program), the error becomes the reason why it is unavailable.
fn prepare(
    kind: &str,
    list: &Path,
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<Obtained<PathBuf>> {
    let text = fs::read(list).with_context(|| format!("cannot read {}", list.display()))?;
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let base = paths::cache().join("clients");
    fs::create_dir_all(&base).with_context(|| format!("cannot create {}", base.display()))?;
    let dir = base.join(format!("{kind}-{:016x}", hasher.finish()));
    let lock = File::create(dir.with_extension("lock"))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    let complete = dir.join(".complete");
    if complete.exists() {
        return Ok(Obtained::Yes(dir));
    }
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    if let Err(error) = fill(&dir) {
        return Ok(Obtained::No(format!("{error:#}")));
    }
    fs::write(complete, "")?;
    Ok(Obtained::Yes(dir))
}
