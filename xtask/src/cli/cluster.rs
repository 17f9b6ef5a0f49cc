//! `cluster start`, `cluster stop`, `cluster status`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use testkit::cluster::{self, DATABASE, LocalCluster, Shape};
use testkit::progress::Step;
use testkit::server::Shutdown;
use xtask::{extension, registry, setup};

/// Actions on local clusters.
#[derive(Subcommand)]
pub enum Command {
    /// Start a coordinator and its nodes; the last line printed is the connection string.
    Start {
        /// Number of nodes besides the coordinator; 0 starts a single server that is both
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=64))]
        nodes: u16,
        /// Port of the coordinator; the nodes use the ports that follow
        #[arg(long, default_value_t = 9800, value_parser = clap::value_parser!(u16).range(1..))]
        port: u16,
        /// Directory for the servers' data [default: /var/tmp/helios-PORT].
        #[arg(long)]
        dir: Option<PathBuf>,
        /// PostgreSQL major version
        #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(15..=18))]
        pg: u32,
    },
    /// Stop the clusters started from this checkout, or one of them
    Stop(Which),
    /// Show the state of each server; fails unless all are up
    Status(Which),
}

/// Selects one cluster; if empty, all that were started from this checkout.
#[derive(Args)]
pub struct Which {
    /// Port of the coordinator
    #[arg(long)]
    port: Option<u16>,
    /// Directory of the cluster
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// Executes a `cluster` command.
pub fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Start { nodes, port, dir, pg } => {
            let cluster = start(Shape { nodes, port, pg }, dir)?;
            println!("{}", cluster.url());
            Ok(ExitCode::SUCCESS)
        }
        Command::Stop(which) => stop(&which),
        Command::Status(which) => status(&which),
    }
}

/// Builds and installs the extension and starts a cluster.
pub fn start(shape: Shape, dir: Option<PathBuf>) -> Result<LocalCluster> {
    shape.check()?;
    let dir = absolute(&dir.unwrap_or_else(|| cluster::default_dir(shape.port)))?;
    if let Some(running) = LocalCluster::load(&dir)?.filter(LocalCluster::is_running) {
        if running.shape != shape {
            bail!(
                "a cluster with {} is already running in {}; stop it with: cargo xtask cluster stop --dir {}",
                running.shape,
                dir.display(),
                dir.display()
            );
        }
        if running.servers.iter().all(|server| server.pid().is_some()) {
            println!("the cluster is already running");
            return Ok(running);
        }
    }
    let pg = setup::required_postgres(shape.pg)?;
    extension::build_and_install(&pg)?;
    let step = Step::start(format!("starting a cluster with {shape}"));
    registry::add(&dir)?;
    let cluster = LocalCluster::new(&dir, shape, &pg, &[])?;
    if let Err(error) = cluster.start() {
        registry::remove(&dir)?;
        return Err(error);
    }
    step.done(&dir.display().to_string());
    Ok(cluster)
}

/// Like [`start`] in the default directory, but restarts a cluster that is running with an
/// older build of the extension than the checkout's.
pub fn start_current(shape: Shape) -> Result<LocalCluster> {
    let pg = setup::required_postgres(shape.pg)?;
    eprintln!("building the extension …");
    let library = extension::build(&pg)?;
    if extension::install(&pg, &library)?
        && let Some(old) = LocalCluster::load(&cluster::default_dir(shape.port))?
    {
        old.stop(Shutdown::Fast)?;
    }
    start(shape, None)
}

fn stop(which: &Which) -> Result<ExitCode> {
    let clusters = find(which)?;
    let mut result = Ok(());
    for cluster in &clusters {
        let was_running = cluster.is_running();
        let stopped = cluster.stop(Shutdown::Fast).and_then(|()| registry::remove(&cluster.dir));
        match stopped {
            Ok(()) if was_running => println!("stopped the cluster on port {}", cluster.shape.port),
            Ok(()) => println!("the cluster on port {} was not running", cluster.shape.port),
            Err(error) => result = Err(error),
        }
    }
    if clusters.is_empty() {
        println!("no cluster is running");
    }
    result.map(|()| ExitCode::SUCCESS)
}

fn status(which: &Which) -> Result<ExitCode> {
    let clusters = find(which)?;
    let mut all_up = !clusters.is_empty();
    for cluster in &clusters {
        println!("{} ({})", cluster.dir.display(), cluster.shape);
        for server in &cluster.servers {
            let pid = server.pid();
            let up = pid.is_some() && server.connect(DATABASE).is_ok();
            let pid = pid.map_or_else(|| "-".to_owned(), |pid| pid.as_raw_nonzero().to_string());
            let state = if up { "up" } else { "down" };
            println!("  {:<12} port {:<6} pid {pid:<8} {state}", server.name, server.port);
            all_up &= up;
        }
        println!("{}", cluster.url());
    }
    if clusters.is_empty() {
        println!("no cluster is running; start one with: cargo xtask cluster start");
    }
    Ok(if all_up { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Finds the selected clusters.
fn find(which: &Which) -> Result<Vec<LocalCluster>> {
    let mut dirs = match &which.dir {
        Some(dir) => vec![absolute(dir)?],
        None => registry::directories()?,
    };
    // A cluster started from another checkout is found in its default directory.
    let default = which.port.map(cluster::default_dir);
    dirs.extend(default.filter(|dir| which.dir.is_none() && !dirs.contains(dir)));
    let mut found = Vec::new();
    for dir in dirs {
        // The directory may have been removed.
        let Some(cluster) = LocalCluster::load(&dir)? else { continue };
        if which.port.is_none_or(|port| port == cluster.shape.port) {
            found.push(cluster);
        }
    }
    Ok(found)
}

/// Canonical path of a directory: servers are identified by it.
fn absolute(dir: &Path) -> Result<PathBuf> {
    match dir.canonicalize() {
        Ok(path) => Ok(path),
        Err(_) => std::path::absolute(dir)
            .with_context(|| format!("cannot use directory {}", dir.display())),
    }
}
