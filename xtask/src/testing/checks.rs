//! Checks of the sources: formatting, lints, documentation, layering.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::layering;
use testkit::command;
use testkit::paths;

/// The packages that build without PostgreSQL.
const PURE: [&str; 8] = ["-p", "helios-core", "-p", "testkit", "-p", "xtask", "-p", "helios-tests"];

/// The extension with the same profile as for servers, so that the bindings are generated only once.
pub const EXTENSION: [&str; 6] =
    ["-p", "helios", "--release", "--no-default-features", "--features", "pg15"];

fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = command::cargo();
    cargo.args(arguments);
    cargo
}

/// Checks that rustfmt would change nothing.
pub fn format() -> Result<()> {
    command::output(&mut cargo(&["fmt", "--all", "--check", "--", "--color=never"])).map(drop)
}

/// Runs Clippy with warnings as errors.
pub fn lint(pg_config: &Path) -> Result<()> {
    let deny = ["--", "-D", "warnings"];
    command::output(cargo(&["clippy", "--quiet", "--all-targets"]).args(PURE).args(deny))?;
    let mut extension = cargo(&["clippy", "--quiet", "--lib"]);
    extension.args(EXTENSION).args(deny).env("PGRX_PG_CONFIG_PATH", pg_config);
    command::output(&mut extension).map(drop)
}

/// Builds the documentation without warnings, including that of private items: most of the extension
/// is private.
pub fn docs(pg_config: &Path) -> Result<()> {
    let arguments = ["doc", "--quiet", "--no-deps", "--document-private-items"];
    let deny = ("RUSTDOCFLAGS", "-D warnings");
    command::output(cargo(&arguments).args(PURE).env(deny.0, deny.1))?;
    let mut extension = cargo(&arguments);
    extension.args(EXTENSION).env(deny.0, deny.1).env("PGRX_PG_CONFIG_PATH", pg_config);
    command::output(&mut extension).map(drop)
}

/// Checks that the extension's rooms use each other downward only.
pub fn layers() -> Result<()> {
    let violations = layering::check(paths::workspace())?;
    if !violations.is_empty() {
        bail!("{}", violations.join("\n"));
    }
    Ok(())
}
