//! PostgreSQL's sources, from Debian's source packages.
//!
//! A stable Debian release has one PostgreSQL version; newer versions are in newer suites, as sources that can be built on
//! the older release, too. A private apt configuration reads those suites, so that the system's
//! package sources are left alone. The parts with tests are kept in the cache directory.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};

use super::{Obtained, apt};
use crate::command;
use crate::paths;
use crate::postgres::Postgres;
use crate::progress::Step;

/// Suites to search. Which suite has which version changes over time.
const SUITES: [(&str, &str); 6] = [
    ("debian", "bookworm"),
    ("debian-security", "bookworm-security"),
    ("debian", "trixie"),
    ("debian-security", "trixie-security"),
    ("debian", "forky"),
    ("debian", "sid"),
];

/// Parts of the sources to keep: the regression suites, and the sources of their libraries.
const KEPT: [&str; 4] =
    ["*/src/test/regress", "*/contrib/*/sql", "*/contrib/spi", "*/src/pl/*/sql"];

/// The parts of PostgreSQL's sources that contain tests.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Their version, such as `15.18`.
    pub version: String,
    /// Root of the source tree.
    pub dir: PathBuf,
}

/// Sources for an installed PostgreSQL: of exactly its version if the mirrors still have it,
/// otherwise of the newest version with the same major number. Kept between runs.
pub fn of(pg: &Postgres) -> Result<Obtained<Sources>> {
    for cache in paths::caches() {
        if let Some(found) = kept(&cache.join("sources").join(pg.number()))? {
            return Ok(Obtained::Yes(found));
        }
    }
    if !apt::is_available() {
        return Ok(Obtained::No("apt-get is not available".to_owned()));
    }
    // Tests that run concurrently may need the same sources.
    let path = paths::cache().join("sources").join(format!("{}.lock", pg.number()));
    fs::create_dir_all(paths::cache().join("sources"))?;
    let lock = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    if let Some(found) = kept(&paths::cache().join("sources").join(pg.number()))? {
        return Ok(Obtained::Yes(found));
    }
    let step = Step::start(format!("downloading the sources of PostgreSQL {}", pg.number()));
    match obtain(pg) {
        Ok(found) => {
            step.done(&found.version);
            Ok(Obtained::Yes(found))
        }
        Err(error) => Ok(Obtained::No(format!("{error:#}"))),
    }
}

fn obtain(pg: &Postgres) -> Result<Sources> {
    // apt downloads as an unprivileged user, who needs access.
    let open = fs::Permissions::from_mode(0o755);
    let mut unique = tempfile::Builder::new();
    let work = unique.prefix(".new-").permissions(open);
    let work = work.tempdir_in(paths::cache().join("sources"))?;
    let archive = download(pg.major, Some(pg.number()), work.path())?;
    keep(&archive, work.path(), pg)
}

/// Unpacks the parts of an archive to keep, for the installed PostgreSQL. They are renamed into
/// place once complete; `work` is a temporary directory in the cache.
pub fn keep(archive: &Path, work: &Path, pg: &Postgres) -> Result<Sources> {
    let sources = paths::cache().join("sources");
    let (half, target) = (work.join("kept"), sources.join(pg.number()));
    fs::create_dir_all(&sources)?;
    fs::create_dir_all(&half)?;
    let mut tar = Command::new("tar");
    tar.arg("--extract").arg("--file").arg(archive).arg("--directory").arg(&half);
    command::output(tar.args(["--no-same-owner", "--wildcards"]).args(KEPT))?;
    // Another process has unpacked the same sources in the meantime.
    if let Err(error) = fs::rename(&half, &target)
        && !target.exists()
    {
        return Err(error).with_context(|| format!("cannot create {}", target.display()));
    }
    kept(&target)?.with_context(|| format!("no sources found in {}", archive.display()))
}

/// Finds an unpacked archive: a single directory named after the version.
fn kept(dir: &Path) -> Result<Option<Sources>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", dir.display())),
    };
    for entry in entries {
        let dir = entry?.path();
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(version) = name.strip_prefix("postgresql-") {
            return Ok(Some(Sources { version: version.to_owned(), dir }));
        }
    }
    Ok(None)
}

/// Options that make apt use only our list of source suites and a private state directory.
fn private_configuration(work: &Path) -> Result<Vec<String>> {
    for dir in ["lists/partial", "cache/archives/partial", "etc"] {
        fs::create_dir_all(work.join(dir))?;
    }
    let (main, security) = mirrors()?;
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
        // Downloading as another user would require that user to have access to our directory.
        "APT::Sandbox::User=root".to_owned(),
    ];
    Ok(values.into_iter().flat_map(|value| ["-o".to_owned(), value]).collect())
}

/// The mirrors that this system uses for Debian and its security updates.
fn mirrors() -> Result<(String, String)> {
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
    let find = |end: &str| words.iter().find(|word| word.ends_with(end));
    let Some(main) = find("/debian") else {
        anyhow::bail!("no Debian mirror in apt's sources (an address that ends with /debian)");
    };
    // Mirrors usually have the security updates next to the main archive.
    let security = find("/debian-security")
        .map_or_else(|| format!("{main}-security"), |word| (*word).to_owned());
    Ok(((*main).to_owned(), security))
}

/// Downloads a source archive into `work`: of the preferred version, otherwise the newest that the
/// mirror has. Indexes may list files that were removed, so older versions are tried after newer
/// ones.
pub fn download(major: u32, preferred: Option<&str>, work: &Path) -> Result<PathBuf> {
    let options = &private_configuration(work)?;
    apt::update(options)?;
    let package = format!("postgresql-{major}");
    let mut showsrc = Command::new("apt-cache");
    showsrc.args(options).args(["--only-source", "showsrc", &package]);
    let text = command::output(&mut showsrc)?;
    let mut versions: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("Version: ")).collect();
    let is_preferred = |version: &str| preferred == version.split('-').next();
    versions
        .sort_by_key(|version| std::cmp::Reverse((is_preferred(version), version_key(version))));
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

/// Version components for sorting, sufficient for versions of one package.
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
