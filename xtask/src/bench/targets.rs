//! The different ways to reach the same data on one node.

use std::fs;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Pid;

use super::Transport;
use super::receiver::Stream;
use testkit::cluster::{DATABASE, LocalCluster};
use testkit::command;
use testkit::postgres::Postgres;
use testkit::processes;
use testkit::progress::Step;
use testkit::scratch::Scratch;
use testkit::server::{HOST, ROLE, Server};

/// Scale of the pgbench tables: 1,000,000 accounts.
pub const SCALE: u32 = 10;

/// Database on the coordinator that accesses the node through postgres_fdw.
const FDW_DATABASE: &str = "fdw";

/// One way to reach the data.
#[derive(Debug, Clone)]
pub struct Target {
    /// Target name in the tables.
    pub name: &'static str,
    /// Port to connect to.
    pub port: u16,
    /// Database to connect to.
    pub database: &'static str,
    /// Root of the process tree between client and node, or `None` if there is none.
    pub router: Option<Pid>,
    /// Whether the backend that a connection reports is the process that serves it.
    pub reports_process: bool,
    /// Whether serialization failures are expected and retried.
    pub may_retry: bool,
}

impl Target {
    /// Whether this is the target the others are compared with.
    pub fn is_direct(&self) -> bool {
        self.router.is_none()
    }
}

/// CPU time used so far by the router and the node, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Cpu {
    /// Process tree between client and node.
    pub router: f64,
    /// Process tree of the node.
    pub node: f64,
}

/// All available targets, the direct one first.
pub struct Targets {
    /// The targets.
    pub all: Vec<Target>,
    cluster: LocalCluster,
    bouncer: Child,
    scratch: Scratch,
    transport: Transport,
}

impl Targets {
    /// Starts a coordinator with one node and pgbouncer in front of that node, and fills the tables.
    pub fn start(pg: &Postgres, transport: Transport) -> Result<Self> {
        let step = Step::start("starting servers and filling tables");
        let scratch = Scratch::new(3)?;
        let memory = ["shared_buffers = 512MB", "autovacuum = off"];
        let cluster = scratch.cluster(pg, 1, &memory)?;
        let bouncer_port = scratch.ports.first + 2;
        let bouncer = start_bouncer(&scratch, &cluster, bouncer_port, transport)?;
        fill(&cluster, &host(transport, &scratch))?;
        let [coordinator, node] = [cluster.coordinator(), node(&cluster)];
        let router = Some(running(coordinator)?);
        let way = |name, port, database, router| Target {
            name,
            port,
            database,
            router,
            reports_process: true,
            may_retry: false,
        };
        let all = vec![
            way("direct", node.port, DATABASE, None),
            way("helios", coordinator.port, DATABASE, router),
            Target {
                reports_process: false,
                ..way("pgbouncer", bouncer_port, DATABASE, Pid::from_raw(bouncer.id() as i32))
            },
            Target {
                may_retry: true,
                ..way("postgres_fdw", coordinator.port, FDW_DATABASE, router)
            },
        ];
        step.done(&format!("{} accounts", SCALE * 100_000));
        Ok(Self { all, cluster, bouncer, scratch, transport })
    }

    /// The server that holds the data.
    pub fn node(&self) -> &Server {
        node(&self.cluster)
    }

    /// Returns a client program set up to connect to the target.
    pub fn client(&self, target: &Target, program: &str) -> Result<std::process::Command> {
        let mut client = self.node().client(program, target.database)?;
        client.env("PGHOST", host(self.transport, &self.scratch));
        client.env("PGPORT", target.port.to_string());
        Ok(client)
    }

    /// Connects to the target without sending a startup message.
    pub fn connect(&self, target: &Target) -> Result<Box<dyn Stream>> {
        Ok(match self.transport {
            Transport::Unix => {
                let socket = self.scratch.dir.join(format!(".s.PGSQL.{}", target.port));
                Box::new(UnixStream::connect(socket)?)
            }
            Transport::Tcp => {
                let stream = TcpStream::connect((HOST, target.port))?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        })
    }

    /// Writes a file that client programs can read.
    pub fn file(&self, name: &str, content: &str) -> Result<PathBuf> {
        write(&self.scratch, name, content)
    }

    /// Reads the CPU time used for the target so far.
    pub fn cpu(&self, target: &Target) -> Result<Cpu> {
        let router = target.router.map_or(0.0, processes::tree_cpu_ms);
        Ok(Cpu { router, node: processes::tree_cpu_ms(running(self.node())?) })
    }
}

impl Drop for Targets {
    fn drop(&mut self) {
        // It may have exited already; the wait reaps it.
        let _ = self.bouncer.kill();
        let _ = self.bouncer.wait();
    }
}

/// The `host` parameter for libpq.
fn host(transport: Transport, scratch: &Scratch) -> String {
    match transport {
        Transport::Unix => scratch.dir.display().to_string(),
        Transport::Tcp => HOST.to_owned(),
    }
}

fn node(cluster: &LocalCluster) -> &Server {
    &cluster.nodes()[0]
}

fn running(server: &Server) -> Result<Pid> {
    server.pid().with_context(|| format!("{} is not running", server.name))
}

/// Writes a file into the servers' directory, owned by their user.
fn write(scratch: &Scratch, name: &str, content: &str) -> Result<PathBuf> {
    let path = scratch.dir.join(name);
    fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    command::give_to_server_user(&path)?;
    Ok(path)
}

fn start_bouncer(
    scratch: &Scratch,
    cluster: &LocalCluster,
    port: u16,
    transport: Transport,
) -> Result<Child> {
    let dir = scratch.dir.display();
    let host = host(transport, scratch);
    let target = node(cluster).port;
    // Session pooling is the only mode in which every scenario works, prepared statements included.
    let text = format!(
        "[databases]\n{DATABASE} = host={host} port={target} dbname={DATABASE}\n\
         [pgbouncer]\nlisten_addr = {HOST}\nlisten_port = {port}\nauth_type = trust\n\
         auth_file = {dir}/pgbouncer.users\nlogfile = {dir}/pgbouncer.log\npool_mode = session\n\
         default_pool_size = 100\nmax_client_conn = 200\nunix_socket_dir = {dir}\n"
    );
    let config = write(scratch, "pgbouncer.ini", &text)?;
    write(scratch, "pgbouncer.users", &format!("\"{ROLE}\" \"\"\n"))?;
    write(scratch, "pgbouncer.log", "")?;
    // Make pgbouncer exit with this process, even if it is killed.
    let mut bouncer = command::as_server_user("setpriv")?;
    bouncer.args(["--pdeathsig", "TERM", "pgbouncer", "--quiet"]).arg(&config).process_group(0);
    bouncer.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let bouncer = bouncer.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = bouncer.spawn().context("cannot start pgbouncer")?;
    let until = Instant::now() + Duration::from_secs(10);
    while std::net::TcpStream::connect((HOST, port)).is_err() {
        if Instant::now() > until {
            let log = fs::read_to_string(scratch.dir.join("pgbouncer.log")).unwrap_or_default();
            bail!("pgbouncer does not accept connections on port {port}\n{log}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(child)
}

/// Creates the distributed schema `bench` with pgbench's tables and one for COPY, and foreign
/// tables for them in a separate database.
fn fill(cluster: &LocalCluster, host: &str) -> Result<()> {
    let coordinator = cluster.coordinator();
    let mut client = coordinator.connect(DATABASE)?;
    client.batch_execute(&format!(
        "UPDATE helios.node SET hosts = ARRAY['{host}'] WHERE id = 1; \
         CREATE SCHEMA bench DISTRIBUTED ON NODE \"node-1\"; \
         CREATE TABLE bench.copied (id bigint, number integer, word text)",
    ))?;
    let mut init = coordinator.client("pgbench", DATABASE)?;
    init.env("PGOPTIONS", "-c search_path=bench");
    init.args(["--initialize", "--quiet", "--init-steps=dtgp", "--scale", &SCALE.to_string()]);
    command::output(&mut init)?;
    node(cluster).connect(DATABASE)?.batch_execute("VACUUM ANALYZE")?;
    client.batch_execute(&format!("CREATE DATABASE {FDW_DATABASE}"))?;
    let port = node(cluster).port;
    coordinator.connect(FDW_DATABASE)?.batch_execute(&format!(
        "CREATE EXTENSION postgres_fdw;
         CREATE SERVER node FOREIGN DATA WRAPPER postgres_fdw
             OPTIONS (host '{host}', port '{port}', dbname '{DATABASE}', batch_size '1000',
                      fetch_size '10000');
         CREATE USER MAPPING FOR {ROLE} SERVER node OPTIONS (user '{ROLE}');
         CREATE SCHEMA bench;
         IMPORT FOREIGN SCHEMA bench FROM SERVER node INTO bench"
    ))?;
    Ok(())
}
