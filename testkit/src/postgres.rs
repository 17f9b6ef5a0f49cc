//! PostgreSQL installations on this machine, found through their `pg_config`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;
use crate::paths;

/// Default major version.
pub const DEFAULT_MAJOR: u32 = 15;

/// Supported major versions.
pub const MAJORS: [u32; 4] = [15, 16, 17, 18];

/// An installation with programs, server headers and extension directories.
#[derive(Debug, Clone)]
pub struct Postgres {
    /// Major version, such as 15.
    pub major: u32,
    /// Version as reported by `pg_config --version`.
    pub version: String,
    /// Path of its `pg_config`.
    pub pg_config: PathBuf,
    /// Directory of `postgres`, `initdb`, `psql` and `pgbench`.
    pub bindir: PathBuf,
    /// Directory of loadable modules.
    pub libdir: PathBuf,
    /// Directory that contains `extension/`, with control files and SQL scripts.
    pub sharedir: PathBuf,
    /// Directory of `pg_regress`.
    pub regress_dir: PathBuf,
}

impl Postgres {
    /// Finds a usable installation of a major version: Debian's, then one built by
    /// `cargo xtask setup --pg N`, then any `pg_config` in the path.
    pub fn find(major: u32) -> Result<Option<Self>> {
        let mut candidates =
            vec![PathBuf::from(format!("/usr/lib/postgresql/{major}/bin/pg_config"))];
        candidates
            .extend(paths::caches().iter().map(|dir| dir.join(format!("pg{major}/bin/pg_config"))));
        let path = std::env::var_os("PATH").unwrap_or_default();
        candidates.extend(std::env::split_paths(&path).map(|dir| dir.join("pg_config")));
        for candidate in candidates.iter().filter(|candidate| candidate.is_file()) {
            match Self::from_pg_config(candidate) {
                Ok(found) if found.major == major && found.is_complete()? => {
                    return Ok(Some(found));
                }
                // Debian puts a wrapper called pg_config into the path that fails if only the
                // client packages are installed: skip it.
                Ok(_) | Err(_) => {}
            }
        }
        Ok(None)
    }

    /// Like [`Postgres::find`], but the error names the remedy.
    pub fn require(major: u32) -> Result<Self> {
        match Self::find(major)? {
            Some(found) => Ok(found),
            None => bail!(
                "PostgreSQL {major} with its server headers is not installed; \
                 run: cargo xtask setup --pg {major}"
            ),
        }
    }

    /// Describes an installation by its `pg_config`.
    pub fn from_pg_config(pg_config: &Path) -> Result<Self> {
        let ask = |what: &str| -> Result<String> {
            Ok(command::output(Command::new(pg_config).arg(what))?.trim().to_owned())
        };
        let version = ask("--version")?;
        let number = version.trim_start_matches("PostgreSQL ");
        let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
        let major = digits.parse().with_context(|| format!("unexpected version {version:?}"))?;
        let pgxs = PathBuf::from(ask("--pgxs")?);
        // …/pgxs/src/makefiles/pgxs.mk → …/pgxs/src/test/regress
        let regress_dir = match pgxs.ancestors().nth(2) {
            Some(src) => src.join("test/regress"),
            None => bail!("unexpected pgxs path {}", pgxs.display()),
        };
        Ok(Self {
            major,
            pg_config: pg_config.to_owned(),
            bindir: ask("--bindir")?.into(),
            libdir: ask("--pkglibdir")?.into(),
            sharedir: ask("--sharedir")?.into(),
            regress_dir,
            version,
        })
    }

    /// Whether programs and server headers exist.
    fn is_complete(&self) -> Result<bool> {
        let mut ask = Command::new(&self.pg_config);
        let headers = command::output(ask.arg("--includedir-server"))?;
        Ok(Path::new(headers.trim()).join("postgres.h").is_file()
            && self.program("postgres").is_file()
            && self.program("initdb").is_file())
    }

    /// The version number alone, such as `15.20`.
    pub fn number(&self) -> &str {
        self.version.split_whitespace().nth(1).unwrap_or_default()
    }

    /// Path of one of its programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bindir.join(name)
    }
}
