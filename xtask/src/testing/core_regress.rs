//! PostgreSQL's own regression suite, on a server that has Helios loaded and a database that has
//! the extension: everything must be as it is without.
//!
//! What "as it is without" means is in the suite's expected files where the sources are of exactly
//! the installed version. Mirrors do not keep every minor version; with sources of another one the
//! suite runs on a server without Helios first, and what fails there is expected to give the same
//! result with Helios.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Counts, regress};
use crate::command;
use crate::paths;
use crate::postgres::Postgres;
use crate::scratch::Scratch;
use crate::server::{HOST, ROLE, Server};
use crate::setup::Obtained;
use crate::setup::source::{self, Sources};

/// The suite compares messages and plans that depend on these; its own servers have the defaults.
const SETTINGS: [&str; 2] = ["wal_level = replica", "autovacuum_naptime = 1min"];

/// C sources of libraries that the suite loads, below the tree's root.
const LIBRARIES: [&str; 3] =
    ["src/test/regress/regress.c", "contrib/spi/autoinc.c", "contrib/spi/refint.c"];

/// One test lists all views of `pg_catalog`, where those of Helios are as well: its condition, and
/// the one that leaves them out.
const VIEWS: (&str, &str) = (
    "FROM pg_views\nWHERE schemaname = 'pg_catalog'\n",
    "FROM pg_views\nWHERE schemaname = 'pg_catalog' AND viewname !~ '^helios_'\n",
);

/// Runs the whole suite.
pub fn run(pg: &Postgres) -> Result<Counts> {
    let sources = match source::of(pg)? {
        Obtained::Yes(sources) => sources,
        Obtained::No(reason) => {
            println!("skipped: PostgreSQL's regression suite is not obtainable: {reason}");
            return Ok(Counts::SKIPPED);
        }
    };
    let scratch = Scratch::new(2)?;
    let suite = Suite::prepare(pg, &sources, &scratch.dir)?;
    if sources.version != pg.number() {
        println!("the suite is of {}, the server {}", sources.version, pg.number());
        suite.expect_what_is_without(&scratch)?;
    }
    let loaded = [&["shared_preload_libraries = 'helios'"], SETTINGS.as_slice()].concat();
    let server = scratch.plain_server(pg, 1, &loaded)?;
    let run = suite.run(&server, &["--load-extension=helios"])?;
    print!("{}", run.text);
    if run.counts.failed > 0 {
        println!("{}", run.differences()?);
    }
    Ok(run.counts)
}

/// The suite in a directory of its own.
struct Suite {
    pg: Postgres,
    input: PathBuf,
    libraries: PathBuf,
    output: PathBuf,
    /// Results of a server without Helios, kept between runs.
    kept: PathBuf,
}

/// What a run gave.
struct Run {
    text: String,
    counts: Counts,
    output: PathBuf,
}

impl Suite {
    fn prepare(pg: &Postgres, sources: &Sources, dir: &Path) -> Result<Self> {
        let suite = Self {
            pg: pg.clone(),
            input: dir.join("regress"),
            libraries: dir.join("libraries"),
            output: dir.join("output"),
            kept: paths::cache().join("sources").join(format!(
                "without-{}-{}",
                pg.number(),
                sources.version
            )),
        };
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(sources.dir.join("src/test/regress")).arg(&suite.input);
        command::output(&mut copy)?;
        suite.leave_our_views_out()?;
        suite.compile(&sources.dir)?;
        Ok(suite)
    }

    fn leave_our_views_out(&self) -> Result<()> {
        for file in ["sql/rules.sql", "expected/rules.out"] {
            let path = self.input.join(file);
            let text = fs::read_to_string(&path)?;
            if !text.contains(VIEWS.0) {
                bail!("{} does not list views as it did", path.display());
            }
            fs::write(&path, text.replace(VIEWS.0, VIEWS.1))?;
        }
        Ok(())
    }

    fn compile(&self, sources: &Path) -> Result<()> {
        fs::create_dir_all(&self.libraries)?;
        let mut ask = Command::new(&self.pg.pg_config);
        let headers = command::output(ask.arg("--includedir-server"))?;
        for library in LIBRARIES {
            let from = sources.join(library);
            let name = from.with_extension("so");
            let to = self.libraries.join(name.file_name().unwrap_or_default());
            let mut compile = Command::new("cc");
            compile.args(["-shared", "-fPIC", "-O1", "-w", "-I", headers.trim(), "-o"]);
            command::output(compile.arg(to).arg(from))?;
        }
        Ok(())
    }

    /// Makes the results of a server without Helios the expected ones, where they differ.
    fn expect_what_is_without(&self, scratch: &Scratch) -> Result<()> {
        if !self.kept.exists() {
            let server = scratch.plain_server(&self.pg, 0, &SETTINGS)?;
            let run = self.run(&server, &[])?;
            println!("without Helios: {}", run.counts);
            let half = self.kept.with_extension(format!("new-{}", std::process::id()));
            fs::create_dir_all(&half)?;
            for name in run.failed() {
                let file = format!("{name}.out");
                fs::copy(run.output.join("results").join(&file), half.join(&file))?;
            }
            // Another process that did the same meanwhile has won.
            if let Err(error) = fs::rename(&half, &self.kept)
                && !self.kept.exists()
            {
                return Err(error).context("cannot keep the results of a plain server");
            }
        }
        let mut replaced = Vec::new();
        for entry in fs::read_dir(&self.kept)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default();
            fs::copy(&path, self.input.join("expected").join(name))?;
            replaced.push(path.file_stem().unwrap_or_default().to_string_lossy().into_owned());
        }
        replaced.sort();
        println!("expected to be as without Helios: {}", replaced.join(" "));
        Ok(())
    }

    /// Runs every test of the suite's own schedule.
    fn run(&self, server: &Server, options: &[&str]) -> Result<Run> {
        if self.output.exists() {
            fs::remove_dir_all(&self.output)?;
        }
        fs::create_dir(&self.output)?;
        command::give_to_server_user(&self.output)?;
        let mut regress = command::as_server_user(self.pg.regress_dir.join("pg_regress"))?;
        regress.current_dir(&self.input).arg("--inputdir").arg(&self.input);
        if self.pg.major >= 16 {
            regress.arg("--expecteddir").arg(&self.input);
        }
        regress.arg("--outputdir").arg(&self.output).arg("--bindir").arg(&self.pg.bindir);
        regress.arg("--dlpath").arg(&self.libraries).args(["--host", HOST, "--user", ROLE]);
        regress.args(["--port", &server.port.to_string(), "--encoding=UTF8", "--no-locale"]);
        regress.arg("--schedule").arg(self.input.join("parallel_schedule"));
        regress.arg("--max-concurrent-tests=20").args(options);
        let out = command::capture(&mut regress)?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let counts = regress::count(&text);
        if counts.passed < 100 || (counts.failed == 0) != out.status.success() {
            let errors = String::from_utf8_lossy(&out.stderr);
            bail!("pg_regress ended with {} ({counts})\n{text}{errors}", out.status);
        }
        Ok(Run { text, counts, output: self.output.clone() })
    }
}

impl Run {
    /// Names of the tests that failed, from the lines of both formats (see [`regress::count`]).
    fn failed(&self) -> Vec<&str> {
        self.text.lines().filter_map(regress::failed_test).collect()
    }

    fn differences(&self) -> Result<String> {
        let path = self.output.join("regression.diffs");
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
