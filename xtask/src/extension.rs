//! Builds the extension with plain cargo and installs it into the directories reported by `pg_config`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::scripts;
use testkit::command;
use testkit::library::{failpoints_dir, private_library_dir};
use testkit::paths;
use testkit::postgres::Postgres;

/// Builds the shared library for one PostgreSQL installation and returns its path. Cargo's progress is
/// shown.
pub fn build(pg: &Postgres) -> Result<PathBuf> {
    build_with(pg, "")
}

/// Builds with additional cargo features. The library of the previous build is overwritten.
fn build_with(pg: &Postgres, features: &str) -> Result<PathBuf> {
    let mut cargo = command::cargo();
    cargo.args(["build", "--release", "--package", "helios", "--no-default-features"]);
    cargo.args(["--features", &format!("pg{}{features}", pg.major)]);
    cargo.arg("--message-format=json-render-diagnostics");
    cargo.env("PGRX_PG_CONFIG_PATH", &pg.pg_config);
    cargo.stdin(Stdio::null()).stderr(Stdio::inherit());
    let out = cargo.output().context("cannot run cargo")?;
    if !out.status.success() {
        bail!("building the extension for {} failed", pg.version);
    }
    // Each line is one JSON message; the library's message names the file that was built.
    for line in String::from_utf8_lossy(&out.stdout).lines() {
        let message: serde_json::Value =
            serde_json::from_str(line).context("cargo printed a line that is not JSON")?;
        if message["reason"] != "compiler-artifact" || message["target"]["name"] != "helios" {
            continue;
        }
        let files = message["filenames"].as_array().into_iter().flatten();
        if let Some(file) = files.filter_map(|f| f.as_str()).find(|f| f.ends_with(".so")) {
            return Ok(PathBuf::from(file));
        }
    }
    bail!("cargo reported no shared library for the extension");
}

/// Installs the library, the control file and the SQL scripts. Unchanged files
/// are left alone; others are replaced atomically, since running servers have them mapped.
/// Returns whether any file was replaced.
pub fn install(pg: &Postgres, library: &Path) -> Result<bool> {
    let library_dir = private_library_dir(pg).unwrap_or_else(|| pg.libdir.clone());
    let extension_dir = pg.sharedir.join("extension");
    let mut wanted = vec![(library.to_owned(), library_dir.join("helios.so"), 0o755)];
    let mut scripts = scripts::all()?;
    scripts.insert(0, paths::workspace().join("helios.control"));
    for script in scripts {
        let name = script.file_name().unwrap_or_default().to_owned();
        wanted.push((script, extension_dir.join(name), 0o644));
    }
    put(&wanted)
}

/// Installs each source file at its target with the given mode; returns whether any was replaced.
fn put(wanted: &[(PathBuf, PathBuf, u32)]) -> Result<bool> {
    let mut refused = Vec::new();
    let mut replaced = false;
    for (source, target, mode) in wanted {
        let content =
            fs::read(source).with_context(|| format!("cannot read {}", source.display()))?;
        if fs::read(target).is_ok_and(|present| present == content) {
            continue;
        }
        match replace(target, &content, *mode) {
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                refused.push(format!(
                    "  sudo install -m {mode:o} {} {}",
                    source.display(),
                    target.display()
                ));
            }
            done => {
                done.with_context(|| format!("cannot write {}", target.display()))?;
                replaced = true;
            }
        }
    }
    if !refused.is_empty() {
        bail!(
            "no permission to write into PostgreSQL's directories; run these commands, then try again:\n{}",
            refused.join("\n")
        );
    }
    Ok(replaced)
}

/// Writes a world-readable file and renames it into place once it is complete.
fn replace(target: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    let dir = target.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    let mut temporary = tempfile::NamedTempFile::new_in(dir)?;
    temporary.write_all(content)?;
    temporary.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    temporary.persist(target)?;
    Ok(())
}

/// Builds and installs the extension.
pub fn build_and_install(pg: &Postgres) -> Result<PathBuf> {
    let library = build(pg)?;
    install(pg, &library)?;
    Ok(library)
}

/// Builds the library with failpoints, for tests that inject errors and crashes, and puts it
/// into [`failpoints_dir`]. The release library must be installed as well: it comes with the scripts.
pub fn build_with_failpoints(pg: &Postgres) -> Result<()> {
    let library = build_with(pg, ",failpoints")?;
    put(&[(library, failpoints_dir(pg).join("helios.so"), 0o755)]).map(drop)
}
