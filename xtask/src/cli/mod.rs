//! The command line: what can be asked for, and which part answers.

mod cluster;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use testkit::cluster::Shape;
use testkit::postgres::DEFAULT_MAJOR;
use xtask::{bench, setup, testing};

/// Set-up, demo, tests, benchmarks and local clusters of Helios.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what is missing on Debian and Ubuntu; elsewhere say what is needed.
    Setup {
        /// Also obtain this PostgreSQL version.
        #[arg(long, value_parser = clap::value_parser!(u32).range(15..=18))]
        pg: Option<u32>,
    },
    /// Build the extension and install it into PostgreSQL's directories.
    Install {
        /// PostgreSQL's major version.
        #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(15..=18))]
        pg: u32,
        /// Also build the library with failpoints, which some tests need.
        #[arg(long)]
        failpoints: bool,
    },
    /// From nothing to a cluster with twelve tenants: set up, build, start, load, query; then a
    /// tenant moves while it is used, and a node is added.
    Demo {
        /// The coordinator's port; the nodes take the next four.
        #[arg(long, default_value_t = 9800, value_parser = clap::value_parser!(u16).range(1..))]
        port: u16,
    },
    /// Run the test layers; the last line printed is "N passed, N failed".
    Test {
        /// The version for the smoke tests beside PostgreSQL 15, which is always tested in full;
        /// 15 leaves them out.
        #[arg(long, default_value_t = 18, value_parser = clap::value_parser!(u32).range(15..=18))]
        pg: u32,
        /// Layers, or parts of the names of tests; everything when none is given.
        names: Vec<String>,
    },
    /// Measure direct, through Helios, pgbouncer and postgres_fdw side by side.
    Bench {
        /// Scenarios by a part of their names; all when none is given.
        names: Vec<String>,
        /// Seconds that one run of short transactions takes.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
        seconds: u32,
        /// Runs of each kind; the median counts.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
        rounds: u16,
        /// Numbers of clients.
        #[arg(long, value_delimiter = ',', default_value = "1,8,32",
              value_parser = clap::value_parser!(u32).range(1..=100))]
        clients: Vec<u32>,
        /// What every hop goes over.
        #[arg(long, value_enum, default_value_t = bench::Transport::Unix)]
        transport: bench::Transport,
        /// Size of the tenant that scenario "migration" moves.
        #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
        megabytes: u32,
        /// Write the tables to benches/RESULTS.md.
        #[arg(long)]
        save: bool,
    },
    /// Build the book of docs/ into target/book, with mdBook.
    Docs {
        #[command(subcommand)]
        what: Option<Docs>,
    },
    /// Start, stop or show a local cluster.
    #[command(subcommand)]
    Cluster(cluster::Command),
}

/// What else can be done with pages.
#[derive(Subcommand)]
enum Docs {
    /// Check links, anchors and file names.
    Links,
    /// Run the examples and write what they print into the pages.
    Bless {
        /// Parts of the names of tests in tests/tests/documents; all when none is given.
        names: Vec<String>,
    },
    /// docs/reference: functions, views, catalogs, settings, SQLSTATEs, as a running server tells of them.
    Reference,
}

/// Reads the command line and does what it says.
pub fn run() -> Result<ExitCode> {
    match Cli::parse().command {
        Command::Setup { pg } => setup::run(pg)?,
        Command::Install { pg, failpoints } => {
            let pg = setup::required_postgres(pg)?;
            if failpoints {
                xtask::extension::build_with_failpoints(&pg)?;
            }
            xtask::extension::build_and_install(&pg)?;
            println!("installed for {}", pg.version);
        }
        Command::Demo { port } => {
            let shape = Shape { nodes: 3, port, pg: DEFAULT_MAJOR };
            xtask::demo::run(cluster::start_current(shape)?)?;
        }
        Command::Test { pg, names } => {
            if !testing::run(pg, names)?.is_good() {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Bench { names, seconds, rounds, clients, transport, megabytes, save } => {
            let rounds = usize::from(rounds);
            let options =
                bench::Options { names, seconds, rounds, clients, transport, megabytes, save };
            bench::run(&options)?;
        }
        Command::Docs { what } => docs(what)?,
        Command::Cluster(command) => return cluster::run(command),
    }
    Ok(ExitCode::SUCCESS)
}

fn docs(what: Option<Docs>) -> Result<()> {
    match what {
        None => println!("{}", xtask::docs::book::build()?.display()),
        Some(Docs::Links) => xtask::docs::links::check()?,
        Some(Docs::Reference) => {
            let pg = setup::default_postgres()?;
            xtask::extension::build_and_install(&pg)?;
            xtask::docs::reference::write(&pg)?;
        }
        Some(Docs::Bless { names }) => {
            xtask::extension::build_and_install(&setup::default_postgres()?)?;
            xtask::docs::bless(&names)?;
        }
    }
    Ok(())
}
