//! Runs PostgreSQL's client programs; they obey cancellation and timeouts of the calling statement.

use crate::error::{Error, Result};
use crate::pg::ipc::wait;
use crate::pg::session;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A temporary directory, removed with its contents on drop.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Creates a directory that only the server's user can access.
    pub fn new() -> Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let name = format!("helios-{}-{}", std::process::id(), session::clock());
        let path = std::env::temp_dir().join(name);
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|e| failed("make a directory", &e))?;
        Ok(Self(path))
    }

    /// Path of a file in the directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A failed removal merely leaves files behind in the temporary directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Still running only if the statement was canceled.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Connection parameters of a client program.
pub struct Server<'a> {
    /// Comma-separated hosts, as in libpq's `host` parameter; ports likewise.
    pub host: &'a str,
    pub port: &'a str,
    pub database: &'a str,
    pub user: &'a str,
    /// Additional libpq environment variables, such as PGSSLMODE and PGPASSWORD.
    pub environment: Vec<(&'static str, String)>,
}

/// Runs a program of the server's own version and redirects its output to the file. 38000 with its error output on
/// failure.
pub fn run(
    program: &str,
    server: &Server<'_>,
    arguments: &[&str],
    output: &Path,
    scratch: &Scratch,
) -> Result<()> {
    let path = session::program(program);
    let errors = scratch.file("errors");
    let create = |path: &Path| File::create(path).map_err(|e| failed("write a file", &e));
    let mut command = Command::new(&path);
    command.args(arguments);
    command.env("PGHOST", server.host).env("PGPORT", server.port);
    command.env("PGDATABASE", server.database).env("PGUSER", server.user);
    command.env("PGAPPNAME", "helios").env("PGOPTIONS", "-c lc_messages=C").env("LC_ALL", "C");
    command.envs(server.environment.iter().map(|(name, value)| (*name, value)));
    command.stdin(Stdio::null()).stdout(create(output)?).stderr(create(&errors)?);
    let child = command.spawn().map_err(|e| {
        failed(&format!("run {}", path.display()), &e)
            .hint(format!("Install PostgreSQL's {program} in the server's bin directory."))
    })?;
    let mut running = Running(child);
    let status = loop {
        wait::check_for_interrupts();
        match running.0.try_wait().map_err(|e| failed("wait for a program", &e))? {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    if status.success() {
        return Ok(());
    }
    let said = std::fs::read(&errors).unwrap_or_default();
    Err(Error::new(Code::ERRCODE_EXTERNAL_ROUTINE_EXCEPTION, format!("{program} failed"))
        .detail(String::from_utf8_lossy(&said).trim().to_owned()))
}

fn failed(what: &str, error: &io::Error) -> Error {
    Error::new(Code::ERRCODE_IO_ERROR, format!("could not {what}: {error}"))
}
