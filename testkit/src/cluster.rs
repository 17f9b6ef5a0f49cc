//! A coordinator and nodes on one machine.
//!
//! A cluster's data is in `DIR/pg<version>-<nodes>nodes/`, so that starting a cluster of another shape in
//! the same directory neither destroys nor misinterprets existing data. The shape requested last is recorded in
//! `DIR/cluster.json`; nodes added since are found by their directories, and whether
//! servers are running is determined from their processes.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::command;
use crate::postgres::Postgres;
use crate::server::{self, HOST, Server, Shutdown};

/// Database with the extension.
pub const DATABASE: &str = "helios";

/// Size, ports and version of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Initial number of nodes besides the coordinator; 0 is a single server that stores data itself.
    pub nodes: u16,
    /// Port of the coordinator; nodes use the ports that follow.
    pub port: u16,
    /// PostgreSQL major version.
    pub pg: u32,
}

impl Shape {
    /// Checks that there are enough port numbers.
    pub fn check(&self) -> Result<()> {
        if self.port == 0 || self.port.checked_add(self.nodes).is_none() {
            bail!(
                "{} ports from {} exceed the maximum port number 65535",
                self.nodes + 1,
                self.port
            );
        }
        Ok(())
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} node(s), port {}, PostgreSQL {}", self.nodes, self.port, self.pg)
    }
}

/// A cluster in a directory; it may be stopped.
#[derive(Debug, Clone)]
pub struct LocalCluster {
    /// Directory of the cluster.
    pub dir: PathBuf,
    /// Its shape when it was created.
    pub shape: Shape,
    /// The coordinator first, then `node-1`, `node-2`, ….
    pub servers: Vec<Server>,
}

/// Default directory of a cluster on a port: accessible to the server's user, unlike
/// a checkout in root's home directory, and short enough for the path of a Unix-domain socket.
pub fn default_dir(port: u16) -> PathBuf {
    PathBuf::from(format!("/var/tmp/helios-{port}"))
}

impl LocalCluster {
    /// Describes a cluster without creating anything.
    pub fn new(dir: &Path, shape: Shape, pg: &Postgres, settings: &[String]) -> Result<Self> {
        shape.check()?;
        let data = dir.join(format!("pg{}-{}nodes", shape.pg, shape.nodes));
        let mut all = vec!["shared_preload_libraries = 'helios'".to_owned()];
        all.extend_from_slice(settings);
        let server = |i: u16| {
            let name = if i == 0 { "coordinator".to_owned() } else { format!("node-{i}") };
            Server {
                data: data.join(&name),
                name,
                pg: pg.clone(),
                sockets: dir.to_owned(),
                port: shape.port + i,
                settings: all.clone(),
            }
        };
        let added = (shape.nodes + 1..u16::MAX - shape.port).map(server);
        let added = added.take_while(|server| server.data.join("PG_VERSION").is_file());
        let servers = (0..=shape.nodes).map(server).chain(added).collect();
        Ok(Self { dir: dir.to_owned(), shape, servers })
    }

    /// Creates and registers another node; returns the enlarged cluster.
    pub fn add_node(&self) -> Result<Self> {
        let last = self.servers.last().unwrap_or(self.coordinator());
        let name = format!("node-{}", self.servers.len());
        let port = last.port.checked_add(1).context("no port number left for another node")?;
        let mut grown = self.clone();
        let data = last.data.with_file_name(&name);
        grown.servers.push(Server { name, port, data, ..last.clone() });
        grown.start()?;
        Ok(grown)
    }

    /// Removes the last added node, which must be empty, from the cluster and deletes it.
    pub fn remove_added_node(&mut self) -> Result<()> {
        if self.added().is_empty() {
            bail!("no node was added to the cluster in {}", self.dir.display());
        }
        let Some(node) = self.servers.last() else { return Ok(()) };
        let mut client = self.coordinator().connect(DATABASE)?;
        client
            .execute("SELECT helios_remove_node($1)", &[&node.name])
            .with_context(|| format!("cannot remove {}", node.name))?;
        node.stop(Shutdown::Fast)?;
        fs::remove_dir_all(&node.data)
            .with_context(|| format!("cannot remove {}", node.data.display()))?;
        self.servers.pop();
        Ok(())
    }

    /// The nodes added since the cluster was created.
    pub fn added(&self) -> &[Server] {
        &self.servers[usize::from(self.shape.nodes) + 1..]
    }

    /// Reads the description of the cluster last started in a directory.
    pub fn load(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join("cluster.json");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let shape: Shape = serde_json::from_str(&text)
            .with_context(|| format!("{} is invalid; remove it", path.display()))?;
        let pg = Postgres::require(shape.pg)?;
        Self::new(dir, shape, &pg, &[]).map(Some)
    }

    /// The server that clients connect to.
    pub fn coordinator(&self) -> &Server {
        &self.servers[0]
    }

    /// The other servers, starting with `node-1`; empty for a single-server cluster.
    pub fn nodes(&self) -> &[Server] {
        &self.servers[1..]
    }

    /// The connection string for clients.
    pub fn url(&self) -> String {
        self.coordinator().url(DATABASE)
    }

    /// Whether any of its servers is running.
    pub fn is_running(&self) -> bool {
        self.servers.iter().any(|server| server.pid().is_some())
    }

    /// Creates what is missing and starts servers that are not running: data directories, servers, the
    /// database, the extension, the registration of nodes. On error, stops the servers that this call
    /// started.
    pub fn start(&self) -> Result<()> {
        let stopped: Vec<&Server> = self.servers.iter().filter(|s| s.pid().is_none()).collect();
        for server in &stopped {
            server::check_port_free(server.port)
                .with_context(|| format!("cannot start {}", server.name))?;
        }
        self.make_directories()?;
        let started = each(&stopped, |server| {
            server.init()?;
            server.start()
        })
        .and_then(|()| each(&self.servers.iter().collect::<Vec<_>>(), create_database))
        .and_then(|()| self.register_nodes());
        if started.is_err() {
            for server in &stopped {
                if let Err(error) = server.stop(Shutdown::Fast) {
                    eprintln!("{error:#}");
                }
            }
        }
        started
    }

    /// Creates the directories that contain the servers' data directories.
    pub fn make_directories(&self) -> Result<()> {
        let made = !self.dir.exists();
        fs::create_dir_all(&self.dir)
            .with_context(|| format!("cannot create {}", self.dir.display()))?;
        let empty = fs::read_dir(&self.dir)?.next().is_none();
        if made || empty {
            command::give_to_server_user(&self.dir)?;
        }
        if let Some(data) = self.coordinator().data.parent() {
            fs::create_dir_all(data)?;
            command::give_to_server_user(data)?;
        }
        let mut probe = command::as_server_user("test")?;
        if !command::capture(probe.arg("-w").arg(&self.dir))?.status.success() {
            bail!(
                "the server's user cannot write to {}; choose another directory with --dir, such \
                 as {}",
                self.dir.display(),
                default_dir(self.shape.port).display()
            );
        }
        let text = serde_json::to_string_pretty(&self.shape)?;
        fs::write(self.dir.join("cluster.json"), text + "\n")?;
        Ok(())
    }

    fn register_nodes(&self) -> Result<()> {
        if self.nodes().is_empty() {
            return Ok(());
        }
        let mut client = self.coordinator().connect(DATABASE)?;
        let rows = client.query("SELECT name::text FROM helios.node", &[])?;
        let known: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        for node in self.nodes().iter().filter(|node| !known.contains(&node.name)) {
            let port = node.port;
            client
                .batch_execute(&format!(
                    "SELECT helios_add_node('{}', '{HOST}', {port})",
                    node.name
                ))
                .with_context(|| format!("cannot register {}", node.name))?;
        }
        Ok(())
    }

    /// Stops every running server, the coordinator first so that no statement starts on a node
    /// that is about to stop. Tries to stop all; returns the first error.
    pub fn stop(&self, how: Shutdown) -> Result<()> {
        let mut result = Ok(());
        for server in &self.servers {
            let stopped = server.stop(how);
            if result.is_ok() {
                result = stopped;
            }
        }
        result
    }
}

/// Creates the database with the extension unless it exists.
fn create_database(server: &Server) -> Result<()> {
    let mut client = server.connect("postgres")?;
    let known = client.query_opt("SELECT FROM pg_database WHERE datname = $1", &[&DATABASE])?;
    if known.is_none() {
        client.batch_execute(&format!("CREATE DATABASE {DATABASE}"))?;
    }
    let mut client = server.connect(DATABASE)?;
    client
        .batch_execute("CREATE EXTENSION IF NOT EXISTS helios")
        .with_context(|| format!("CREATE EXTENSION helios failed on {}", server.name))
}

/// Calls `work` for all servers in parallel; returns the first error in order of the servers.
fn each(servers: &[&Server], work: impl Fn(&Server) -> Result<()> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let running: Vec<_> = servers.iter().map(|server| scope.spawn(|| work(server))).collect();
        let mut result = Ok(());
        for thread in running {
            let one = match thread.join() {
                Ok(one) => one,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            if result.is_ok() {
                result = one;
            }
        }
        result
    })
}
