//! One PostgreSQL server: made, configured, started, stopped. Nothing here knows of clusters.

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

/// The role that owns every server made here.
pub const ROLE: &str = "postgres";

/// The address servers listen on. Never anything but loopback: there is no password.
pub const HOST: &str = "127.0.0.1";

/// How long a server may take to start or stop before that is an error.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How a server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Sessions are ended, everything is flushed.
    Fast,
    /// Ends at once; the next start recovers from the log.
    Immediate,
}

/// A server's place and settings. Holds no process: whether it runs is read from its data
/// directory, so that any program can look after a server that another one started.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its name in messages, such as `coordinator` or `node-1`.
    pub name: String,
    /// The installation it runs.
    pub pg: Postgres,
    /// Data directory.
    pub data: PathBuf,
    /// Directory of its unix socket.
    pub sockets: PathBuf,
    /// TCP port, on loopback only.
    pub port: u16,
    /// Further lines for its configuration file.
    pub settings: Vec<String>,
}

impl Server {
    /// Makes the data directory if there is none. It appears under its name only when it is
    /// whole, so a killed run leaves nothing that looks usable.
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
        command::output(&mut initdb).with_context(|| format!("cannot make {}", self.name))?;
        let conf = half.join("postgresql.conf");
        let mut text = fs::read_to_string(&conf)?;
        text.push_str("\ninclude 'helios.conf'\n");
        fs::write(&conf, text)?;
        fs::rename(&half, &self.data).with_context(|| format!("cannot rename {}", half.display()))
    }

    /// Writes the part of the configuration that is ours; done before each start, so that a data
    /// directory follows a change of port.
    fn configure(&self) -> Result<()> {
        let mut lines = vec![
            format!("listen_addresses = '{HOST}'"),
            format!("port = {}", self.port),
            format!("unix_socket_directories = '{}'", self.sockets.display()),
            "max_connections = 200".to_owned(),
            "max_prepared_transactions = 200".to_owned(),
            "wal_level = logical".to_owned(),
            // A node keeps a slot, a sender and a worker for each move whose rollback window is open.
            "max_replication_slots = 32".to_owned(),
            "max_wal_senders = 32".to_owned(),
            "max_logical_replication_workers = 16".to_owned(),
            "max_worker_processes = 32".to_owned(),
            // A server starts one subscription in so much time; the default of 5 s is what most of a short move took.
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

    /// Starts the server and waits until it takes connections. A server that runs already is left
    /// alone; what a killed one left behind is cleared away.
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
                // The backends of a killed postmaster hold its shared memory for a moment.
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

    /// Ends the server if it runs, and waits for that. Works from the process id alone, so it
    /// also ends a server that never became ready.
    pub fn stop(&self, how: Shutdown) -> Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        let first = if how == Shutdown::Fast { Signal::INT } else { Signal::QUIT };
        for signal in [first, Signal::QUIT, Signal::KILL] {
            // It may end between look and signal; the wait below sees that.
            let _ = kill_process(pid, signal);
            let until = Instant::now() + TIMEOUT;
            while Instant::now() < until {
                if self.pid().is_none() {
                    return Ok(());
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        bail!("{} (process {}) does not end", self.name, pid.as_raw_nonzero());
    }

    /// Ends the postmaster and every process of its at once with SIGKILL, as a crash of the
    /// machine would, and waits until they are gone.
    pub fn kill(&self) -> Result<()> {
        let Some(postmaster) = self.pid() else { return Ok(()) };
        let mut all = processes::children(postmaster);
        all.insert(0, postmaster);
        for pid in &all {
            // One that has ended meanwhile is what we want.
            let _ = kill_process(*pid, Signal::KILL);
        }
        let until = Instant::now() + TIMEOUT;
        while all.iter().any(|pid| processes::is_alive(*pid)) {
            if Instant::now() > until {
                bail!("processes of {} survive SIGKILL", self.name);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// The postmaster's process id while it runs.
    pub fn pid(&self) -> Option<Pid> {
        let file = fs::read_to_string(self.data.join("postmaster.pid")).ok()?;
        let pid = Pid::from_raw(file.lines().next()?.trim().parse().ok()?)?;
        self.is_postmaster(pid).then_some(pid)
    }

    /// Does this process run on our data directory? A process id alone proves nothing: after a
    /// crash of the machine it may be anybody's.
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

    /// Removes lock files whose process is gone or is not a PostgreSQL server any more.
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

    /// The server's log file.
    pub fn log(&self) -> PathBuf {
        self.data.with_extension("log")
    }

    /// The connection string for a database here.
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://{ROLE}@{HOST}:{}/{database}", self.port)
    }

    /// How to connect to a database here, for changing before use.
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

    /// A client program of this installation (`psql`, `pgbench`, …), set to connect here.
    pub fn client(&self, program: &str, database: &str) -> Result<std::process::Command> {
        let mut command = command::as_server_user(self.pg.program(program))?;
        command.env("PGHOST", HOST).env("PGPORT", self.port.to_string());
        command.env("PGUSER", ROLE).env("PGDATABASE", database).env("PGCONNECT_TIMEOUT", "10");
        Ok(command)
    }
}

/// An error that names the port when somebody else listens on it.
pub fn check_port_free(port: u16) -> Result<()> {
    match TcpListener::bind((HOST, port)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            bail!(
                "port {port} is in use by another program; end that one, or choose other ports \
                 with --port"
            )
        }
        Err(error) => Err(error).with_context(|| format!("cannot use port {port}")),
    }
}

/// What was appended to a file since it had `offset` bytes.
fn read_from(path: &Path, offset: u64) -> Result<String> {
    use std::io::Seek;
    let mut file = fs::File::open(path)?;
    file.seek(std::io::SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
