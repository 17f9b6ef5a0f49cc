//! Other PostgreSQL versions, built from Debian's source packages.
//!
//! A stable Debian has one PostgreSQL; newer ones are in newer suites, as sources that build on
//! the older system too. A private apt configuration reads those suites, so the system's own
//! package sources stay untouched. What is built is kept in the cache directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Need, Obtained, apt, packages};
use crate::command;
use crate::paths;
use crate::postgres::Postgres;
use crate::progress::Step;

/// Suites to look in. Which of them has which version changes over time.
const SUITES: [(&str, &str); 5] = [
    ("debian", "bookworm"),
    ("debian", "trixie"),
    ("debian-security", "trixie-security"),
    ("debian", "forky"),
    ("debian", "sid"),
];

/// Obtains one major version: sources, build, installation. A failure on the way is not an error
/// of the project's: it is the reason why this version cannot be had.
pub fn build(major: u32) -> Result<Obtained<Postgres>> {
    if !apt::is_available() {
        return Ok(Obtained::No("this system has no apt-get".to_owned()));
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
    fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;

    let step = Step::start(format!("looking for the sources of PostgreSQL {major}"));
    let options = private_configuration(&work)?;
    apt::update(&options)?;
    let archive = download(major, &work, &options)?;
    step.done(&archive.file_name().unwrap_or_default().to_string_lossy());

    let step = Step::start(format!("building PostgreSQL {major} (some minutes)"));
    let tree = work.join("tree");
    fs::create_dir_all(&tree)?;
    let mut tar = Command::new("tar");
    tar.arg("--extract").arg("--file").arg(&archive).arg("--directory").arg(&tree);
    command::output(tar.arg("--strip-components=1"))?;
    step.note("configure");
    // Installed under a temporary name is not possible (the prefix is compiled in), so an
    // installation counts only once its pg_config, which is installed last, is there.
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
    // What pg_regress suites need besides the programs.
    make(&tree, &["-C", "src/test/isolation", "install"])?;
    fs::remove_dir_all(&work).context("cannot remove the build directory")?;
    step.done(&prefix.display().to_string());
    Postgres::require(major)
}

/// The SQL files of a version's own regression tests, from its source archive; kept in the cache directory.
pub fn regression_queries(major: u32) -> Result<Obtained<PathBuf>> {
    let kept = paths::cache().join(format!("regress-pg{major}"));
    if kept.is_dir() {
        return Ok(Obtained::Yes(kept));
    }
    if !apt::is_available() {
        return Ok(Obtained::No("this system has no apt-get".to_owned()));
    }
    Ok(match try_regression_queries(major, &kept) {
        Ok(()) => Obtained::Yes(kept),
        Err(error) => Obtained::No(format!("{error:#}")),
    })
}

fn try_regression_queries(major: u32, kept: &Path) -> Result<()> {
    let work = paths::cache().join(format!("regress-pg{major}-{}", std::process::id()));
    fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    let unpack = || -> Result<()> {
        let options = private_configuration(&work)?;
        apt::update(&options)?;
        let archive = download(major, &work, &options)?;
        let tree = work.join("tree");
        fs::create_dir_all(&tree)?;
        let mut tar = Command::new("tar");
        tar.arg("--extract").arg("--file").arg(&archive).arg("--directory").arg(&tree);
        tar.args(["--strip-components=1", "--wildcards", "*/src/test/regress/sql/*.sql"]);
        command::output(&mut tar)?;
        fs::rename(tree.join("src/test/regress/sql"), kept).context("cannot keep what was unpacked")
    };
    let done = unpack();
    fs::remove_dir_all(&work).context("cannot remove the unpacked archive")?;
    done
}

fn make(tree: &Path, arguments: &[&str]) -> Result<()> {
    command::output(Command::new("make").current_dir(tree).arg("-s").args(arguments)).map(drop)
}

/// Options that make apt read only our list of source suites and keep its state to itself.
fn private_configuration(work: &Path) -> Result<Vec<String>> {
    for dir in ["lists/partial", "cache/archives/partial", "etc"] {
        fs::create_dir_all(work.join(dir))?;
    }
    let (main, security) = mirrors();
    let lines: Vec<String> = SUITES
        .iter()
        .map(|(kind, suite)| {
            let mirror = if *kind == "debian" { &main } else { &security };
            let key = "/usr/share/keyrings/debian-archive-keyring.gpg";
            format!("deb-src [signed-by={key}] {mirror} {suite} main")
        })
        .collect();
    let list = work.join("etc/sources.list");
    fs::write(&list, lines.join("\n") + "\n")?;
    let option = |name: &str, path: &str| format!("{name}={}", work.join(path).display());
    let values = [
        option("Dir::Etc::sourcelist", "etc/sources.list"),
        option("Dir::Etc::sourceparts", "etc/none"),
        option("Dir::State::lists", "lists"),
        option("Dir::Cache", "cache"),
        // Fetching as another user would need that user to reach our directory.
        "APT::Sandbox::User=root".to_owned(),
    ];
    Ok(values.into_iter().flat_map(|value| ["-o".to_owned(), value]).collect())
}

/// The mirrors that this system uses for Debian and its security updates, or Debian's own.
fn mirrors() -> (String, String) {
    let mut texts = vec![fs::read_to_string("/etc/apt/sources.list").unwrap_or_default()];
    for entry in fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten() {
        texts.push(fs::read_to_string(entry.path()).unwrap_or_default());
    }
    let words: Vec<&str> = texts
        .iter()
        .flat_map(|text| text.lines())
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(str::split_whitespace)
        .filter(|word| word.contains("://"))
        .map(|word| word.trim_end_matches('/'))
        .collect();
    let find = |end: &str, default: &str| {
        let found = words.iter().find(|word| word.ends_with(end));
        found.map_or_else(|| default.to_owned(), |word| (*word).to_owned())
    };
    (
        find("/debian", "http://deb.debian.org/debian"),
        find("/debian-security", "http://deb.debian.org/debian-security"),
    )
}

/// Downloads the newest source archive that the mirror really has: indexes name files that are
/// gone, so older versions are tried after newer ones.
fn download(major: u32, work: &Path, options: &[String]) -> Result<PathBuf> {
    let package = format!("postgresql-{major}");
    let mut showsrc = Command::new("apt-cache");
    showsrc.args(options).args(["--only-source", "showsrc", &package]);
    let text = command::output(&mut showsrc)?;
    let mut versions: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("Version: ")).collect();
    versions.sort_by_key(|version| std::cmp::Reverse(version_key(version)));
    versions.dedup();
    let mut last = anyhow::anyhow!("no Debian suite has the source package {package}");
    for version in versions {
        let mut source = apt::apt_get(options);
        source.current_dir(work).args(["source", "--download-only", "--only-source"]);
        match command::output(source.arg(format!("{package}={version}"))) {
            Ok(_) => return archive(work, &package),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Numbers of a version in order, enough to sort versions of one package.
fn version_key(version: &str) -> Vec<u64> {
    let numbers = version.split(|c: char| !c.is_ascii_digit());
    numbers.filter_map(|digits| digits.parse().ok()).collect()
}

fn archive(work: &Path, package: &str) -> Result<PathBuf> {
    for entry in fs::read_dir(work)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(package) && name.contains(".orig.tar.") && !name.ends_with(".asc") {
            return Ok(path);
        }
    }
    anyhow::bail!("apt-get downloaded no source archive of {package}")
}
