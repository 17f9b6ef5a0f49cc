//! Clusters and plain servers that live as long as a test needs them.

use std::sync::OnceLock;

use postgres::{Client, NoTls};
use rustix::process::{Pid, Signal, kill_process};
use xtask::cluster::DATABASE;
use xtask::command;
use xtask::ports::Ports;
use xtask::postgres::Postgres;
use xtask::processes;
use xtask::scratch::Scratch;
use xtask::server::{HOST, Server, Shutdown};

use crate::pg;

/// A coordinator and its nodes; node numbers start at 1, as in their names.
#[derive(Debug)]
pub struct Cluster {
    inner: xtask::cluster::Cluster,
    scratch: Scratch,
}

impl Cluster {
    /// A new cluster of this test's own.
    pub fn start(nodes: usize) -> Self {
        Self::with_settings(nodes, &[])
    }

    /// As [`Cluster::start`], with further configuration lines on every server.
    pub fn with_settings(nodes: usize, settings: &[&str]) -> Self {
        let nodes = u16::try_from(nodes).unwrap();
        let scratch = Scratch::new(nodes + 1).unwrap();
        let inner = scratch.cluster(&pg(), nodes, settings).unwrap();
        Self { inner, scratch }
    }

    /// The cluster with two nodes that all tests of this program share. Use schemas with names
    /// of your own, and leave its servers alone.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(2))
    }

    /// The server that clients connect to.
    pub fn coordinator(&self) -> &Server {
        self.inner.coordinator()
    }

    /// Node 1, 2, ….
    pub fn node(&self, number: usize) -> &Server {
        &self.inner.nodes()[number - 1]
    }

    /// The node with this name, such as `node-2`.
    pub fn node_named(&self, name: &str) -> &Server {
        self.inner.servers.iter().find(|server| server.name == name).unwrap()
    }

    /// All nodes.
    pub fn nodes(&self) -> &[Server] {
        self.inner.nodes()
    }

    /// The cluster's directory, writable for its servers.
    pub fn dir(&self) -> &std::path::Path {
        &self.scratch.dir
    }

    /// A connection to the coordinator as `postgres`.
    pub fn connect(&self) -> Client {
        connect(self.coordinator())
    }

    /// A connection to the coordinator as another role.
    pub fn connect_as(&self, role: &str) -> Client {
        self.coordinator().config(DATABASE).user(role).connect(NoTls).unwrap()
    }

    /// A connection to a node as `postgres`, around Helios.
    pub fn connect_to_node(&self, number: usize) -> Client {
        connect(self.node(number))
    }

    /// The node on which a distributed schema lives.
    pub fn node_of(&self, schema: &str) -> &Server {
        let row =
            self.connect().query_one("SELECT helios_node_for_schema($1)", &[&schema]).unwrap();
        let name: Option<String> = row.get(0);
        self.node_named(&name.unwrap_or_else(|| panic!("schema {schema} is not distributed")))
    }

    /// A hot standby of a node, running, whose address is added to the node's.
    pub fn add_standby(&self, number: usize) -> (Server, Ports) {
        let primary = self.node(number);
        let (standby, ports) = self.standby_of(primary);
        let add = format!(
            "UPDATE helios.node SET hosts = hosts || '{{{HOST}}}', ports = ports || {} \
             WHERE name = '{}'",
            standby.port, primary.name
        );
        self.connect().batch_execute(&add).unwrap();
        (standby, ports)
    }

    /// A hot standby of a server, running. Its port is its own as long as what comes with it lives.
    pub fn standby_of(&self, primary: &Server) -> (Server, Ports) {
        let ports = Ports::take(1).unwrap();
        let parent = self.dir().join(format!("{}-standby", primary.name));
        let standby = Server {
            name: format!("{}-standby", primary.name),
            data: parent.join("data"),
            port: ports.first,
            ..primary.clone()
        };
        std::fs::create_dir(&parent).unwrap();
        command::give_to_server_user(&parent).unwrap();
        let mut backup = primary.client("pg_basebackup", "postgres").unwrap();
        backup.env_remove("PGDATABASE").arg("--pgdata").arg(&standby.data);
        backup.args(["--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf"]);
        command::output(&mut backup).unwrap();
        standby.start().unwrap();
        (standby, ports)
    }

    /// Kills a node with all its processes, as a crash of its machine would.
    pub fn kill_node(&self, number: usize) {
        self.node(number).kill().unwrap();
    }

    /// Starts a node again.
    pub fn start_node(&self, number: usize) {
        self.node(number).start().unwrap();
    }

    /// Shuts a node down in an orderly way and starts it again.
    pub fn restart_node(&self, number: usize) {
        self.node(number).stop(Shutdown::Fast).unwrap();
        self.start_node(number);
    }

    /// Sessions of clients on a node in the cluster's database, without the one that asks: what
    /// coordinators hold open there.
    pub fn node_sessions(&self, number: usize) -> Vec<String> {
        let query = "SELECT format('%s %s %s: %s', pid, usename, state, query) \
                     FROM pg_stat_activity WHERE datname = current_database() \
                     AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
        let rows = self.connect_to_node(number).query(query, &[]).unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}

fn connect(server: &Server) -> Client {
    server.connect(DATABASE).unwrap()
}

/// Shows what the servers said when the test fails: their directory is about to go.
fn show_logs(servers: &[Server]) {
    for server in servers.iter().filter(|_| std::thread::panicking()) {
        let text = std::fs::read(server.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(40)..];
        eprintln!("--- the end of {}'s log\n{}", server.name, tail.join("\n"));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        show_logs(&self.inner.servers);
    }
}

/// One server without Helios, for comparisons; its database is `helios` as well.
#[derive(Debug)]
pub struct PlainServer {
    /// The server.
    pub server: Server,
    _scratch: Scratch,
}

impl PlainServer {
    /// A new one.
    pub fn start() -> Self {
        Self::with_settings(&pg(), &[])
    }

    /// A new one of this version, with further configuration lines.
    pub fn with_settings(pg: &Postgres, settings: &[&str]) -> Self {
        let scratch = Scratch::new(1).unwrap();
        let server = scratch.plain_server(pg, 0, settings).unwrap();
        let create = format!("CREATE DATABASE {DATABASE}");
        server.connect("postgres").unwrap().batch_execute(&create).unwrap();
        Self { server, _scratch: scratch }
    }

    /// The one that all tests of this program share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<PlainServer> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A connection as `postgres`.
    pub fn connect(&self) -> Client {
        connect(&self.server)
    }
}

impl Drop for PlainServer {
    fn drop(&mut self) {
        show_logs(std::slice::from_ref(&self.server));
    }
}

/// The process that serves a connection.
pub fn backend(client: &mut Client) -> Pid {
    let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
    Pid::from_raw(pid).unwrap()
}

/// Kills one process with SIGKILL. A server restarts all its sessions when it loses a backend so.
pub fn kill(pid: Pid) {
    kill_process(pid, Signal::KILL).unwrap();
}

/// Open file descriptors of a server process.
pub fn descriptors(pid: Pid) -> usize {
    processes::descriptors(pid).unwrap()
}
