//! Runs PostgreSQL's own regression suite on a server with Helios loaded and a database with
//! the extension, first without and then with a node. All results must be the same as without Helios.
//!
//! If the sources are of exactly the installed version, the suite's expected files define the results
//! without Helios. Mirrors do not keep every minor version; with sources of another minor version the
//! suite first runs on a server without Helios, and the results that differ from the expected files replace
//! them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Counts, regress};
use testkit::command;
use testkit::obtain::Obtained;
use testkit::obtain::source::{self, Sources};
use testkit::paths;
use testkit::postgres::Postgres;
use testkit::scratch::Scratch;
use testkit::server::{HOST, ROLE, Server};

/// Plans depend on statistics, and those on autovacuum; the suite's own servers use the default.
const SETTINGS: [&str; 1] = ["autovacuum_naptime = 1min"];

const LOADED: [&str; 2] = ["shared_preload_libraries = 'helios'", SETTINGS[0]];

/// The suite's database, and the settings that `pg_regress` would set if it created the database itself.
const DATABASE: &str = "regression";
const DATABASE_SETTINGS: [&str; 6] = [
    "lc_messages = 'C'",
    "lc_monetary = 'C'",
    "lc_numeric = 'C'",
    "lc_time = 'C'",
    "bytea_output = 'hex'",
    "timezone_abbreviations = 'Default'",
];

/// Tests that may differ if there is a node, with the reason.
const KNOWN: [(&str, &str); 2] = [("misc", COLUMN_TYPE), ("plpgsql", COLUMN_TYPE)];
const COLUMN_TYPE: &str = "the node has no table for table.column%TYPE";

/// Maximum number of tests whose results may differ between minor versions. If more fail on a server without Helios,
/// the setup is wrong, and the server's results must not be taken for the expected ones.
const MOST_REPLACED: u64 = 5;

/// C sources of libraries that the suite loads, relative to the root of the source tree.
const LIBRARIES: [&str; 3] =
    ["src/test/regress/regress.c", "contrib/spi/autoinc.c", "contrib/spi/refint.c"];

/// One test lists all views in `pg_catalog`, which include those of Helios: the original condition, and
/// one that excludes them.
const VIEWS: (&str, &str) = (
    "FROM pg_views\nWHERE schemaname = 'pg_catalog'\n",
    "FROM pg_views\nWHERE schemaname = 'pg_catalog' AND viewname !~ '^helios_'\n",
);

/// Runs the whole suite without and with a node.
pub fn run(pg: &Postgres) -> Result<Counts> {
    let sources = match source::of(pg)? {
        Obtained::Yes(sources) => sources,
        Obtained::No(reason) => {
            println!("skipped: PostgreSQL's regression suite is unavailable: {reason}");
            return Ok(Counts::SKIPPED);
        }
    };
    let scratch = Scratch::new(4)?;
    let suite = Suite::prepare(pg, &sources, &scratch.dir)?;
    let mut replaced = Vec::new();
    if sources.version != pg.number() {
        println!("the suite is from version {}, the server is {}", sources.version, pg.number());
        replaced = suite.expect_what_is_without(&scratch)?;
    }
    println!("without nodes");
    let server = scratch.plain_server(pg, 1, &LOADED)?;
    let alone = suite.run(&server, &["--load-extension=helios"])?;
    print!("{}", alone.text);
    if alone.counts.failed > 0 {
        println!("{}", alone.differences()?);
    }
    println!("with a node");
    let server = coordinator_with_node(pg, &scratch)?;
    let dbname = format!("--dbname={DATABASE}");
    let mut counts = alone.counts;
    counts.add(suite.run(&server, &["--use-existing", &dbname])?.judge()?);
    // The comparison with a server without Helios is missing: report that as skipped.
    counts.skipped += replaced.len() as u64;
    Ok(counts)
}

/// Starts a server with a node and a database prepared for the suite.
fn coordinator_with_node(pg: &Postgres, scratch: &Scratch) -> Result<Server> {
    let coordinator = scratch.plain_server(pg, 2, &LOADED)?;
    let node = scratch.plain_server(pg, 3, &LOADED)?;
    for server in [&coordinator, &node] {
        let mut client = server.connect("postgres")?;
        client.batch_execute(&format!(
            "CREATE DATABASE {DATABASE} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        ))?;
        for setting in DATABASE_SETTINGS {
            client.batch_execute(&format!("ALTER DATABASE {DATABASE} SET {setting}"))?;
        }
        server.connect(DATABASE)?.batch_execute("CREATE EXTENSION helios")?;
    }
    coordinator
        .connect(DATABASE)?
        .batch_execute(&format!("SELECT helios_add_node('node-1', '{HOST}', {})", node.port))?;
    Ok(coordinator)
}

/// The suite in a working directory.
struct Suite {
    pg: Postgres,
    input: PathBuf,
    libraries: PathBuf,
    output: PathBuf,
    /// Directory with the results of a server without Helios, kept between runs.
    kept: PathBuf,
}

/// Results of one run.
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
                "without-flags-{}-{}",
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
                bail!("{} does not contain the expected query on pg_views", path.display());
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
            compile.args(["-shared", "-fPIC", "-O1", "-w"]).args(own_flags(&from)?);
            compile.args(["-I", headers.trim(), "-o"]);
            command::output(compile.arg(to).arg(from))?;
        }
        Ok(())
    }

    /// Where the results of a server without Helios differ from the expected files, makes them the expected ones.
    fn expect_what_is_without(&self, scratch: &Scratch) -> Result<Vec<String>> {
        if !self.kept.exists() {
            let server = scratch.plain_server(&self.pg, 0, &SETTINGS)?;
            let run = self.run(&server, &[])?;
            println!("without Helios: {}", run.counts);
            if run.counts.failed > 0 {
                println!("{}", run.differences()?);
            }
            if run.counts.failed > MOST_REPLACED {
                bail!("sources in {} do not match this server", self.kept.display());
            }
            let cache = self.kept.parent().context("the results are kept in a directory")?;
            fs::create_dir_all(cache)?;
            let half = tempfile::tempdir_in(cache)?;
            for name in run.failed() {
                let file = format!("{name}.out");
                fs::copy(run.output.join("results").join(&file), half.path().join(&file))?;
            }
            // Another process has stored the same results in the meantime.
            if let Err(error) = fs::rename(half.path(), &self.kept)
                && !self.kept.exists()
            {
                return Err(error).context("cannot store the results of a plain server");
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
        println!(
            "using results of a server without Helios as expected results of: {}",
            replaced.join(" ")
        );
        Ok(replaced)
    }

    /// Runs all tests of the suite's own schedule.
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
            bail!("pg_regress failed with {} ({counts})\n{text}{errors}", out.status);
        }
        Ok(Run { text, counts, output: self.output.clone() })
    }
}

/// Preprocessor flags from the makefile next to a source; the expected results depend on them.
fn own_flags(source: &Path) -> Result<Vec<String>> {
    for name in ["Makefile", "GNUmakefile"] {
        let path = source.with_file_name(name);
        if path.exists() {
            return Ok(preprocessor_flags(&fs::read_to_string(&path)?));
        }
    }
    bail!("no makefile next to {}", source.display())
}

/// Values assigned to `PG_CPPFLAGS`, except those that refer to variables of the build.
fn preprocessor_flags(makefile: &str) -> Vec<String> {
    let values = makefile.lines().filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name.trim_end_matches(['+', ':', '?']).trim() == "PG_CPPFLAGS").then_some(value)
    });
    let words = values.flat_map(str::split_whitespace).filter(|word| !word.contains('$'));
    words.map(str::to_owned).collect()
}

impl Run {
    /// Names of the failed tests; understands both output formats (see [`regress::count`]).
    fn failed(&self) -> Vec<&str> {
        self.text.lines().filter_map(regress::failed_test).collect()
    }

    /// Reports known differences, but does not count them as failures.
    fn judge(self) -> Result<Counts> {
        let known = |name: &&str| KNOWN.iter().find(|(known, _)| known == name);
        let failed = self.failed();
        let differs: Vec<_> = failed.iter().filter_map(known).collect();
        for (name, reason) in &differs {
            println!("skipped {name}: {reason}");
        }
        let unknown: Vec<&&str> = failed.iter().filter(|name| known(name).is_none()).collect();
        if !unknown.is_empty() {
            println!(
                "{}\nresults differ from those without Helios: {unknown:?}",
                self.differences()?
            );
        }
        Ok(Counts {
            passed: self.counts.passed,
            failed: unknown.len() as u64,
            skipped: differs.len() as u64,
        })
    }

    fn differences(&self) -> Result<String> {
        let path = self.output.join("regression.diffs");
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_those_of_the_makefile() {
        let makefile = "# comment\nMODULES = autoinc refint\nPG_CPPFLAGS = -DREFINT_VERBOSE -I$(srcdir)\n\
                        PG_CPPFLAGS += -DMORE\nNO_PG_CPPFLAGS = -DNO\n";
        assert_eq!(preprocessor_flags(makefile), ["-DREFINT_VERBOSE", "-DMORE"]);
    }
}
