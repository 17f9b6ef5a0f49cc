//! Runs other programs, with their output captured and as the user that runs the servers.
//!
//! PostgreSQL refuses to run as root. If run by root, servers (and programs that access their
//! files) are therefore started as the unprivileged user `postgres`; otherwise as the current user.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// The unprivileged user that runs the servers if started by root.
#[derive(Debug, Clone, Copy)]
pub struct ServerUser {
    /// User ID.
    pub uid: u32,
    /// Primary group ID.
    pub gid: u32,
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The user that runs the servers, or `None` if it is the current user.
pub fn server_user() -> Result<Option<ServerUser>> {
    if !is_root() {
        return Ok(None);
    }
    let passwd = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    let entry = |name: &str| {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        let uid = fields.next()?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(ServerUser { uid, gid })
    };
    match entry("postgres").or_else(|| entry("nobody")) {
        Some(user) => Ok(Some(user)),
        None => bail!("PostgreSQL cannot run as root, and user \"postgres\" does not exist"),
    }
}

/// A command run as the server user in a minimal environment: backtrace or locale settings of the
/// caller must not change the servers' output.
pub fn as_server_user(program: impl AsRef<OsStr>) -> Result<Command> {
    let mut command = Command::new(program);
    command.env_clear().current_dir("/");
    command.env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()));
    command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
    if let Some(user) = server_user()? {
        command.uid(user.uid).gid(user.gid);
    }
    Ok(command)
}

/// Changes the owner of `path` to the server user.
pub fn give_to_server_user(path: &Path) -> Result<()> {
    if let Some(user) = server_user()? {
        std::os::unix::fs::chown(path, Some(user.uid), Some(user.gid)).with_context(|| {
            format!("cannot change owner of {} to the server user", path.display())
        })?;
    }
    Ok(())
}

/// The command line as one would type it, for messages.
pub fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

/// Runs a command with both output streams captured, whatever the exit status.
pub fn capture(command: &mut Command) -> Result<Output> {
    command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().to_string_lossy()))
}

/// Runs a command and returns its standard output; on failure, the error contains all output.
pub fn output(command: &mut Command) -> Result<String> {
    let out = capture(command)?;
    successful(command, &out)
}

/// Like [`output`], with `input` on standard input.
pub fn output_of_input(command: &mut Command, input: &[u8]) -> Result<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot run {}", command.get_program().to_string_lossy()))?;
    let stdin = child.stdin.take();
    let out = std::thread::scope(|scope| {
        // A program that exits early closes its input; its exit status is reported.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input)));
        child.wait_with_output()
    })?;
    successful(command, &out)
}

fn successful(command: &Command, out: &Output) -> Result<String> {
    let stdout = String::from_utf8_lossy(&out.stdout).into_owned();
    if !out.status.success() {
        let stderr = String::from_utf8_lossy(&out.stderr);
        bail!("{} failed ({})\n{stdout}{stderr}", shown(command), out.status);
    }
    Ok(stdout)
}

/// Runs a command with its output shown immediately.
pub fn show(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {}", command.get_program().to_string_lossy()))?;
    if !status.success() {
        bail!("{} failed ({status})", shown(command));
    }
    Ok(())
}

/// The cargo that runs this program, or the one in the path, with the checkout as working directory.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(crate::paths::workspace());
    command
}
