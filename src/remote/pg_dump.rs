//! Runs pg_dump against a server that sessions can connect to. Cancellation and timeouts of the calling statement kill it.

use super::target::Target;
use crate::error::{Error, Result};
use crate::pg::ipc::wait;
use crate::pg::session;
use helios_core::archive::{self, Entry};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const POLL_INTERVAL: Duration = Duration::from_millis(10);
const HINT: &str = "Install PostgreSQL's pg_dump in the server's bin directory.";

/// Runs pg_dump with these options and returns the entries of its archive. `parameters` are libpq's connection
/// parameters: those of [`Target::libpq`], or more.
///
/// 58000 if pg_dump cannot be run, 38000 with its error output if it fails.
pub fn entries(
    target: &Target,
    parameters: &[(&'static str, String)],
    options: &[String],
) -> Result<Vec<Entry>> {
    let mut command = command(target, parameters);
    command.args(["--format=custom", "--compress=0", "--encoding=UTF8"]).args(options);
    archive::entries(&run(command)?).map_err(|error| {
        let message = "could not read the output of pg_dump";
        Error::new(Code::ERRCODE_EXTERNAL_ROUTINE_EXCEPTION, message)
            .detail(error.to_string())
            .hint(HINT)
    })
}

/// Builds the command with a minimal environment. It contains passwords, which only the server's user can read.
fn command(target: &Target, parameters: &[(&'static str, String)]) -> Command {
    let mut command = Command::new(session::program("pg_dump"));
    command.env_clear().env("PGAPPNAME", "helios").env("LC_ALL", "C");
    command.env("PGCONNECT_TIMEOUT", target.connect_timeout.as_secs().max(2).to_string());
    if let Some(passfile) = &target.passfile {
        command.env("PGPASSFILE", passfile);
    }
    for (word, value) in parameters {
        let name = if *word == "dbname" { "database" } else { word };
        command.env(format!("PG{}", name.replace('_', "").to_uppercase()), value);
    }
    command
}

/// Kills the process if the wait for it is interrupted.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // The process has exited, or its output is no longer needed; an error does not matter in either case.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(mut command: Command) -> Result<Vec<u8>> {
    let failed = |what: &str, error: io::Error| {
        Error::new(Code::ERRCODE_SYSTEM_ERROR, format!("could not {what} pg_dump: {error}"))
            .hint(HINT)
    };
    let prepare = |error| failed("create a temporary file for", error);
    let (mut output, mut errors) =
        (tempfile::tempfile().map_err(prepare)?, tempfile::tempfile().map_err(prepare)?);
    let stdio = |file: &File| file.try_clone().map(Stdio::from).map_err(prepare);
    command.stdin(Stdio::null()).stdout(stdio(&output)?).stderr(stdio(&errors)?);
    let mut child = Running(command.spawn().map_err(|error| failed("start", error))?);
    let status = loop {
        match child.0.try_wait().map_err(|error| failed("wait for", error))? {
            Some(status) => break status,
            None => wait::for_any(&[], POLL_INTERVAL),
        }
    };
    let read = |file| contents(file).map_err(|error| failed("read the output of", error));
    if !status.success() {
        let said = read(&mut errors)?;
        return Err(Error::new(Code::ERRCODE_EXTERNAL_ROUTINE_EXCEPTION, "pg_dump failed")
            .detail(String::from_utf8_lossy(&said).trim().to_owned()));
    }
    read(&mut output)
}

fn contents(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}
