//! A PostgreSQL server: creates, configures, starts and stops it. Independent of clusters.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::command;
use crate::library;
use crate::postgres::Postgres;
use crate::processes;

/// The superuser of every server created here.
pub const ROLE: &str = "postgres";

/// The address that servers listen on. Must be loopback, because there is no password.
pub const HOST: &str = "127.0.0.1";

/// Timeout for starting and stopping a server.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Shutdown mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Fast shutdown: terminates sessions and writes a checkpoint.
    Fast,
    /// Immediate shutdown; the next start performs crash recovery.
    Immediate,
}

/// A server's location and settings. Holds no process: whether it is running is determined from its data
/// directory, so that any program can manage a server started by another one.
#[derive(Debug, Clone)]
pub struct Server {
    /// Name used in messages, such as `coordinator` or `node-1`.
    pub name: String,
    /// The PostgreSQL installation.
    pub pg: Postgres,
    /// Data directory.
    pub data: PathBuf,
    /// Directory of its Unix-domain socket.
    pub sockets: PathBuf,
    /// TCP port, on loopback only.
    pub port: u16,
    /// Additional lines for its configuration file.
    pub settings: Vec<String>,
}

impl Server {
    /// Creates the data directory unless it exists. It is renamed into place once it is
    /// complete, so that an interrupted run leaves nothing that looks usable.
    pub fn init(&self) -> Result<()> {
        if self.data.join("PG_VERSION").is_file() {
            return Ok(());
        }
        let half = self.data.with_extension("new");
        if half.exists() {
            fs::remove_dir_all(&half)
                .with_context(|| format!("cannot remove {}", half.display()))?;
        }
        let mut initdb = command::as_server_user(self.pg.program("initdb"))?;
        initdb.arg("--pgdata").arg(&half).args(["--username", ROLE, "--auth", "trust"]);
        initdb.args(["--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"]);
        command::output(&mut initdb).with_context(|| format!("cannot initialize {}", self.name))?;
        let conf = half.join("postgresql.conf");
        let mut text = fs::read_to_string(&conf)?;
        text.push_str("\ninclude 'helios.conf'\n");
        fs::write(&conf, text)?;
        fs::rename(&half, &self.data).with_context(|| format!("cannot rename {}", half.display()))
    }

    /// Writes our part of the configuration. Called before each start, so that a data
    /// directory can be used with another port.
    fn configure(&self) -> Result<()> {
        let mut lines = vec![
            format!("listen_addresses = '{HOST}'"),
            format!("port = {}", self.port),
            format!("unix_socket_directories = '{}'", self.sockets.display()),
            "max_connections = 200".to_owned(),
            "max_prepared_transactions = 200".to_owned(),
            "wal_level = logical".to_owned(),
            // A node needs a slot, a WAL sender and a worker for each migration in its rollback window.
            "max_replication_slots = 32".to_owned(),
            "max_wal_senders = 32".to_owned(),
            "max_logical_replication_workers = 16".to_owned(),
            "max_worker_processes = 32".to_owned(),
            // A server starts at most one subscription worker in this time; the default of 5 s would dominate a short
            // migration.
            "wal_retrieve_retry_interval = 500ms".to_owned(),
            "log_line_prefix = '%m [%p] %q%u@%d %a '".to_owned(),
        ];
        if let Some(dir) = library::private_library_dir(&self.pg) {
            lines.push(format!("dynamic_library_path = '{}:$libdir'", dir.display()));
        }
        lines.extend(self.settings.iter().cloned());
        let path = self.data.join("helios.conf");
        fs::write(&path, lines.join("\n") + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
        command::give_to_server_user(&path)
    }

    /// Starts the server and waits until it accepts connections. Does nothing if it is already
    /// running; cleans up after a killed server.
    pub fn start(&self) -> Result<()> {
        if self.pid().is_some() {
            return self.wait_until_ready(Instant::now() + TIMEOUT);
        }
        self.configure()?;
        self.clear_stale_locks()?;
        let until = Instant::now() + TIMEOUT;
        loop {
            check_port_free(self.port)?;
            match self.start_once() {
                Ok(()) => return self.wait_until_ready(until),
                // The backends of a killed postmaster keep its shared memory attached for a moment.
                Err(error)
                    if format!("{error:#}").contains("shared memory block")
                        && Instant::now() < until =>
                {
                    std::thread::sleep(Duration::from_millis(200));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn start_once(&self) -> Result<()> {
        let log = self.log();
        let before = fs::metadata(&log).map_or(0, |meta| meta.len());
        let mut pg_ctl = command::as_server_user(self.pg.program("pg_ctl"))?;
        pg_ctl.args(["start", "--wait", "--silent", "--timeout", &TIMEOUT.as_secs().to_string()]);
        pg_ctl.arg("--pgdata").arg(&self.data).arg("--log").arg(&log);
        if let Err(error) = command::output(&mut pg_ctl) {
            let said = read_from(&log, before).unwrap_or_default();
            bail!("{} on port {} did not start: {error}\n{said}", self.name, self.port);
        }
        Ok(())
    }

    fn wait_until_ready(&self, until: Instant) -> Result<()> {
        loop {
            match self.connect("postgres") {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > until => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// Stops the server if it is running, and waits for its end. Uses only the process ID, so it
    /// also stops a server that never became ready.
    pub fn stop(&self, how: Shutdown) -> Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        let first = if how == Shutdown::Fast { Signal::INT } else { Signal::QUIT };
        for signal in [first, Signal::QUIT, Signal::KILL] {
            // It may exit between the check and the signal; the wait below handles that.
            let _ = kill_process(pid, signal);
            let until = Instant::now() + TIMEOUT;
            while Instant::now() < until {
                if self.pid().is_none() {
                    return Ok(());
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        bail!("{} (process {}) does not stop", self.name, pid.as_raw_nonzero());
    }

    /// Kills the postmaster and all its children with SIGKILL, like a machine crash,
    /// and waits until they are gone.
    pub fn kill(&self) -> Result<()> {
        let Some(postmaster) = self.pid() else { return Ok(()) };
        let mut all = processes::children(postmaster);
        all.insert(0, postmaster);
        for pid in &all {
            // It may have exited in the meantime.
            let _ = kill_process(*pid, Signal::KILL);
        }
        let until = Instant::now() + TIMEOUT;
        while all.iter().any(|pid| processes::is_alive(*pid)) {
            if Instant::now() > until {
                bail!("processes of {} are still running after SIGKILL", self.name);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// The postmaster's process ID if it is running.
    pub fn pid(&self) -> Option<Pid> {
        let file = fs::read_to_string(self.data.join("postmaster.pid")).ok()?;
        let pid = Pid::from_raw(file.lines().next()?.trim().parse().ok()?)?;
        self.is_postmaster(pid).then_some(pid)
    }

    /// Whether this process is the postmaster of our data directory. A process ID alone proves nothing: after a
    /// machine crash it may have been reused.
    fn is_postmaster(&self, pid: Pid) -> bool {
        if !processes::is_alive(pid) {
            return false;
        }
        let shown = format!("/proc/{}/cmdline", pid.as_raw_nonzero());
        match fs::read(shown) {
            Ok(line) => {
                let data = self.data.to_string_lossy();
                line.split(|byte| *byte == 0).any(|word| word == data.as_bytes())
            }
            Err(_) => !Path::new("/proc/self").exists(),
        }
    }

    /// Removes lock files whose process is gone or is no longer a PostgreSQL server.
    fn clear_stale_locks(&self) -> Result<()> {
        let socket = self.sockets.join(format!(".s.PGSQL.{}", self.port));
        let lock = self.sockets.join(format!(".s.PGSQL.{}.lock", self.port));
        for path in [self.data.join("postmaster.pid"), lock, socket] {
            let holder = fs::read_to_string(&path)
                .ok()
                .and_then(|text| Pid::from_raw(text.lines().next()?.trim().parse().ok()?));
            if holder.is_some_and(processes::is_postgres) {
                continue;
            }
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error)
                        .with_context(|| format!("cannot remove stale {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Path of the server's log file.
    pub fn log(&self) -> PathBuf {
        self.data.with_extension("log")
    }

    /// Connection string for a database on this server.
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://{ROLE}@{HOST}:{}/{database}", self.port)
    }

    /// Connection parameters for a database on this server.
    pub fn config(&self, database: &str) -> postgres::Config {
        let mut config = postgres::Config::new();
        config.host(HOST).port(self.port).user(ROLE).dbname(database);
        config.connect_timeout(Duration::from_secs(10)).application_name("xtask");
        config
    }

    /// Connects as `postgres`.
    pub fn connect(&self, database: &str) -> Result<postgres::Client> {
        self.config(database)
            .connect(postgres::NoTls)
            .with_context(|| format!("cannot connect to {} ({})", self.name, self.url(database)))
    }

    /// A client program of this installation (`psql`, `pgbench`, …) with connection parameters in its environment.
    pub fn client(&self, program: &str, database: &str) -> Result<std::process::Command> {
        let mut command = command::as_server_user(self.pg.program(program))?;
        command.env("PGHOST", HOST).env("PGPORT", self.port.to_string());
        command.env("PGUSER", ROLE).env("PGDATABASE", database).env("PGCONNECT_TIMEOUT", "10");
        Ok(command)
    }
}

/// Returns an error that names the port if it is in use.
pub fn check_port_free(port: u16) -> Result<()> {
    match TcpListener::bind((HOST, port)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            bail!(
                "port {port} is in use by another program; stop that program, or choose other ports \
                 with --port"
            )
        }
        Err(error) => Err(error).with_context(|| format!("cannot use port {port}")),
    }
}

/// Reads a file from this offset to its end.
fn read_from(path: &Path, offset: u64) -> Result<String> {
    use std::io::Seek;
    let mut file = fs::File::open(path)?;
    file.seek(std::io::SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
