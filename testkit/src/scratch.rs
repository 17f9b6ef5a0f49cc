//! Temporary servers: a directory, ports, and a watcher process that cleans up.
//!
//! The watcher is a shell that waits for the end of a pipe held only by this process. However
//! this process ends (return, panic, `exit`, SIGKILL), the pipe closes, and the watcher stops the servers by
//! process ID and removes the directory.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};

use crate::cluster::{LocalCluster, Shape};
use crate::command;
use crate::ports::Ports;
use crate::postgres::Postgres;
use crate::server::Server;

/// Settings for servers with disposable data: data may be lost in a crash of the machine, but not in a crash
/// of a server.
pub const SETTINGS: [&str; 4] =
    ["fsync = off", "shared_buffers = 32MB", "max_wal_size = 4GB", "autovacuum_naptime = 10s"];

/// Stops the servers below `$1` and removes it. A process ID in a file may be stale, so the
/// process must have the directory in its command line.
const WATCHER: &str = r#"
cat > /dev/null
servers() {
    for file in "$1"/*/postmaster.pid "$1"/*/*/postmaster.pid; do
        [ -f "$file" ] || continue
        pid=$(head -n 1 "$file")
        tr '\0' '\n' < "/proc/$pid/cmdline" 2> /dev/null | grep -q "^$1/" && echo "$pid"
    done
}
for pid in $(servers "$1"); do kill -QUIT "$pid" 2> /dev/null; done
tries=0
while [ -n "$(servers "$1")" ] && [ $tries -lt 200 ]; do tries=$((tries + 1)); sleep 0.05; done
for pid in $(servers "$1"); do kill -KILL "$pid" 2> /dev/null; done
rm -rf "$1"
"#;

/// A directory and ports for temporary servers; dropping it stops and removes everything.
#[derive(Debug)]
pub struct Scratch {
    /// The directory, owned by the server user.
    pub dir: PathBuf,
    /// The ports.
    pub ports: Ports,
    watcher: Child,
}

impl Scratch {
    /// Creates a directory and allocates this many ports.
    pub fn new(ports: u16) -> Result<Self> {
        let ports = Ports::take(ports)?;
        let open = fs::Permissions::from_mode(0o755);
        let mut unique = tempfile::Builder::new();
        let dir = unique.prefix("helios-scratch-").permissions(open).tempdir();
        // The watcher removes it once the servers in it have stopped.
        let dir = dir.context("cannot make a temporary directory")?.keep().canonicalize()?;
        command::give_to_server_user(&dir)?;
        let mut watcher = Command::new("sh");
        watcher.args(["-c", WATCHER, "watcher"]).arg(&dir).current_dir("/");
        watcher.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // A separate process group: Ctrl-C must end this process, but not the watcher.
        let watcher = watcher.process_group(0).spawn().context("cannot start a shell")?;
        Ok(Self { dir, ports, watcher })
    }

    /// Starts a cluster in this directory; `settings` are added to every server's configuration.
    pub fn cluster(&self, pg: &Postgres, nodes: u16, settings: &[&str]) -> Result<LocalCluster> {
        let shape = Shape { nodes, port: self.ports.first, pg: pg.major };
        let cluster = LocalCluster::new(&self.dir, shape, pg, &all_settings(settings))?;
        self.fill(&cluster)?;
        cluster.start()?;
        Ok(cluster)
    }

    /// Creates the data directories of a cluster without starting it.
    pub fn fill(&self, cluster: &LocalCluster) -> Result<()> {
        cluster.make_directories()?;
        cluster.servers.iter().enumerate().try_for_each(|(i, server)| copy_template(server, i))
    }

    /// Starts a server without Helios on the port at `index`.
    pub fn plain_server(&self, pg: &Postgres, index: u16, settings: &[&str]) -> Result<Server> {
        let server = Server {
            name: format!("plain-{index}"),
            pg: pg.clone(),
            data: self.dir.join(format!("plain-{index}")),
            sockets: self.dir.clone(),
            port: self.ports.first + index,
            settings: all_settings(settings),
        };
        copy_template(&server, usize::from(index))?;
        server.start()?;
        Ok(server)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        if let Err(error) = self.watcher.wait() {
            eprintln!("could not wait for the servers in {} to stop: {error}", self.dir.display());
        }
    }
}

/// [`SETTINGS`] and additional ones.
pub fn all_settings(more: &[&str]) -> Vec<String> {
    SETTINGS.iter().chain(more).map(|line| (*line).to_owned()).collect()
}

/// Creates a data directory by copying a template, which takes a third of the time of initdb.
/// Servers of one cluster use different templates: a copy has the same system identifier.
fn copy_template(server: &Server, index: usize) -> Result<()> {
    let user = rustix::process::geteuid().as_raw();
    let base = std::env::temp_dir().join(format!("helios-templates-{user}"));
    fs::create_dir_all(&base)?;
    command::give_to_server_user(&base)?;
    let version: String =
        server.pg.version.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    let template = Server { data: base.join(format!("{version}_{index}")), ..server.clone() };
    let path = base.join(format!("{version}_{index}.lock"));
    let lock = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    template.init()?;
    drop(lock);
    copy(&template.data, &server.data)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut copy = command::as_server_user("cp")?;
    command::output(copy.args(["-a", "--reflink=auto"]).arg(from).arg(to)).map(drop)
}
