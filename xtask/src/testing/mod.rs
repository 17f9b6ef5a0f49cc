//! The test layers, in the order in which they run: cheap ones first. Each layer prints one line of
//! results and adds to the totals; failures are shown in full, skipped layers with the reason.

mod checks;
mod core_regress;
mod isolation;
mod libtest;
mod misuse;
mod regress;
mod released;
mod symbols;

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::dependencies;
use crate::docs;
use crate::extension;
use crate::headers;
use crate::setup::{self, Need};
use testkit::obtain::Obtained;
use testkit::postgres::{DEFAULT_MAJOR, Postgres};

/// Numbers of tests that passed, failed, and were skipped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
    /// Tests that could not run here; the reason was printed.
    pub skipped: u64,
}

impl Counts {
    const PASSED: Self = Self { passed: 1, failed: 0, skipped: 0 };
    const FAILED: Self = Self { passed: 0, failed: 1, skipped: 0 };
    const SKIPPED: Self = Self { passed: 0, failed: 0, skipped: 1 };

    /// Whether something ran and nothing failed.
    pub fn is_good(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

/// Names of the layers. Those in the second list consist of named tests.
const CHECKS: [&str; 12] = [
    "format",
    "lint",
    "docs",
    "links",
    "layers",
    "misuse",
    "headers",
    "dependencies",
    "scripts",
    "build",
    "symbols",
    "reference",
];
const SUITES: [&str; 8] =
    ["xtask", "testkit", "core", "extension", "regress", "isolation", "cluster", REGRESS_FULL];

/// PostgreSQL's own suite. It cannot be filtered because its tests depend on each other.
const REGRESS_FULL: &str = "regress-full";

/// A run of the selected layers.
struct Run {
    pg: Postgres,
    /// PostgreSQL version for the smoke tests; `None` if it is the default version.
    other: Option<u32>,
    layers: Vec<String>,
    filters: Vec<String>,
    totals: Counts,
    /// Whether a selected layer or test was found.
    matched: bool,
}

/// Runs the layers and tests selected by `names`, or all if it is empty. Prints the totals as
/// the last line.
pub fn run(other: u32, names: Vec<String>) -> Result<Counts> {
    let smoke = format!("pg{other}");
    let is_layer = |name: &String| {
        CHECKS.contains(&name.as_str()) || SUITES.contains(&name.as_str()) || *name == smoke
    };
    let (layers, filters) = names.into_iter().partition(is_layer);
    setup::packages(&[Need::Build, Need::Clients])?;
    let mut run = Run {
        pg: setup::default_postgres()?,
        other: (other != DEFAULT_MAJOR).then_some(other),
        layers,
        filters,
        totals: Counts::default(),
        matched: false,
    };
    run.static_checks();
    run.suite("xtask", |filters| libtest::run("xtask", &[], filters));
    run.suite("testkit", |filters| libtest::run("testkit", &[], filters));
    run.suite("core", |filters| libtest::run("helios-core", &[], filters));
    let pg_config = run.pg.pg_config.clone();
    run.suite("extension", |filters| libtest::run_extension(&pg_config, filters));
    run.server_layers();
    if let Some(other) = run.other.filter(|_| run.wants(&smoke)) {
        run.smoke(&smoke, other);
    }
    if !run.matched {
        bail!("no matching layer or test; available layers: {CHECKS:?} {SUITES:?} {smoke:?}");
    }
    println!("{}", run.totals);
    Ok(run.totals)
}

impl Run {
    fn wants(&self, layer: &str) -> bool {
        let all = self.layers.is_empty() && self.filters.is_empty();
        all || self.layers.iter().any(|name| name == layer)
    }

    fn static_checks(&mut self) {
        let config = self.pg.pg_config.clone();
        self.check("format", checks::format);
        self.check("lint", || checks::lint(&config));
        self.check("docs", || checks::docs(&config));
        self.check("links", docs::links::check);
        self.check("layers", checks::layers);
        self.check("misuse", || misuse::check(&config));
        self.check("headers", headers::check);
        self.check("dependencies", dependencies::check);
        self.check("scripts", released::check);
    }

    /// Runs a check that passes or fails as a whole. Returns false if it failed.
    fn check(&mut self, name: &str, work: impl FnOnce() -> Result<()>) -> bool {
        if self.wants(name) {
            return self.must(name, work);
        }
        true
    }

    /// Like [`Run::check`], but runs even if not selected, because other layers need it.
    fn must(&mut self, name: &str, work: impl FnOnce() -> Result<()>) -> bool {
        self.matched |= self.wants(name);
        println!("=== {name}");
        let result = work();
        let counts = if result.is_ok() { Counts::PASSED } else { Counts::FAILED };
        match &result {
            Ok(()) => println!("ok      {name}"),
            Err(error) => println!("{error:#}\nFAILED  {name}"),
        }
        self.totals.add(counts);
        result.is_ok()
    }

    /// Runs a layer of named tests. Names that are not layers filter the tests of all layers.
    fn suite(&mut self, name: &str, work: impl FnOnce(&[String]) -> Result<Counts>) {
        if !self.wants_suite(name) {
            return;
        }
        println!("=== {name}");
        let counts = work(&self.filters).unwrap_or_else(|error| {
            println!("{error:#}");
            Counts::FAILED
        });
        self.matched |= counts != Counts::default();
        let mark = if counts.failed == 0 { "ok     " } else { "FAILED " };
        println!("{mark} {name}: {counts}");
        self.totals.add(counts);
    }

    fn wants_suite(&self, name: &str) -> bool {
        self.wants(name) || (self.layers.is_empty() && !self.filters.is_empty())
    }

    /// Runs everything that needs the extension on PostgreSQL 15.
    fn server_layers(&mut self) {
        let needed = ["build", "symbols", "reference"].iter().any(|name| self.wants(name))
            || ["regress", "isolation", "cluster"].iter().any(|name| self.wants_suite(name))
            || self.wants(REGRESS_FULL);
        if !needed {
            return;
        }
        let pg = self.pg.clone();
        let mut library = PathBuf::new();
        let built = self.must("build", || {
            library = extension::build_and_install(&pg)?;
            Ok(())
        });
        if !built {
            println!("tests that need the extension cannot run");
            return;
        }
        self.check("symbols", || symbols::check(&library));
        self.check("reference", || docs::reference::check(&pg));
        self.suite("regress", |filters| regress::run(&pg, filters));
        self.suite("isolation", |filters| isolation::run(&pg, filters));
        self.suite("cluster", |filters| {
            extension::build_with_failpoints(&pg)?;
            libtest::run("helios-tests", &[], filters)
        });
        if self.wants(REGRESS_FULL) {
            self.suite(REGRESS_FULL, |_| core_regress::run(&pg));
        }
    }

    /// Builds for another PostgreSQL version and runs the smoke tests on it.
    fn smoke(&mut self, name: &str, major: u32) {
        println!("=== {name}");
        self.matched = true;
        let pg = match setup::postgres(major) {
            Ok(Obtained::Yes(pg)) => pg,
            Ok(Obtained::No(reason)) => {
                println!("skipped {name}: PostgreSQL {major} is unavailable: {reason}");
                return self.totals.add(Counts::SKIPPED);
            }
            Err(error) => {
                println!("{error:#}\nFAILED  {name}");
                return self.totals.add(Counts::FAILED);
            }
        };
        let build = format!("{name} build");
        if !self.must(&build, || extension::build_and_install(&pg).map(drop)) {
            return;
        }
        let version = [("HELIOS_PG", major.to_string())];
        let counts = libtest::run("helios-tests", &version, &["smoke".to_owned()]);
        let counts = match counts {
            Ok(counts) if counts == Counts::default() => {
                println!("no smoke tests found");
                Counts::FAILED
            }
            Ok(counts) => counts,
            Err(error) => {
                println!("{error:#}");
                Counts::FAILED
            }
        };
        println!("{} {name}: {counts}", if counts.failed == 0 { "ok     " } else { "FAILED " });
        self.totals.add(counts);
    }
}
