//! Installs what the project needs on Debian and Ubuntu: says what it does, needs no terminal,
//! changes nothing that is there already. Elsewhere it says what is needed and stops.

mod build;

use anyhow::{Result, bail};

use testkit::command;
use testkit::obtain::{Obtained, apt};
use testkit::postgres::{DEFAULT_MAJOR, MAJORS, Postgres};

/// What a set of packages is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Building the extension and running servers.
    Build,
    /// Tests with unchanged client programs (Python's virtual environments).
    Clients,
    /// The peers that benchmarks compare with. Not part of `setup`: they are installed when a
    /// benchmark is run.
    Bench,
    /// Building other PostgreSQL versions from Debian's sources.
    Source,
}

impl Need {
    /// Debian's names for the packages.
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

/// Makes sure that everything for `needs` is installed. Silent when it is.
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
            "missing: {}\nrun this, then try again:\n  sudo apt-get install --yes {}",
            missing.join(" "),
            missing.join(" ")
        );
    }
    apt::install(&missing)
}

/// On a system without apt the packages cannot be checked, only their result: PostgreSQL itself.
fn elsewhere(needs: &[Need], wanted: &[&str]) -> Result<()> {
    if needs == [Need::Build] && Postgres::find(DEFAULT_MAJOR)?.is_some() {
        return Ok(());
    }
    bail!(
        "this system has no apt-get, so nothing can be installed here by this command.\n\
         Needed: PostgreSQL {DEFAULT_MAJOR} with server headers (its pg_config in PATH), a C \
         compiler, libclang, pkg-config.\nThe same as Debian packages: {}",
        wanted.join(" ")
    )
}

/// PostgreSQL 15, ready to build against and to run; installs it when needed.
pub fn default_postgres() -> Result<Postgres> {
    if apt::is_available() || Postgres::find(DEFAULT_MAJOR)?.is_none() {
        packages(&[Need::Build])?;
    }
    Postgres::require(DEFAULT_MAJOR)
}

/// Any supported version, ready to build against and to run. The default version is a must;
/// another one may be unobtainable, which is for the caller to show.
pub fn postgres(major: u32) -> Result<Obtained<Postgres>> {
    if !MAJORS.contains(&major) {
        bail!("PostgreSQL {major} is not supported; supported are 15, 16, 17 and 18");
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

/// As [`postgres()`], where nothing can go on without it.
pub fn required_postgres(major: u32) -> Result<Postgres> {
    match postgres(major)? {
        Obtained::Yes(found) => Ok(found),
        Obtained::No(reason) => bail!("PostgreSQL {major} is not obtainable: {reason}"),
    }
}

/// The `setup` command.
pub fn run(major: Option<u32>) -> Result<()> {
    packages(&[Need::Build, Need::Clients])?;
    let mut found = vec![default_postgres()?];
    if let Some(major) = major.filter(|major| *major != DEFAULT_MAJOR) {
        found.push(required_postgres(major)?);
    }
    for pg in found {
        println!("{} in {}", pg.version, pg.bindir.display());
    }
    println!("everything is installed");
    Ok(())
}
