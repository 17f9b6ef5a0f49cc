//! Installs the packages that the project needs on Debian and Ubuntu. It announces what it does, asks no questions,
//! and does not touch what is installed already. On other systems it lists what is needed and stops.

mod build;

use anyhow::{Result, bail};

use testkit::command;
use testkit::obtain::{Obtained, apt};
use testkit::postgres::{DEFAULT_MAJOR, MAJORS, Postgres};

/// Purpose of a set of packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Building the extension and running servers.
    Build,
    /// Tests with unchanged client programs (Python's virtual environments).
    Clients,
    /// The programs that benchmarks compare with. Not installed by `setup`, but when a
    /// benchmark is run.
    Bench,
    /// Building other PostgreSQL versions from Debian's sources.
    Source,
}

impl Need {
    /// Debian package names.
    pub fn packages(self) -> &'static [&'static str] {
        match self {
            Need::Build => {
                &["build-essential", "pkg-config", "postgresql-15", "postgresql-server-dev-15"]
            }
            Need::Clients => &["python3", "python3-venv"],
            Need::Bench => &["pgbouncer"],
            Need::Source => &[
                "bison",
                "build-essential",
                "debian-archive-keyring",
                "dpkg-dev",
                "flex",
                "libicu-dev",
                "liblz4-dev",
                "libssl-dev",
                "libzstd-dev",
                "perl",
                "pkg-config",
                "zlib1g-dev",
            ],
        }
    }
}

/// Makes sure that all packages for `needs` are installed. Prints nothing if they are.
pub fn packages(needs: &[Need]) -> Result<()> {
    let mut wanted: Vec<&str> = needs.iter().flat_map(|need| need.packages()).copied().collect();
    wanted.sort_unstable();
    wanted.dedup();
    if !apt::is_available() {
        return elsewhere(needs, &wanted);
    }
    let missing = apt::missing(&wanted)?;
    if missing.is_empty() {
        return Ok(());
    }
    if !command::is_root() {
        bail!(
            "missing packages: {}\nrun this command, then try again:\n  sudo apt-get install --yes {}",
            missing.join(" "),
            missing.join(" ")
        );
    }
    apt::install(&missing)
}

/// Without apt the packages cannot be checked; checks for the PostgreSQL installation instead.
fn elsewhere(needs: &[Need], wanted: &[&str]) -> Result<()> {
    if needs == [Need::Build] && Postgres::find(DEFAULT_MAJOR)?.is_some() {
        return Ok(());
    }
    bail!(
        "apt-get is not available, so packages cannot be installed automatically.\n\
         Required: PostgreSQL {DEFAULT_MAJOR} with server headers (its pg_config in PATH), a C \
         compiler, libclang, pkg-config.\nThe corresponding Debian packages: {}",
        wanted.join(" ")
    )
}

/// Finds PostgreSQL 15 with its server headers; installs it if needed.
pub fn default_postgres() -> Result<Postgres> {
    if apt::is_available() || Postgres::find(DEFAULT_MAJOR)?.is_none() {
        packages(&[Need::Build])?;
    }
    Postgres::require(DEFAULT_MAJOR)
}

/// Finds or builds any supported version. The default version is required;
/// another one may be unavailable, which the caller has to report.
pub fn postgres(major: u32) -> Result<Obtained<Postgres>> {
    if !MAJORS.contains(&major) {
        bail!("PostgreSQL {major} is not supported; supported versions are 15, 16, 17 and 18");
    }
    let default = default_postgres()?;
    if major == DEFAULT_MAJOR {
        return Ok(Obtained::Yes(default));
    }
    match Postgres::find(major)? {
        Some(found) => Ok(Obtained::Yes(found)),
        None => build::build(major),
    }
}

/// Like [`postgres()`], but fails if the version is unavailable.
pub fn required_postgres(major: u32) -> Result<Postgres> {
    match postgres(major)? {
        Obtained::Yes(found) => Ok(found),
        Obtained::No(reason) => bail!("PostgreSQL {major} is unavailable: {reason}"),
    }
}

/// The `setup` command: installs all packages and reports the PostgreSQL installations.
pub fn run(major: Option<u32>) -> Result<()> {
    packages(&[Need::Build, Need::Clients])?;
    let mut found = vec![default_postgres()?];
    if let Some(major) = major.filter(|major| *major != DEFAULT_MAJOR) {
        found.push(required_postgres(major)?);
    }
    for pg in found {
        println!("{} in {}", pg.version, pg.bindir.display());
    }
    println!("all requirements are installed");
    Ok(())
}
