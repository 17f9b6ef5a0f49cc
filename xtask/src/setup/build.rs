//! Builds other PostgreSQL versions from Debian's source packages and keeps them in the cache directory.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Need, packages};
use testkit::command;
use testkit::obtain::{Obtained, apt, source};
use testkit::paths;
use testkit::postgres::Postgres;
use testkit::progress::Step;

/// Obtains one major version: downloads the sources, builds and installs them. A failure is not
/// an error of the project: it is returned as the reason why the version is unavailable.
pub fn build(major: u32) -> Result<Obtained<Postgres>> {
    if !apt::is_available() {
        return Ok(Obtained::No("apt-get is not available".to_owned()));
    }
    match try_build(major) {
        Ok(found) => Ok(Obtained::Yes(found)),
        Err(error) => Ok(Obtained::No(format!("{error:#}"))),
    }
}

fn try_build(major: u32) -> Result<Postgres> {
    packages(&[Need::Source])?;
    let prefix = paths::cache().join(format!("pg{major}"));
    let work = paths::cache().join(format!("build-pg{major}"));
    if work.exists() {
        fs::remove_dir_all(&work).context("cannot remove an earlier build")?;
    }
    fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;

    let step = Step::start(format!("downloading the source package of PostgreSQL {major}"));
    let archive = source::download(major, None, &work)?;
    step.done(&archive.file_name().unwrap_or_default().to_string_lossy());

    let step = Step::start(format!("building PostgreSQL {major} (takes a few minutes)"));
    let tree = work.join("tree");
    fs::create_dir_all(&tree)?;
    let mut tar = Command::new("tar");
    tar.arg("--extract").arg("--file").arg(&archive).arg("--directory").arg(&tree);
    command::output(tar.arg("--strip-components=1"))?;
    step.note("configure");
    // The prefix is compiled in, so installing under a temporary name is not possible. Instead an
    // installation counts as complete once pg_config exists, which is installed last.
    let mut configure = Command::new("./configure");
    configure.current_dir(&tree).arg(format!("--prefix={}", prefix.display()));
    configure.args(["--with-openssl", "--with-lz4", "--with-zstd", "--without-readline"]);
    command::output(&mut configure)?;
    step.note("make");
    make(&tree, &["-j2"])?;
    make(&tree, &["-C", "contrib", "-j2"])?;
    step.note("install");
    if prefix.exists() {
        fs::remove_dir_all(&prefix)?;
    }
    make(&tree, &["-C", "contrib", "install"])?;
    make(&tree, &["install"])?;
    // pg_regress suites need these in addition to the programs.
    make(&tree, &["-C", "src/test/isolation", "install"])?;
    step.done(&prefix.display().to_string());
    let built = Postgres::require(major)?;
    source::keep(&archive, &work, &built)?;
    fs::remove_dir_all(&work).context("cannot remove the build directory")?;
    Ok(built)
}

fn make(tree: &Path, arguments: &[&str]) -> Result<()> {
    command::output(Command::new("make").current_dir(tree).arg("-s").args(arguments)).map(drop)
}
