//! Debian's package manager, run non-interactively.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;
use crate::progress::Step;

/// Configuration file read by postgresql-common when a server package is installed for the first time.
const CREATECLUSTER: &str = "/etc/postgresql-common/createcluster.d/helios.conf";

/// Policy script called by Debian packages before they start their service; exit status 101 forbids it.
const SERVICE_POLICY: &str = "/usr/sbin/policy-rc.d";

/// Whether this is Debian or a derivative.
pub fn is_available() -> bool {
    Path::new("/usr/bin/apt-get").exists() && Path::new("/usr/bin/dpkg-query").exists()
}

/// Returns the packages that are not installed.
pub fn missing<'a>(packages: &[&'a str]) -> Result<Vec<&'a str>> {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"]).args(packages);
    // The exit status reports unknown packages, which is not an error here.
    let out = command::capture(&mut query)?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let installed: Vec<&str> =
        text.lines().filter_map(|line| line.strip_suffix(" installed")).collect();
    Ok(packages.iter().copied().filter(|name| !installed.contains(name)).collect())
}

/// Installs packages; on failure, updates the package lists and tries again.
pub fn install(packages: &[&str]) -> Result<()> {
    let step = Step::start(format!("installing {}", packages.join(" ")));
    let _guard = NoDefaultServer::set()?;
    if let Err(first) = command::output(apt_get(&[]).arg("install").args(packages)) {
        step.note("installation failed; updating the package lists");
        update(&[]).with_context(|| format!("{first:#}"))?;
        command::output(apt_get(&[]).arg("install").args(packages))?;
    }
    step.done("");
    Ok(())
}

/// Runs `apt-get update`, with up to three attempts because mirrors fail occasionally.
pub fn update(options: &[String]) -> Result<()> {
    let mut last = Ok(());
    for pause in [2, 5, 0] {
        last = command::output(apt_get(options).arg("update")).map(drop);
        if last.is_ok() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_secs(pause));
    }
    last
}

/// `apt-get` without questions, keeping existing configuration files.
pub fn apt_get(options: &[String]) -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C.UTF-8");
    command.args(["--yes", "--quiet", "--no-install-recommends"]);
    command.args(["-o", "Dpkg::Options::=--force-confold", "-o", "DPkg::Lock::Timeout=300"]);
    command.args(["-o", "Acquire::Retries=3"]).args(options);
    command
}

/// Guard that keeps the installation of a server package from creating a server on port 5432 or starting
/// any service.
struct NoDefaultServer {
    made: Vec<&'static str>,
}

impl NoDefaultServer {
    fn set() -> Result<Self> {
        let mut guard = Self { made: Vec::new() };
        guard.put(CREATECLUSTER, "create_main_cluster = false\n", 0o644)?;
        guard.put(SERVICE_POLICY, "#!/bin/sh\nexit 101\n", 0o755)?;
        Ok(guard)
    }

    /// Creates a file unless it exists; an existing one is the administrator's.
    fn put(&mut self, path: &'static str, text: &str, mode: u32) -> Result<()> {
        if Path::new(path).exists() {
            return Ok(());
        }
        if let Some(dir) = Path::new(path).parent() {
            fs::create_dir_all(dir)?;
        }
        self.made.push(path);
        fs::write(path, text)
            .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
            .with_context(|| format!("cannot write {path}"))
    }
}

impl Drop for NoDefaultServer {
    fn drop(&mut self) {
        for path in &self.made {
            if let Err(error) = fs::remove_file(path) {
                eprintln!("cannot remove {path}: {error}");
            }
        }
    }
}
