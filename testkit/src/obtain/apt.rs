//! Debian's package manager, without a terminal.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;
use crate::progress::Step;

/// Read by postgresql-common when a server package is installed for the first time.
const CREATECLUSTER: &str = "/etc/postgresql-common/createcluster.d/helios.conf";

/// Asked by Debian's packages whether they may start their service; 101 means no.
const SERVICE_POLICY: &str = "/usr/sbin/policy-rc.d";

/// Is this Debian, or one of its family?
pub fn is_available() -> bool {
    Path::new("/usr/bin/apt-get").exists() && Path::new("/usr/bin/dpkg-query").exists()
}

/// Those of the packages that are not installed.
pub fn missing<'a>(packages: &[&'a str]) -> Result<Vec<&'a str>> {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"]).args(packages);
    // Its exit status says that some are unknown, which is no error here.
    let out = command::capture(&mut query)?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let installed: Vec<&str> =
        text.lines().filter_map(|line| line.strip_suffix(" installed")).collect();
    Ok(packages.iter().copied().filter(|name| !installed.contains(name)).collect())
}

/// Installs packages; the package lists are brought up to date when that fails at first.
pub fn install(packages: &[&str]) -> Result<()> {
    let step = Step::start(format!("installing {}", packages.join(" ")));
    let _guard = NoDefaultServer::set()?;
    if let Err(first) = command::output(apt_get(&[]).arg("install").args(packages)) {
        step.note("the package lists are out of date: apt-get update");
        update(&[]).with_context(|| format!("{first:#}"))?;
        command::output(apt_get(&[]).arg("install").args(packages))?;
    }
    step.done("");
    Ok(())
}

/// `apt-get update`, tried three times: mirrors have bad moments.
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

/// `apt-get` that asks nothing and keeps configuration files as they are.
pub fn apt_get(options: &[String]) -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C.UTF-8");
    command.args(["--yes", "--quiet", "--no-install-recommends"]);
    command.args(["-o", "Dpkg::Options::=--force-confold", "-o", "DPkg::Lock::Timeout=300"]);
    command.args(["-o", "Acquire::Retries=3"]).args(options);
    command
}

/// While it lives, installing a server package neither creates a server on port 5432 nor starts
/// any service: nobody asked for those.
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

    /// Writes a file that is not there yet; one that is there is the administrator's.
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
