//! The command line of `cargo xtask`.

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
    /// Install missing packages on Debian and Ubuntu; on other systems, list what is needed
    Setup {
        /// Also install this PostgreSQL version
        #[arg(long, value_parser = clap::value_parser!(u32).range(15..=18))]
        pg: Option<u32>,
    },
    /// Build the extension and install it into PostgreSQL's directories
    Install {
        /// PostgreSQL major version
        #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(15..=18))]
        pg: u32,
        /// Also build the library with failpoints, which some tests need
        #[arg(long)]
        failpoints: bool,
    },
    /// Set up, build, start a cluster and load twelve tenants; then run queries, move a tenant
    /// while it is in use, and add a node
    Demo {
        /// Port of the coordinator; the nodes use the next four
        #[arg(long, default_value_t = 9800, value_parser = clap::value_parser!(u16).range(1..))]
        port: u16,
    },
    /// Run the test layers; the last line printed is "N passed, N failed"
    Test {
        /// PostgreSQL version to run the smoke tests on, in addition to the full tests on PostgreSQL 15;
        /// 15 skips them
        #[arg(long, default_value_t = 18, value_parser = clap::value_parser!(u32).range(15..=18))]
        pg: u32,
        /// Layers, or parts of test names; everything if omitted
        names: Vec<String>,
    },
    /// Compare direct access, Helios, pgbouncer and postgres_fdw
    Bench {
        /// Parts of scenario names; all scenarios if omitted
        names: Vec<String>,
        /// Duration of one run of short transactions, in seconds
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
        seconds: u32,
        /// Number of rounds of each measurement; the median is reported
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
        rounds: u16,
        /// Numbers of clients
        #[arg(long, value_delimiter = ',', default_value = "1,8,32",
              value_parser = clap::value_parser!(u32).range(1..=100))]
        clients: Vec<u32>,
        /// Transport used on every hop
        #[arg(long, value_enum, default_value_t = bench::Transport::Unix)]
        transport: bench::Transport,
        /// Size in MB of the tenant moved by scenario "migration"
        #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
        megabytes: u32,
        /// Rows of the joined tables of scenario "several-places"; its other tables are in proportion
        #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
        rows: u32,
        /// Write the tables to benches/RESULTS.md
        #[arg(long)]
        save: bool,
    },
    /// Build the book from docs/ into target/book, with mdBook
    Docs {
        #[command(subcommand)]
        what: Option<Docs>,
    },
    /// Start, stop or show local clusters
    #[command(subcommand)]
    Cluster(cluster::Command),
}

/// Further actions on the documentation.
#[derive(Subcommand)]
enum Docs {
    /// Check links, anchors and file names
    Links,
    /// Run the examples and write their output into the pages
    Bless {
        /// Parts of the names of tests in tests/tests/documents; all if omitted
        names: Vec<String>,
    },
    /// Generate docs/reference (functions, views, catalogs, settings, SQLSTATEs) from a running server
    Reference,
}

/// Parses the command line and runs the command.
pub fn run() -> Result<ExitCode> {
    match Cli::parse().command {
        Command::Setup { pg } => setup::run(pg)?,
        Command::Install { pg, failpoints } => {
            let pg = setup::required_postgres(pg)?;
            if failpoints {
                xtask::extension::build_with_failpoints(&pg)?;
            }
            xtask::extension::build_and_install(&pg)?;
            println!("installed the extension for {}", pg.version);
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
        Command::Bench { names, seconds, rounds, clients, transport, megabytes, rows, save } => {
            let rounds = usize::from(rounds);
            bench::run(&bench::Options {
                names,
                seconds,
                rounds,
                clients,
                transport,
                megabytes,
                rows,
                save,
            })?;
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
