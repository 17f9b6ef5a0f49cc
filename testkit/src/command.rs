//! Running other programs: with their output captured, and as the user that servers run as.
//!
//! PostgreSQL refuses to run as root. Root therefore starts servers (and whatever touches their
//! files) as the unprivileged user `postgres`; everybody else as themselves.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// The unprivileged user that servers run as when root starts them.
#[derive(Debug, Clone, Copy)]
pub struct ServerUser {
    /// Its user id.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
}

/// Is this process root's?
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The user servers run as: `None` when that is the current user.
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
        None => bail!("PostgreSQL does not run as root, and there is no user \"postgres\""),
    }
}

/// A command that runs as the server user, in a small clean environment: a backtrace setting or a
/// locale of the caller's must not change what a server answers.
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

/// Gives `path` to the server user, so that servers may use it.
pub fn give_to_server_user(path: &Path) -> Result<()> {
    if let Some(user) = server_user()? {
        std::os::unix::fs::chown(path, Some(user.uid), Some(user.gid))
            .with_context(|| format!("cannot give {} to the server's user", path.display()))?;
    }
    Ok(())
}

/// The command line as a person would type it, for messages.
pub fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

/// Runs to the end with both streams captured, whatever the exit status.
pub fn capture(command: &mut Command) -> Result<Output> {
    command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().to_string_lossy()))
}

/// Runs to the end and returns standard output; a failure carries everything that was printed.
pub fn output(command: &mut Command) -> Result<String> {
    let out = capture(command)?;
    successful(command, &out)
}

/// As [`output`], with something on standard input.
pub fn output_of_input(command: &mut Command, input: &[u8]) -> Result<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot run {}", command.get_program().to_string_lossy()))?;
    let stdin = child.stdin.take();
    let out = std::thread::scope(|scope| {
        // A program that ends early closes its input: its exit status tells the story.
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

/// Runs to the end with the output shown as it comes.
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

/// The cargo that runs this program, or the one in the path, started at the checkout's root.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(crate::paths::workspace());
    command
}
